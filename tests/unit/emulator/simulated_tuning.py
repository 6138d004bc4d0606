"""Tuning jobs with no machines: trials whose end and measurement a test says, on the simulated jobs."""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from headway_emulator.engine.jobs.trainings import FINAL
from headway_emulator.engine.store import Document
from headway_emulator.engine.tuning.measurements import METRIC_FILE
from headway_emulator.engine.tuning.tuning import Tuning
from tests.unit.emulator.simulated import PARENT, Bench, Machine

Values = Mapping[str, str]
"""A trial's arguments as its program gets them."""


class TuningBench(Bench):
    """A bench whose emulator has tuning jobs; `restart` is a crash of these too."""

    def _built(self) -> None:
        self.tuning = Tuning(self.store, self.clock, self.trainings, self.jobs)

    def _recovered(self) -> None:
        self.tuning.recover()

    def close(self) -> None:
        self.tuning.close()
        super().close()

    def tune(self, study: Mapping[str, Any], trials: int, parallel: int = 1, **fields: Any) -> str:
        """The name of a new tuning job."""
        container = {"imageUri": "image"}
        pool = {
            "machineSpec": {"machineType": "n1-standard-4"},
            "replicaCount": "1",
            "containerSpec": container,
        }
        counts = {"maxTrialCount": trials, "parallelTrialCount": parallel}
        body = {"displayName": "tuning", "studySpec": study, "trialJobSpec": {"workerPoolSpecs": [pool]}}
        return str(self.tuning.create(PARENT, {**body, **counts, **fields})["name"])

    def tuned(self, name: str) -> Document:
        return self.tuning.get(name)

    def over(self, name: str) -> bool:
        return self.tuned(name)["state"] in FINAL

    def trial(self, number: int) -> Machine:
        """The machine of a trial that is running."""
        (found,) = [
            machine for machine in self.machines.all if machine.running and _number(machine) == number
        ]
        return found

    def running_trials(self) -> list[int]:
        return sorted(_number(machine) for machine in self.machines.all if machine.running)

    def started(self) -> list[int]:
        """The trials, once for each machine that they were started on."""
        return sorted(_number(machine) for machine in self.machines.all)

    def write(self, number: int, *steps: Mapping[str, float]) -> None:
        """A running trial's metrics, as cloudml-hypertune writes them."""
        self.trial(number).files[METRIC_FILE] = report(steps, number)

    def finish(self, number: int, **metrics: float) -> None:
        """A trial ends well, with these metrics in one step."""
        self.write(number, metrics)
        self.trial(number).end(0)

    def drain(self, name: str, metric: str, loss: Callable[[Values], float], seed: int = 0) -> None:
        """End the trials one after another with their losses; `seed` says which of those that run is next."""
        self.step()
        while not self.over(name):
            number = next_of(self.running_trials(), seed)
            self.finish(number, **{metric: loss(given(self.trial(number)))})
            self.step()


def next_of(running: Sequence[int], seed: int = 0) -> int:
    """One of these, the same for the same seed."""
    return min(running, key=lambda number: hashlib.sha256(f"{seed} {number}".encode()).digest())


def given(machine: Machine) -> Values:
    return dict(argument.removeprefix("--").split("=", 1) for argument in machine.replica.args)


def report(steps: Sequence[Mapping[str, float]], trial: int = 1) -> bytes:
    """The file of metrics with a line for each step and metric."""
    lines = [
        {"timestamp": time.time(), "trial": str(trial), name: str(value), "global_step": str(step)}
        for step, metrics in enumerate(steps)
        for name, value in metrics.items()
    ]
    return "".join(f"{json.dumps(line)}\n" for line in lines).encode()


def _number(machine: Machine) -> int:
    return int(machine.replica.env["CLOUD_ML_TRIAL_ID"])
