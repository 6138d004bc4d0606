"""Tuning jobs on a bench: kills after any write, failures, early stopping."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from headway_emulator.engine.store import Document
from headway_emulator.engine.tuning.tuning import KIND, TRIAL
from tests.contract.servers import until
from tests.unit.emulator.simulated_tuning import TuningBench, given, next_of
from tests.unit.emulator.test_interrupted import NEVER, Killed, Mortal

STUDY: dict[str, Any] = {
    "metrics": [{"metricId": "loss", "goal": "MINIMIZE"}],
    "parameters": [
        {"parameterId": "x", "doubleValueSpec": {"minValue": 0, "maxValue": 1}},
        {"parameterId": "n", "integerValueSpec": {"minValue": "1", "maxValue": "4"}},
    ],
}
TRIALS, PARALLEL = 9, 3
"""More than the first six, which are random."""


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[TuningBench]:
    made = TuningBench(tmp_path)
    yield made
    made.close()


class Sweep:
    """A tuning job from its creation to its end, through one kill after a number of writes."""

    def __init__(self, folder: Path, writes: int) -> None:
        self.bench = TuningBench(folder)
        self.mortal = Mortal(self.bench.store._db, writes, self._died)
        for holder in (self.bench.store, self.bench.store._logs):
            holder._db = self.mortal  # type: ignore[assignment]  # what it lacks, the real one gives
        self.restarted = False

    def run(self) -> Document:
        self._take(lambda: self.bench.tune(STUDY, TRIALS, PARALLEL))
        if not self.bench.store.list(KIND):
            self._take(lambda: self.bench.tune(STUDY, TRIALS, PARALLEL))  # nothing was kept: ask again
        for _ in range(2 * TRIALS):
            self._take(self._end_one)
        (job,) = self.bench.store.list(KIND)
        return self.bench.tuned(job["name"])

    def _end_one(self) -> None:
        if running := self.bench.running_trials():
            number = next_of(running)
            values = given(self.bench.trial(number))
            if number == 2:
                self.bench.trial(number).end(1)
            else:
                self.bench.finish(number, loss=float(values["x"]) + int(values["n"]))

    def _take(self, step: Any) -> None:
        try:
            step()
            self.bench.step()
        except (Killed, sqlite3.Error):
            assert self.mortal.dead
        if self.mortal.dead and not self.restarted:
            self.restarted = True
            self.bench.restart()
            self.bench.step()

    def _died(self) -> None:
        self.bench.machines.forget()
        self.bench.clock.close()


def outcome(job: Document) -> list[Any]:
    trials = [(t["id"], t["parameters"], t["state"], loss(t)) for t in job["trials"]]
    return [job["state"], job["maxTrialCount"], *trials]


def loss(trial: Document) -> float | None:
    final = trial.get("finalMeasurement")
    return final["metrics"][0]["value"] if final else None


@pytest.mark.slow
def test_a_kill_after_any_write_runs_no_trial_twice_and_changes_none(tmp_path: Path) -> None:
    """Each trial has one machine, the values of all are those of a job that was left alone."""
    whole, writes = told(tmp_path / "whole", NEVER)
    assert [trial[0] for trial in whole[2:]] == [str(number + 1) for number in range(TRIALS)]
    assert [trial[2] for trial in whole[2:]].count("INFEASIBLE") == 1
    assert writes > 5 * TRIALS
    for kill in range(1, writes + 1):
        again, _ = told(tmp_path / str(kill), kill)
        assert again == whole, f"killed after write {kill} of {writes}"


def told(folder: Path, writes: int) -> tuple[list[Any], int]:
    sweep = Sweep(folder, writes)
    try:
        found = outcome(sweep.run())
        assert sweep.bench.started() == list(range(1, TRIALS + 1)), f"killed after write {writes}"
        return found, sweep.mortal.written
    finally:
        sweep.bench.close()


def states(job: Document) -> list[str]:
    return [trial["state"] for trial in job["trials"]]


def test_trials_that_run_at_once_have_values_of_their_own(bench: TuningBench) -> None:
    bench.tune({**STUDY, "parameters": STUDY["parameters"][1:]}, 4, 4)
    bench.step()
    assert bench.running_trials() == [1, 2, 3, 4]
    assert {given(bench.trial(number))["n"] for number in (1, 2, 3, 4)} == {"1", "2", "3", "4"}


def test_as_many_failed_trials_as_allowed_fail_the_job_and_end_the_others(bench: TuningBench) -> None:
    name = bench.tune(STUDY, 9, 3, maxFailedTrialCount=2)
    bench.step()
    for number in (1, 3):
        bench.trial(number).end(1)
        bench.step()
    job = bench.tuned(name)
    assert job["state"] == "JOB_STATE_FAILED"
    assert job["error"]["message"].startswith("Too many failed trials: 2. Trial 3:")
    assert states(job) == ["INFEASIBLE"] * 4, "the second and the fourth were cancelled without a measurement"
    assert bench.running_trials() == []


@pytest.mark.parametrize(("good", "state"), [(0, "FAILED"), (1, "SUCCEEDED")])
def test_without_such_a_limit_a_job_goes_on_and_fails_where_no_trial_is_good(
    bench: TuningBench, good: int, state: str
) -> None:
    name = bench.tune(STUDY, 5, 2, maxFailedTrialCount=0)
    bench.step()
    while not bench.over(name):
        number = bench.running_trials()[0]
        bench.finish(number, loss=1.0) if number == good else bench.trial(number).end(1)
        bench.step()
    job = bench.tuned(name)
    assert (job["state"], len(job["trials"])) == (f"JOB_STATE_{state}", 5)
    assert states(job).count("SUCCEEDED") == good


MEDIAN = {**STUDY, "medianAutomatedStoppingSpec": {"useElapsedDuration": False}}


def test_a_trial_below_the_median_is_stopped_with_what_it_has_and_makes_room(bench: TuningBench) -> None:
    name = bench.tune(MEDIAN, 4, 1)
    bench.step()
    for number, steps in ((1, (0.9, 0.3)), (2, (0.7, 0.1))):
        bench.write(number, *({"loss": value} for value in steps))
        bench.trial(number).end(0)
        bench.step()
    bench.write(3, {"loss": 0.79})  # not below the median at this step, which is 0.8
    until(lambda: bench.tuned(name)["trials"][2].get("measurements"), seconds=10)
    assert states(bench.tuned(name)) == ["SUCCEEDED", "SUCCEEDED", "ACTIVE"]
    bench.write(3, {"loss": 0.79}, {"loss": 0.78})  # the averages up to this one are 0.6 and 0.4
    until(lambda: bench.running_trials() == [4], seconds=10)
    third = bench.tuned(name)["trials"][2]
    assert (third["state"], loss(third)) == ("SUCCEEDED", 0.78)
    bench.finish(4, loss=0.5)
    bench.step()
    assert bench.tuned(name)["state"] == "JOB_STATE_SUCCEEDED"


def test_a_trial_that_was_to_be_stopped_when_the_emulator_was_killed_is_stopped(bench: TuningBench) -> None:
    """The kill came between the word and the deed: its program would have gone on for as long as it likes."""
    name = bench.tune(MEDIAN, 2, 1)
    bench.step()
    bench.write(1, {"loss": 0.5})
    kept = f"{TRIAL}:{name}"
    bench.store.put(kept, "1", {**(bench.store.get(kept, "1") or {}), "state": "STOPPING"})
    bench.restart()
    bench.step()
    first, second = bench.tuned(name)["trials"]
    assert (first["state"], loss(first)) == ("SUCCEEDED", 0.5)
    assert second["state"] == "ACTIVE"
    assert bench.running_trials() == [2]
