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
from tests.unit.emulator.model import FINAL, Model
from tests.unit.emulator.simulated import Bench

STEPS = int(os.environ.get("HEADWAY_PROPERTY_STEPS", "10000"))
STEPS_A_RUN = 50
A100 = "NVIDIA_TESLA_A100"
QUOTA = ({"region": "us-central1", "metric": "custom_model_training_*nvidia_a100_gpus", "limit": 2},)
SCHEDULINGS: list[dict[str, Any]] = [
    {},
    {"timeout": "600s"},
    {"disableRetries": True},
    {"restartJobOnWorkerRestart": True, "timeout": "5000s"},
    {"strategy": "SPOT"},
    {"strategy": "FLEX_START", "maxWaitDuration": "1000s"},
]
HOWS = [("exit", 0), ("exit", 1), ("exit", 139), ("exit", 6), ("out_of_memory", 137), ("lost", -1)]


class EmulatorAgainstModel(RuleBasedStateMachine):
    """Whatever happens, both say the same of every job, and nothing runs that should not."""

    counted = 0

    @initialize()
    def begin(self) -> None:
        self.folder = tempfile.TemporaryDirectory()
        self.bench = Bench(Path(self.folder.name), quotas=QUOTA)
        self.model = Model(quota=2)
        self.stockout_fault = ""

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

    @rule(workers=st.integers(0, 2), gpus=st.integers(0, 1), scheduling=st.sampled_from(SCHEDULINGS))
    def create(self, workers: int, gpus: int, scheduling: dict[str, Any]) -> None:
        if scheduling.get("strategy") == "FLEX_START":
            gpus, workers = 1, 0
        counts = (1, workers) if workers else (1,)
        accelerator = f"{A100}:1" if gpus and not workers else ""  # two of one kind could never be had
        name = self.bench.create(*counts, gpus=accelerator, **scheduling)
        tasks = ["workerpool0-0", *(f"workerpool1-{index}" for index in range(workers))]
        self.model.create(name, tasks, 1 if accelerator else 0, scheduling)

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
    @rule(data=st.data())
    def preempt(self, data: st.DataObject) -> None:
        name, task = data.draw(st.sampled_from(self._preemptible()))
        self.bench.add_fault(kind="preempt", job=name.rsplit("/", 1)[1], task=task)
        self.model.preempt(name, task)

    def _preemptible(self) -> list[tuple[str, str]]:
        jobs = self.model.jobs
        return [
            (name, task)
            for name, task in self._replicas()
            if not jobs[name].stopping and task not in jobs[name].taken
        ]

    @rule(seconds=st.sampled_from([1, 10, 29, 30, 31, 600, 1000, 90_000, 700_000]))
    def time_passes(self, seconds: int) -> None:
        self.bench.step(seconds)
        self.model.advance(seconds)

    @rule()
    def machines_run_out_or_come_back(self) -> None:
        if self.stockout_fault:
            self.bench.faults.remove(self.stockout_fault)
            self.stockout_fault = ""
        else:
            self.stockout_fault = self.bench.add_fault(kind="stockout", times=0)["id"]
        self.model.stockout = bool(self.stockout_fault)

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
