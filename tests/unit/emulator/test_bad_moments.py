"""What comes at a bad moment: a start after the end, an old machine's end, a full disk, a silent engine."""

from __future__ import annotations

import os
import sqlite3
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from queue import Queue
from typing import Any

import psutil
import pytest
from docker.errors import DockerException

from headway_emulator.engine.clock import SystemClock
from headway_emulator.engine.executors.containers import DockerExecutor
from headway_emulator.engine.executors.process_groups import ProcessGroup, end_strays
from headway_emulator.engine.executors.processes import ProcessExecutor
from headway_emulator.engine.executors.protocol import Events, ExecutorError, Exited, Handle, Line, Replica
from headway_emulator.engine.store import Store
from headway_emulator.errors import ApiError
from tests.contract.servers import until
from tests.unit.emulator.simulated import Bench

SEGFAULT = 139


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[Bench]:
    made = Bench(tmp_path)
    yield made
    made.close()


def left(bench: Bench) -> list[str]:
    return [machine.replica.task for machine in bench.machines.all if not machine.removed]


def test_a_replica_that_starts_after_the_kill_is_killed_too(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The other one's failed start ends the job; a container's first process may ignore SIGTERM."""
    gate, start = threading.Event(), bench.machines.start

    def slow(replica: Replica, events: Events) -> Handle:
        if replica.task == "workerpool1-0":
            raise ExecutorError("INTERNAL", "It does not start.")
        assert gate.wait(10)
        return start(replica, events)

    monkeypatch.setattr(bench.machines, "start", slow)
    bench.machines.stubborn = True
    job = bench.order(1, 1)
    until(lambda: bench.unfinished()[0]["phase"] == "stopping", seconds=5)
    gate.set()
    bench.step(1)
    assert bench.state(job) == "FAILED"
    assert left(bench) == []


class TestAReplicaOfTheNextAttempt:
    def test_is_not_killed_with_the_machine_of_the_one_before(self, bench: Bench) -> None:
        bench.machines.stubborn = True
        job = bench.create(1, 1, restartJobOnWorkerRestart=True)
        bench.add_fault(kind="preempt", task="workerpool0-0")
        bench.step(10)
        bench.end(job, SEGFAULT, "workerpool1-0")
        bench.end(job, 0)
        assert bench.state(job) == "RUNNING"
        bench.step(30)
        assert bench.state(job) == "RUNNING"

    def test_is_not_preempted_for_the_one_before(self, bench: Bench) -> None:
        job = bench.create(1, 1, restartJobOnWorkerRestart=True)
        bench.add_fault(kind="preempt", task="workerpool0-0", after=100)
        bench.end(job, SEGFAULT, "workerpool1-0")
        begun = len(bench.machines.all)
        bench.step(200)
        assert len(bench.machines.all) == begun


def test_one_preemption_at_a_time_is_enough(bench: Bench) -> None:
    """A new fault of any kind asks again who is preempted: whose notice runs is left alone."""
    bench.machines.stubborn = True
    job = bench.create()
    bench.add_fault(kind="preempt", times=0)
    bench.step(20)
    bench.add_fault(kind="late")
    bench.step(11)
    bench.step()
    assert bench.machines.of(job.rsplit("/", 1)[1])[-1].replica.launch == 2


class TestTheEmulatorsOwnEnd:
    def test_does_not_undo_a_late_state(self, bench: Bench) -> None:
        bench.add_fault(kind="late", after=100)
        job = bench.create()
        bench.restart()
        bench.step(99)
        assert bench.state(job) == "PENDING"
        bench.step(2)
        assert bench.state(job) == "RUNNING"

    def test_does_not_undo_a_shortage(self, bench: Bench) -> None:
        bench.add_fault(kind="stockout", after=100)
        job = bench.create()
        bench.restart()
        bench.step(99)
        assert bench.state(job) == "PENDING"
        bench.step(2)
        assert bench.state(job) == "FAILED"

    @pytest.mark.parametrize("cancelled", [False, True])
    def test_an_engine_that_does_not_answer_the_next_one_ends_the_job(
        self, bench: Bench, monkeypatch: pytest.MonkeyPatch, cancelled: bool
    ) -> None:
        bench.machines.stubborn = True
        job = bench.create()
        if cancelled:
            bench.jobs.cancel(job)
            bench.step(5)

        def away(*_: object) -> Mapping[str, Handle]:
            raise ConnectionError("The engine does not answer.")

        monkeypatch.setattr(bench.machines, "reattach", away)
        bench.restart()
        bench.step()
        assert bench.state(job) == ("CANCELLED" if cancelled else "FAILED")
        assert left(bench) == []


class Full:
    """A connection whose disk takes no more."""

    def __init__(self, real: sqlite3.Connection) -> None:
        self._real = real

    def __getattr__(self, name: str) -> Any:
        return getattr(self._real, name)

    def execute(self, statement: str, *values: Any) -> sqlite3.Cursor:
        if statement.startswith(("INSERT", "DELETE")):
            raise sqlite3.OperationalError("database or disk is full")
        return self._real.execute(statement, *values)


def test_a_full_disk_holds_a_job_up_and_changes_nothing_of_its_end(
    bench: Bench, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    job = bench.create(1, 1)
    with monkeypatch.context() as full:
        full.setattr(bench.store, "_db", Full(bench.store._db))
        bench.machine(job).end(0)
        said = until(lambda: capsys.readouterr().err, seconds=5)
        assert bench.state(job) == "RUNNING"
    assert "jobs wait, for the state cannot be written: database or disk is full" in said
    bench.step()
    assert bench.state(job) == "SUCCEEDED"
    assert left(bench) == []


def test_a_call_that_nobody_waits_for_any_more_is_not_made(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Who was told that the emulator does not answer asks again, and gets one job."""
    monkeypatch.setattr("headway_emulator.engine.loop.ASK_SECONDS", 0.05)
    gate = threading.Event()

    def busy() -> None:
        assert gate.wait(10)

    bench.trainings._loop.post(busy)
    with pytest.raises(ApiError, match="ending, or cannot write its state"):
        bench.order()
    gate.set()
    bench.step()
    assert bench.unfinished() == []


def test_requests_and_jobs_take_faults_at_the_same_time(bench: Bench) -> None:
    """Each needs the faults and the state, and both get them in the same order."""
    bench.faults.add({"kind": "response", "status": 503, "times": 0, "rate": 0.0})
    inside = threading.Event()

    def request() -> None:
        assert inside.wait(5)
        bench.faults.take("response", method="GET")

    other = threading.Thread(target=request, daemon=True)
    other.start()
    with bench.faults.together():
        inside.set()
        other.join(0.1)
        bench.faults.take("late", job="1")
    other.join(5)
    assert not other.is_alive()


class TestProcesses:
    def test_a_start_that_is_under_way_when_the_emulator_ends_leaves_no_process(self, tmp_path: Path) -> None:
        store = Store(tmp_path / "state.sqlite3")
        executor = ProcessExecutor(tmp_path, store, SystemClock())
        executor.close()
        told: Queue[Exited] = Queue()
        executor.start(Replica("1", "workerpool0-0", "image", ("sleep", "300"), (), {}), Told(told.put))
        assert told.get(timeout=5).code == 137

    def test_children_of_a_command_that_has_ended_are_ended_by_the_next_emulator(
        self, tmp_path: Path
    ) -> None:
        store = Store(tmp_path / "state.sqlite3")
        words = ["sh", "-c", "sleep 300 & echo $!"]
        group = ProcessGroup(store, words, env={"PATH": os.environ["PATH"]}, folder=tmp_path)
        child = psutil.Process(int(group.stdout.readline()))
        group.wait()
        assert child.is_running()
        end_strays(store)
        until(lambda: not child.is_running() or child.status() == psutil.STATUS_ZOMBIE, seconds=5)


class Told:
    """Of exits alone."""

    def __init__(self, exited: Callable[[Exited], None]) -> None:
        self.exited = exited

    def lines(self, task: str, lines: Sequence[Line]) -> None:
        pass

    def taken(self, task: str, since: str) -> int:
        return 0


class Engine:
    """As much of a Docker engine's client as the removing of containers needs."""

    def __init__(self) -> None:
        self.api = self
        self.answers = True
        self.there = {"a": "1", "b": "2"}

    def info(self) -> dict[str, Any]:
        return {"NCPU": 1, "MemTotal": 1 << 30}

    def containers(self, *, all: bool, filters: Mapping[str, Sequence[str]]) -> list[Any]:
        if not self.answers:
            raise DockerException("It does not answer.")
        jobs = [
            (one, job) for one, job in self.there.items() if f"headway-emulator.job={job}" in filters["label"]
        ]
        return [{"Id": one, "Labels": {"headway-emulator.job": job}} for one, job in jobs]

    def networks(self, *, filters: Mapping[str, Sequence[str]]) -> list[Any]:
        return []

    def remove_container(self, container: str, **_: bool) -> None:
        del self.there[container]


def test_what_an_engine_that_was_away_has_kept_is_removed_with_the_next_job(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    engine = Engine()
    monkeypatch.setattr("docker.DockerClient.from_env", lambda **_: engine)
    executor = DockerExecutor("", "owner")
    engine.answers = False
    with pytest.raises(DockerException):
        executor.release("1")
    engine.answers = True
    executor.release("2")
    assert engine.there == {}
