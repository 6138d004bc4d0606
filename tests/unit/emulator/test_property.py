"""Random sequences of calls, faults, kills of the emulator and steps of the clock, against a small model."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from headway_emulator.errors import ApiError
from tests.unit.emulator.model import FINAL, LATE, Model
from tests.unit.emulator.simulated import Bench

STEPS = int(os.environ.get("HEADWAY_PROPERTY_STEPS", "10000"))
STEPS_A_RUN = 50
A100 = "NVIDIA_TESLA_A100"
QUOTA = ({"region": "*", "metric": "custom_model_training_*nvidia_a100_gpus", "limit": 2},)
SCHEDULINGS: list[dict[str, Any]] = [
    {},
    {"timeout": "600s"},
    {"disableRetries": True},
    {"restartJobOnWorkerRestart": True, "timeout": "5000s"},
    {"strategy": "SPOT"},
    {"strategy": "FLEX_START", "maxWaitDuration": "1000s"},
    {"strategy": "FLEX_START", "maxWaitDuration": "5000s", "timeout": "600s"},
]
REGIONS = ["us-central1", "us-central1", "europe-west4"]
HOWS = [("exit", 0), ("exit", 1), ("exit", 139), ("exit", 6), ("out_of_memory", 137), ("lost", -1)]


class EmulatorAgainstModel(RuleBasedStateMachine):
    """Whatever happens, both say the same of every job, and nothing runs that should not."""

    counted = 0

    @initialize()
    def begin(self) -> None:
        self.folder = tempfile.TemporaryDirectory()
        self.bench = Bench(Path(self.folder.name), quotas=QUOTA)
        self.model = Model(quota=2)
        self.faults: dict[str, str] = {}

    def teardown(self) -> None:
        if hasattr(self, "bench"):
            self.bench.close()
            self.folder.cleanup()

    def _jobs(self, *, final: bool = False) -> list[str]:
        return [name for name, job in self.model.jobs.items() if (job.state in FINAL) == final]

    def _pick(self, data: st.DataObject, names: list[str]) -> str:
        return data.draw(st.sampled_from(names))

    def _replicas(self) -> list[tuple[str, str]]:
        return [(name, task) for name in self._jobs() for task in sorted(self.model.jobs[name].running)]

    @rule(
        workers=st.integers(0, 2),
        gpus=st.integers(0, 1),
        scheduling=st.sampled_from(SCHEDULINGS),
        region=st.sampled_from(REGIONS),
    )
    def create(self, workers: int, gpus: int, scheduling: dict[str, Any], region: str) -> None:
        if scheduling.get("strategy") == "FLEX_START":
            gpus, workers = 1, 0
        counts = (1, workers) if workers else (1,)
        accelerator = f"{A100}:1" if gpus and not workers else ""  # two of one kind could never be had
        parent = f"projects/123/locations/{region}"
        name = self.bench.create(*counts, gpus=accelerator, parent=parent, **scheduling)
        tasks = ["workerpool0-0", *(f"workerpool1-{index}" for index in range(workers))]
        self.model.create(name, tasks, 1 if accelerator else 0, scheduling, region=region)

    @precondition(lambda self: self._replicas())
    @rule(data=st.data(), how=st.sampled_from(HOWS))
    def a_replica_ends(self, data: st.DataObject, how: tuple[str, int]) -> None:
        name, task = data.draw(st.sampled_from(self._replicas()))
        self._end(name, task, how)
        self.model.ended(name, task, *how)

    @precondition(lambda self: self._replicas())
    @rule(data=st.data(), how=st.sampled_from(HOWS))
    def a_replica_ends_while_the_emulator_is_down(self, data: st.DataObject, how: tuple[str, int]) -> None:
        if how[0] == "lost":
            return
        name, task = data.draw(st.sampled_from(self._replicas()))
        self.bench.machines.forget()
        self._end(name, task, how)
        self.bench.restart()
        self.model.restarted()
        self.model.ended(name, task, *how)

    def _end(self, name: str, task: str, how: tuple[str, int]) -> None:
        kind, code = how
        lost = "its container is gone" if kind == "lost" else ""
        self.bench.machine(name, task).end(code, lost=lost, out_of_memory=kind == "out_of_memory")

    @precondition(lambda self: self.model.jobs)
    @rule(data=st.data())
    def cancel(self, data: st.DataObject) -> None:
        name = self._pick(data, list(self.model.jobs))
        allowed = self.model.cancel(name)
        if allowed:
            self.bench.jobs.cancel(name)
            return
        with pytest.raises(ApiError, match="cannot be cancelled"):
            self.bench.jobs.cancel(name)

    @precondition(lambda self: self._jobs(final=True))
    @rule(data=st.data())
    def delete(self, data: st.DataObject) -> None:
        name = self._pick(data, self._jobs(final=True))
        self.bench.jobs.delete(name)
        del self.model.jobs[name]

    @precondition(lambda self: self._jobs())
    @rule(data=st.data())
    def a_job_that_is_not_over_is_not_deleted(self, data: st.DataObject) -> None:
        name = self._pick(data, self._jobs())
        with pytest.raises(ApiError, match="cancel it before deleting it"):
            self.bench.jobs.delete(name)

    @precondition(lambda self: self._preemptible())
    @rule(data=st.data(), after=st.sampled_from([0, 0, 47]))
    def preempt(self, data: st.DataObject, after: int) -> None:
        name, task = data.draw(st.sampled_from(self._preemptible()))
        self.bench.add_fault(kind="preempt", job=name.rsplit("/", 1)[1], task=task, after=after)
        self.model.preempt(name, task, after)

    def _preemptible(self) -> list[tuple[str, str]]:
        jobs = self.model.jobs
        return [
            (name, task)
            for name, task in self._replicas()
            # one at a time: of two machines that are taken at the very same moment, none is the first
            if not (jobs[name].stopping or jobs[name].taken or jobs[name].planned)
        ]

    @rule(seconds=st.sampled_from([0, 1, 10, 29, 30, 31, 600, 1000, 90_000, 700_000]))
    def time_passes(self, seconds: int) -> None:
        self.bench.step(seconds)
        self.model.advance(seconds)

    @rule()
    def machines_run_out_or_come_back(self) -> None:
        self.model.stockout = self._toggle("stockout")

    @rule()
    def states_are_late_or_no_longer(self) -> None:
        self.model.late = self._toggle("late", after=LATE)

    def _toggle(self, kind: str, **how: Any) -> bool:
        if kind in self.faults:
            self.bench.faults.remove(self.faults.pop(kind))
        else:
            self.faults[kind] = self.bench.add_fault(kind=kind, times=0, **how)["id"]
        return kind in self.faults

    @rule(broken=st.sampled_from([set(), set(), {"workerpool1-0"}, {"workerpool0-0"}]))
    def replicas_do_not_start(self, broken: set[str]) -> None:
        self.bench.machines.broken = self.model.broken = broken

    @rule(stubborn=st.booleans())
    def new_replicas_ignore_sigterm(self, stubborn: bool) -> None:
        self.bench.machines.stubborn = self.model.stubborn = stubborn

    @rule()
    def the_emulator_is_killed_and_started_again(self) -> None:
        self.bench.restart()
        self.model.restarted()

    @invariant()
    def both_say_the_same(self) -> None:
        if not hasattr(self, "bench"):
            return
        type(self).counted += 1
        self.bench.step()
        for name, job in self.model.jobs.items():
            assert self.bench.state(name) == job.state, name
            assert self.bench.running(name) == sorted(job.running), name

    @invariant()
    def nothing_is_left_behind(self) -> None:
        if not hasattr(self, "bench"):
            return
        alive = {name.rsplit("/", 1)[1] for name in self._jobs()}
        orphans = [m for m in self.bench.machines.all if not m.removed and m.replica.job not in alive]
        assert orphans == []
        assert {document["job"] for document in self.bench.unfinished()} == alive


def test_the_engine_and_the_model_agree_through_ten_thousand_random_steps() -> None:
    """No divergence, no orphan, no stuck job: every job is carried to its end in whatever happens."""
    EmulatorAgainstModel.counted = 0
    run_state_machine_as_test(
        EmulatorAgainstModel,
        settings=settings(
            max_examples=max(1, STEPS // STEPS_A_RUN * 2),
            stateful_step_count=STEPS_A_RUN,
            deadline=None,
            suppress_health_check=list(HealthCheck),
            database=None,
        ),
    )
    print(f"{EmulatorAgainstModel.counted} steps")  # noqa: T201
    assert EmulatorAgainstModel.counted >= STEPS
