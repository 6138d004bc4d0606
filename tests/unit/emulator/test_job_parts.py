"""The pieces of a job's life that need neither engine nor server."""

from __future__ import annotations

import json
import os
import sqlite3
import struct
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import psutil
import pytest
from hypothesis import given
from hypothesis import strategies as st

from headway_emulator.engine.clock import SystemClock, nano_timestamp, parse_timestamp, timestamp
from headway_emulator.engine.executors.container_logs import FrameParser
from headway_emulator.engine.executors.process_groups import ProcessGroup, end_strays
from headway_emulator.engine.executors.processes import ProcessExecutor, ProcessHandle
from headway_emulator.engine.executors.protocol import ExecutorError, Exited, Line
from headway_emulator.engine.jobs.log import JobLog, classify
from headway_emulator.engine.jobs.replicas import Work, replica, task_name, tasks
from headway_emulator.engine.store import LogEntry, LogQuery, Store
from headway_emulator.settings import Settings

STAMP = "2026-11-22T03:20:24.000000001Z"


def settings(tmp_path: Path) -> Settings:
    return Settings(
        project="headway-local",
        project_number="123",
        state=tmp_path,
        executor="process",
        storage_url="http://127.0.0.1:1",
        public_url="http://10.0.0.1:80",
        network="",
        nonce="n",
        grace_seconds=1.0,
    )


def frame(stream: int, text: str) -> bytes:
    data = text.encode()
    return struct.pack(">BxxxL", stream, len(data)) + data


class TestFrames:
    DATA = (
        frame(1, f"{STAMP} out\n")
        + frame(2, "2026-11-22T03:20:24.000000002Z err\r\n")
        + frame(1, "2026-11-22T03:20:24.000000003Z long ")
        + frame(1, "2026-11-22T03:20:24.000000003Z line\n")
        + frame(1, "2026-11-22T03:20:24.000000004Z \n")
        + frame(2, "2026-11-22T03:20:24.000000005Z no end")
    )
    LINES = (
        ("stdout", "out"),
        ("stderr", "err"),
        ("stdout", "long line"),
        ("stdout", ""),
        ("stderr", "no end"),
    )

    @given(st.integers(min_value=1, max_value=len(DATA)))
    def test_lines_are_the_same_however_the_stream_is_cut(self, size: int) -> None:
        parser = FrameParser()
        lines = []
        for start in range(0, len(self.DATA), size):
            lines += parser.feed(self.DATA[start : start + size])
        lines += parser.finish()
        assert tuple((line.stream, line.text) for line in lines) == self.LINES

    def test_lines_that_were_read_before_are_left_out(self) -> None:
        parser = FrameParser(3)
        lines = parser.feed(self.DATA) + parser.finish()
        assert [line.text for line in lines] == ["", "no end"]


class FakeEngine:
    """The calls of the engine that following a container needs; a log has a line for each text."""

    base_url = "http://engine"
    api_version = "1.41"

    def __init__(self, streams: list[list[str]], log: list[str]) -> None:
        self.api = self
        self._streams = streams
        self._log = log

    def inspect_container(self, _: str) -> dict[str, Any]:
        ended = nano_timestamp(time.time_ns())
        return {"State": {"Running": False, "ExitCode": 5, "OOMKilled": False, "FinishedAt": ended}}

    def get(self, _: str, params: dict[str, int], **__: Any) -> FakeStream:
        """A followed stream may break, or end too early; it begins with the log's first line each time."""
        if params["follow"]:
            return FakeStream(self._streams.pop(0) if self._streams else [])
        return FakeStream(self._log[-params.get("tail", 0) :])


class FakeStream:
    """A response of the engine, one frame at a time."""

    status_code = 200

    def __init__(self, texts: list[str]) -> None:
        self.raw = self
        self._texts = list(texts)

    def __enter__(self) -> FakeStream:
        return self

    def __exit__(self, *_: object) -> None: ...

    def raise_for_status(self) -> None: ...

    def read1(self, _: int) -> bytes:
        if not self._texts:
            return b""
        text = self._texts.pop(0)
        if text == "broken":
            raise OSError
        stamp = nano_timestamp(100 - int(text)) if text.isdecimal() else "never"
        return frame(1, f"{stamp} {text}\n")


class TestFollowing:
    @pytest.mark.parametrize(
        "batches",
        [[["1", "2", "3"]], [["1"]], [[]], [["1", "broken"], ["1", "2"]], [["broken"], ["1", "2"]]],
    )
    def test_every_line_comes_once_and_before_the_exit(
        self, batches: list[list[str]], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        from headway_emulator.engine.executors import containers as docker_executor

        seen: list[Any] = []

        class Events:
            def lines(self, task: str, lines: Sequence[Line]) -> None:
                seen.extend(line.text for line in lines)

            def taken(self, task: str, since: str) -> int:
                return 0

            def exited(self, event: Exited) -> None:
                seen.append(event)

        engine: Any = FakeEngine(batches, ["1", "2", "3"])
        monkeypatch.setattr("time.sleep", lambda _: None)
        docker_executor.ContainerHandle(engine, "c", "workerpool0-0", Events())._pump()
        assert seen == ["1", "2", "3", Exited("workerpool0-0", 5)]

    def test_an_exit_comes_though_the_engine_sends_what_cannot_be_read(self) -> None:
        from headway_emulator.engine.executors import containers as docker_executor

        ended: list[Exited] = []
        events: Any = SimpleNamespace(lines=lambda *_: None, exited=ended.append)
        engine: Any = FakeEngine([["no time"]], [])
        docker_executor.ContainerHandle(engine, "c", "workerpool0-0", events)._pump()
        assert [event.task for event in ended] == ["workerpool0-0"]
        assert "its output could not be followed" in ended[0].lost

    def test_an_engine_that_does_not_answer_is_said(self) -> None:
        from docker.errors import DockerException

        from headway_emulator.engine.executors.containers import DockerExecutor

        class Down:
            images = property(lambda self: self)

            def get(self, _: str) -> None:
                raise DockerException("connection refused")

        executor: Any = DockerExecutor.__new__(DockerExecutor)
        executor._client = Down()
        with pytest.raises(ExecutorError, match=r"engine does not answer: connection refused\. Start it"):
            executor.prepare("image")

    def test_a_line_that_an_emulator_before_took_is_not_taken_again(self) -> None:
        """By their number: timestamps of stdout and stderr need not be in the order of the lines."""
        from headway_emulator.engine.executors.container_logs import Output

        engine: Any = FakeEngine([["1", "2"]], ["1", "2", "3"])
        output = Output(engine, "c", 1)
        assert [line.text for lines in (*output.follow(), *output.rest()) for line in lines] == ["2", "3"]
        assert list(output.rest()) == []


class TestProcesses:
    def test_strays_are_ended_with_children_in_groups_of_their_own(self, tmp_path: Path) -> None:
        store = Store(tmp_path / "state.sqlite3")
        code = (
            "import subprocess, sys, time\n"
            "words = [sys.executable, '-c', 'import time; time.sleep(60)']\n"
            "print(subprocess.Popen(words, start_new_session=True).pid, flush=True)\n"
            "time.sleep(60)\n"
        )
        group = ProcessGroup(store, [sys.executable, "-c", code], env=os.environ, folder=tmp_path)
        child = psutil.Process(int(group.stdout.readline()))
        assert end_strays(store) == 1
        assert group.wait(10) == 137
        child.wait(10)
        assert end_strays(store) == 0
        group.stdout.close()
        group.stderr.close()
        store.close()

    def test_a_command_that_cannot_be_remembered_does_not_go_on_running(self, tmp_path: Path) -> None:
        store = Store(tmp_path / "state.sqlite3")
        store.close()
        before = set(psutil.Process().children())  # other tests' servers
        with pytest.raises(sqlite3.ProgrammingError):
            ProcessGroup(store, ["sleep", "60"], env=os.environ, folder=tmp_path)
        _, alive = psutil.wait_procs(set(psutil.Process().children()) - before, timeout=5)
        assert [process for process in alive if process.status() != psutil.STATUS_ZOMBIE] == []

    def test_an_exit_is_reported_though_the_state_takes_no_more(self, tmp_path: Path) -> None:
        store = Store(tmp_path / "state.sqlite3")
        ended: list[Exited] = []
        events: Any = SimpleNamespace(lines=lambda *_: None, exited=ended.append)
        group = ProcessGroup(store, ["sleep", "0.2"], env=os.environ, folder=tmp_path)
        executor = ProcessExecutor(tmp_path, store, SystemClock())
        handle = ProcessHandle(group, tmp_path, "workerpool0-0", events, executor)
        store.close()
        with pytest.raises(sqlite3.ProgrammingError):
            handle._reap([])
        assert ended == [Exited("workerpool0-0", 0)]
        group.stdout.close()
        group.stderr.close()


class TestJobLog:
    def test_a_burst_is_complete_when_the_replica_has_ended(self, tmp_path: Path) -> None:
        store = Store(tmp_path / "state.sqlite3")
        log = JobLog(store, SystemClock(), "1")
        for number in range(500):
            log.lines("workerpool0-0", [Line(nano_timestamp(number), "stdout", str(number))])
        log.flush()
        entries = store.logs(LogQuery(owner="1"), 1000)
        assert [entry.payload["message"] for entry in entries] == [str(n) for n in range(500)]
        store.close()

    def test_the_end_of_a_burst_is_written_without_another_line(self, tmp_path: Path) -> None:
        store = Store(tmp_path / "state.sqlite3")
        log = JobLog(store, SystemClock(), "1")
        for number in range(2):
            log.lines("workerpool0-0", [Line(nano_timestamp(number), "stdout", "x")])
        deadline = time.monotonic() + 5
        while len(store.logs(LogQuery(owner="1"), 10)) < 2:
            assert time.monotonic() < deadline
            time.sleep(0.01)
        store.close()


class TestSeverity:
    @pytest.mark.parametrize(
        ("stream", "text", "severity", "payload"),
        [
            ("stdout", "plain", "INFO", {"message": "plain"}),
            ("stderr", "plain", "ERROR", {"message": "plain"}),
            ("stderr", '{"severity": "info", "message": "m"}', "INFO", {"message": "m"}),
            ("stdout", '{"severity": "loud"}', "INFO", {"message": '{"severity": "loud"}'}),
            ("stderr", '{"message": "m"}', "ERROR", {"message": '{"message": "m"}'}),
            ("stdout", "{broken", "INFO", {"message": "{broken"}),
        ],
    )
    def test_stderr_is_an_error_unless_the_line_says_otherwise(
        self, stream: Any, text: str, severity: str, payload: dict[str, str]
    ) -> None:
        assert classify(Line(STAMP, stream, text)) == (severity, payload)


class TestReplicas:
    SPEC: dict[str, Any] = {  # noqa: RUF012 - read only
        "workerPoolSpecs": [
            {"replicaCount": "1", "containerSpec": {"imageUri": "i", "command": ["run"], "args": ["--x"]}},
            {},
            {"replicaCount": "2", "containerSpec": {"imageUri": "i"}},
        ],
        "baseOutputDirectory": {"outputUriPrefix": "gs://b/out/"},
    }

    def test_a_skipped_pool_has_no_replica(self) -> None:
        assert [task_name(*at) for at in tasks(self.SPEC)] == [
            "workerpool0-0",
            "workerpool2-0",
            "workerpool2-1",
        ]

    def test_each_replica_knows_the_cluster_and_its_own_place(self, tmp_path: Path) -> None:
        addresses = {task_name(*at): f"host-{n}:2222" for n, at in enumerate(tasks(self.SPEC))}
        work = Work("9", "us-central1", self.SPEC, addresses)
        first, last = (
            replica(settings(tmp_path), work, task, 1) for task in ("workerpool0-0", "workerpool2-1")
        )
        cluster = json.loads(last.env["CLUSTER_SPEC"])
        assert cluster["cluster"] == {
            "workerpool0": ["host-0:2222"],
            "workerpool2": ["host-1:2222", "host-2:2222"],
        }
        assert cluster["task"] == {"type": "workerpool2", "index": 1}
        assert json.loads(last.env["TF_CONFIG"])["task"] == {"type": "ps", "index": 1}
        assert (last.env["RANK"], last.env["WORLD_SIZE"], last.env["HOSTNAME"]) == ("2", "3", "host-2")
        assert (first.command, first.args) == (("run",), ("--x",))
        assert first.env["AIP_MODEL_DIR"] == "gs://b/out/model/"
        assert first.env["GCE_METADATA_HOST"] == "10.0.0.1:80"


class TestClock:
    @given(st.integers(min_value=0, max_value=4 * 10**18))
    def test_times_survive_being_written_and_read(self, moment: int) -> None:
        assert parse_timestamp(nano_timestamp(moment)) == moment
        assert parse_timestamp(timestamp(moment)) == moment // 1000 * 1000

    @pytest.mark.parametrize(
        "text", ["1970-01-01T00:00:01Z", "1970-01-01T01:00:01.0+01:00", "1970-01-01T00:00:01.000000000Z"]
    )
    def test_every_form_of_a_time_is_read(self, text: str) -> None:
        assert parse_timestamp(text) == 1_000_000_000

    @pytest.mark.parametrize("text", ["", "yesterday", "1970-01-01T00:00:01.5x"])
    def test_what_is_no_time_is_refused(self, text: str) -> None:
        with pytest.raises(ValueError, match="Invalid isoformat string"):
            parse_timestamp(text)


class TestStore:
    def entry(self, moment: int, text: str) -> LogEntry:
        return LogEntry("ml_job", "1", "workerpool0-0", nano_timestamp(moment), "INFO", {"message": text})

    def test_documents_and_logs_are_there_after_a_restart(self, tmp_path: Path) -> None:
        store = Store(tmp_path / "state.sqlite3")
        store.put("job", "a/1", {"n": 1})
        store.put("job", "a/2", {"n": 2})
        store.put("job", "b/1", {"n": 3})
        store.put("job", "a/1", {"n": 4})
        store.add_logs([self.entry(2, "second"), self.entry(1, "first")])
        store.close()
        again = Store(tmp_path / "state.sqlite3")
        assert [document["n"] for document in again.list("job", "a/")] == [2, 4]
        assert [e.payload["message"] for e in again.logs(LogQuery(owner="1"), 10)] == ["first", "second"]
        counted = [again.count_logs("1", "workerpool0-0", nano_timestamp(since)) for since in (1, 2, 3)]
        assert counted == [2, 1, 0]
        assert again.delete("job", "b/1")
        assert not again.delete("job", "b/1")
        again.close()

    def test_a_broken_transaction_writes_nothing(self, tmp_path: Path) -> None:
        store = Store(tmp_path / "state.sqlite3")

        def change() -> None:
            with store.transaction():
                store.put("job", "a", {})
                raise KeyError

        with pytest.raises(KeyError):
            change()
        assert store.get("job", "a") is None
        store.close()

    def test_a_full_disk_costs_log_lines_and_leaves_no_transaction_open(
        self, tmp_path: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        store = Store(tmp_path / "state.sqlite3")
        store.put("job", "a", {})
        store._db.execute("PRAGMA max_page_count = 20")
        store.add_logs(self.entry(n, "x" * 1000) for n in range(1000))
        assert "1000 log lines are lost: database or disk is full" in capsys.readouterr().err
        assert store.logs(LogQuery(), 10) == []
        store._db.execute("PRAGMA max_page_count = 100000")
        with store.transaction():
            store.put("job", "b", {})
        store.close()
        again = Store(tmp_path / "state.sqlite3")
        assert again.get("job", "b") == {}
        again.close()

    def test_entries_of_one_moment_are_paged_without_loss(self, tmp_path: Path) -> None:
        store = Store(tmp_path / "state.sqlite3")
        store.add_logs(self.entry(5, str(n)) for n in range(5))
        first = store.logs(LogQuery(), 3)
        rest = store.logs(LogQuery(after=(first[-1].timestamp, first[-1].seq)), 3)
        assert [e.payload["message"] for e in (*first, *rest)] == ["0", "1", "2", "3", "4"]
        store.close()
