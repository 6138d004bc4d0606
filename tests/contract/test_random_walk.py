"""The emulator as a program with real replicas, through random calls, faults, SIGKILLs and clock steps.

The same small model as in the property test of the engine says what must be; Google's own client asks.
"""

from __future__ import annotations

import os
import random
import secrets
import time
from typing import Any

import pytest
import requests
from google.api_core import exceptions
from google.cloud.aiplatform_v1 import JobServiceClient

from tests.contract.conftest import containers_of, job_client
from tests.contract.servers import PARENT, Emulator, until
from tests.contract.walking import SIGNALS, all_replicas, has_ended, replicas, walking_job
from tests.unit.emulator.model import FINAL, NOTICE, Model

STEPS = int(os.environ.get("HEADWAY_WALK_STEPS", "150"))
JOBS_AT_ONCE = 4
AGREEMENT_SECONDS = 30
SCHEDULINGS: list[dict[str, Any]] = [
    {},
    {"timeout": "600s"},
    {"disable_retries": True},
    {"restart_job_on_worker_restart": True},
    {"strategy": "SPOT"},
]
CAMEL = {"disable_retries": "disableRetries", "restart_job_on_worker_restart": "restartJobOnWorkerRestart"}


class Walk:
    """One random walk: each step is done to the emulator and to the model, then both are compared."""

    def __init__(self, emulator: Emulator, image: str, seed: int) -> None:
        self.emulator = emulator
        self.image = image
        self.chance = random.Random(seed)
        self.model = Model(quota=10**6)
        self.jobs: JobServiceClient = job_client(emulator)
        self.prefix = f"walk-{secrets.token_hex(4)}-"
        self.tokens: dict[str, str] = {}
        self.seen: dict[tuple[str, str], tuple[int, int]] = {}
        """By replica: which launch of it was seen in which process."""
        self.done: list[str] = []

    def step(self) -> None:
        steps = [
            self.create,
            self.end,
            self.end,
            self.cancel,
            self.preempt,
            self.time_passes,
            self.kill,
            self.delete,
        ]
        if len(self.alive()) >= JOBS_AT_ONCE:
            steps.remove(self.create)
        chosen = self.chance.choice(steps)
        self.done.append(chosen.__name__)
        chosen()
        self.compare()

    def alive(self) -> list[str]:
        return [name for name, job in self.model.jobs.items() if job.state not in FINAL]

    def running(self) -> list[tuple[str, str]]:
        return [(name, task) for name in self.alive() for task in sorted(self.model.jobs[name].running)]

    def create(self) -> None:
        token = f"{self.prefix}{len(self.tokens)}"
        self.done.append(token)
        workers = self.chance.choice([0, 0, 1, 2])
        scheduling = self.chance.choice(SCHEDULINGS)
        stubborn = self.chance.random() < 0.2
        counts = [1, workers] if workers else [1]
        wanted = walking_job(token, counts, scheduling, image=self.image, stubborn=stubborn)
        name = self.jobs.create_custom_job(parent=PARENT, custom_job=wanted).name
        self.tokens[name] = token
        tasks = ["workerpool0-0", *(f"workerpool1-{index}" for index in range(workers))]
        renamed = {CAMEL.get(key, key): value for key, value in scheduling.items()}
        self.model.create(name, tasks, 0, renamed, stubborn)

    def end(self) -> None:
        if not (choices := self.running()):
            return
        name, task = self.chance.choice(choices)
        code = self.chance.choice(list(SIGNALS))
        self.done.append(f"{task} of {self.tokens[name]}: {code}")
        process = replicas(self.tokens[name])[task]
        process.send_signal(SIGNALS[code])
        until(lambda: has_ended(process))
        self.model.ended(name, task, "exit", code)

    def cancel(self) -> None:
        if not self.model.jobs:
            return
        name = self.chance.choice(list(self.model.jobs))
        self.done.append(self.tokens[name])
        self.take_in()
        if self.model.cancel(name):
            self.jobs.cancel_custom_job(name=name)
            return
        with pytest.raises(exceptions.BadRequest):
            self.jobs.cancel_custom_job(name=name)

    def delete(self) -> None:
        if not self.model.jobs:
            return
        name = self.chance.choice(list(self.model.jobs))
        if name in self.alive():
            with pytest.raises(exceptions.BadRequest):
                self.jobs.delete_custom_job(name=name)
            return
        self.jobs.delete_custom_job(name=name)
        del self.model.jobs[name]

    def preempt(self) -> None:
        """Of a job's machines no two in the same second: which replica dies first is then anybody's guess."""
        jobs, at = self.model.jobs, self.model.now + NOTICE
        free = [(n, t) for n, t in self.running() if not jobs[n].stopping and t not in jobs[n].taken]
        choices = [(n, t) for n, t in free if at not in jobs[n].taken.values()]
        if not choices:
            return
        name, task = self.chance.choice(choices)
        self.done.append(f"{task} of {self.tokens[name]}")
        self.take_in()
        self.model.preempt(name, task)
        fault = {"kind": "preempt", "job": name.rsplit("/", 1)[1], "task": task}
        self.ask("faults", fault)

    def time_passes(self) -> None:
        """In one step, unless replicas ignore SIGTERM: one that starts within it had no time to say so."""
        seconds = self.chance.choice([1, 29, 31, 601])
        self.done.append(f"{seconds} s")
        end = self.model.now + seconds
        while any(self.model.jobs[name].stubborn for name in self.alive()):
            if (moment := max(self.model.next_moment(), self.model.now)) >= end:
                break
            self.advance(moment - self.model.now)
            self.compare()
        self.advance(end - self.model.now)

    def advance(self, seconds: float) -> None:
        self.model.advance(seconds)
        self.ask("clock", {"advance": f"{seconds:g}s"})

    def kill(self) -> None:
        """With the process executor the replicas die too, which the next emulator accounts for as lost."""
        if self.emulator.executor == "process":
            self.take_in()  # a replica that ended just before would be told from those by nobody
        self.emulator.kill()
        self.emulator.start()
        if self.emulator.executor == "process":
            self.model.lost_with_the_emulator()
        else:
            self.model.restarted()

    def take_in(self) -> None:
        """The emulator learns which replicas have ended, as the model did at once; no time passes."""
        self.ask("clock", {"advance": "0s"})

    def ask(self, what: str, body: dict[str, Any]) -> None:
        done = requests.post(f"{self.emulator.url}/emulator/{what}", json=body, timeout=60)
        assert done.ok, done.text

    def compare(self) -> None:
        """Both say the same, at the latest some seconds after: real replicas take their time."""
        deadline = time.monotonic() + AGREEMENT_SECONDS
        while found := self._differences():
            assert time.monotonic() < deadline, found
            time.sleep(0.05)

    def _differences(self) -> list[str]:
        found = []
        for name, job in self.model.jobs.items():
            state = self.jobs.get_custom_job(name=name).state.name.removeprefix("JOB_STATE_")
            there = replicas(self.tokens[name])
            if (state, sorted(there)) != (job.state, sorted(job.running)):
                found.append(f"{name}: {state} {sorted(there)}, not {job.state} {sorted(job.running)}")
                continue
            for task, process in there.items():
                launch, pid = self.seen.get((name, task), (0, 0))
                if launch != job.launches[task] and pid == process.pid:
                    found.append(f"{name}: {task} was not started again")
                else:
                    self.seen[name, task] = (job.launches[task], process.pid)
        return found


def test_the_emulator_and_the_model_agree_through_random_steps(twin: Emulator, base_image: str) -> None:
    """No divergence, no replica without a job, no job that does not come to its end."""
    seed = secrets.randbelow(10**6)
    print(f"seed {seed}")  # noqa: T201
    walk = Walk(twin, base_image, seed)
    try:
        for _ in range(STEPS):
            walk.step()
    except BaseException:
        print(walk.done)  # noqa: T201
        raise
    for name in walk.alive():
        walk.model.cancel(name)
        walk.jobs.cancel_custom_job(name=name)
    walk.model.advance(31)
    walk.ask("clock", {"advance": "31s"})
    walk.compare()
    until(lambda: all_replicas(walk.prefix) == [], seconds=30)
    if twin.executor == "docker":
        until(lambda: containers_of(twin) == [], seconds=30)
