"""A kill of the emulator after any one write of its state: the next one brings each job to the same end.

Each story is told once without a kill, to count its writes, and then once for each of them.
"""

from __future__ import annotations

import sqlite3
from collections import Counter
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest

from headway_emulator.engine.jobs.custom_jobs import KIND
from tests.unit.emulator.simulated import Bench

A100 = "NVIDIA_TESLA_A100"
TWO_A100 = ({"region": "us-central1", "metric": "*", "limit": 2},)
SEGFAULT = 139
NEVER = 1_000_000


class Killed(Exception):
    """Nothing that this emulator does has any effect from now on."""


class Mortal:
    """A connection that lets a number of writes through, and then nothing at all."""

    def __init__(self, real: sqlite3.Connection, writes: int, died: Callable[[], None]) -> None:
        self._real = real
        self._left = writes
        self._died = died
        self.written = 0

    @property
    def dead(self) -> bool:
        return self.written == self._left

    def __getattr__(self, name: str) -> Any:
        return getattr(self._real, name)

    def execute(self, statement: str, *values: Any) -> sqlite3.Cursor:
        if self.dead:
            raise Killed
        done = self._real.execute(statement, *values)
        single = statement[:6] in ("INSERT", "DELETE") and not self._real.in_transaction
        if statement == "COMMIT" or single:
            self.written += 1
            if self.dead:
                self._died()
                raise Killed
        return done


class Story:
    """Jobs by short names, and steps that are taken again where a kill cut them off."""

    def __init__(self, folder: Path, writes: int) -> None:
        self.bench = Bench(folder, quotas=TWO_A100)
        self.names: dict[str, str] = {}
        self.began = self.bench.clock.monotonic()
        self.mortal = Mortal(self.bench.store._db, writes, self._died)
        for holder in (self.bench.store, self.bench.store._logs):
            holder._db = self.mortal  # type: ignore[assignment]  # what it lacks, the real one gives
        self.twice: list[str] = []

    def take(self, step: Callable[[Story], None]) -> None:
        alive = not self.mortal.dead
        try:
            step(self)
            self.bench.step()
        except (Killed, sqlite3.Error):
            assert self.mortal.dead
        if alive and self.mortal.dead:
            self.bench.restart()
            self.bench.step()
            step(self)
            self.bench.step()
        self._look()

    def _died(self) -> None:
        self.bench.machines.forget()
        self.bench.clock.close()

    def _look(self) -> None:
        running = Counter((m.replica.job, m.replica.task) for m in self.bench.machines.all if m.running)
        self.twice += [f"{task} of {job}" for (job, task), count in running.items() if count > 1]

    def create(self, short: str, *counts: int, **how: Any) -> None:
        """Asks again only where the job is not there."""
        if short not in self.names:
            known = {job["name"] for job in self.bench.store.list(KIND)} - set(self.names.values())
            self.names[short] = known.pop() if known else self.bench.order(*counts, **how)

    def end(self, short: str, code: int, task: str = "workerpool0-0", nth: int = 0, **how: Any) -> None:
        """The replica that was started as the nth; nothing where it has ended by then."""
        job = self.names[short].rsplit("/", 1)[1]
        started = [m for m in self.bench.machines.all if m.replica.job == job and m.replica.task == task]
        started[nth].end(code, **how)

    def until(self, second: int) -> None:
        left = self.began + second - self.bench.clock.monotonic()
        if left > 0:
            self.bench.step(left)

    def outcome(self) -> Mapping[str, Any]:
        jobs = {short: self.bench.jobs.get(name) for short, name in self.names.items()}
        return {short: (job["state"], job.get("error", {}).get("code")) for short, job in jobs.items()}

    def cancel(self, short: str) -> None:
        self.bench.jobs.cancel(self.names[short])

    def fault(self, **fault: Any) -> None:
        """Once, also where the answer was lost."""
        if not self.bench.faults.all():
            self.bench.add_fault(**fault)

    def no_fault(self) -> None:
        self.bench.faults.clear()


Step = Callable[[Story], None]
STUBBORN: Step = lambda s: setattr(s.bench.machines, "stubborn", True)  # noqa: E731 - a step as all others
STORIES: Mapping[str, list[Step]] = {
    "a worker crashes and is restarted": [
        lambda s: s.create("job", 1, 1),
        lambda s: s.end("job", SEGFAULT, "workerpool1-0"),
        lambda s: s.end("job", 0, "workerpool1-0", 1),
        lambda s: s.end("job", 0),
    ],
    "the whole job is restarted, and its replicas ignore the end": [
        STUBBORN,
        lambda s: s.create("job", 1, 1, restartJobOnWorkerRestart=True),
        lambda s: s.end("job", SEGFAULT, "workerpool1-0"),
        lambda s: s.until(31),
        lambda s: s.end("job", 0, nth=1),
        lambda s: s.until(62),
    ],
    "a replica is lost once too often": [
        lambda s: s.create("job"),
        *[lambda s, n=n: s.end("job", -1, nth=n, lost="it is gone") for n in range(4)],
    ],
    "a Spot machine is taken away": [
        STUBBORN,
        lambda s: s.create("job", 1, 1, strategy="SPOT"),
        lambda s: s.fault(kind="preempt", task="workerpool1-0", after=10),
        lambda s: s.until(11),
        lambda s: s.until(41),
        lambda s: s.until(72),
        lambda s: s.end("job", 0, nth=1),
        lambda s: s.until(103),
    ],
    "a Spot machine gives notice and the replica ends": [
        lambda s: s.create("job", strategy="SPOT"),
        lambda s: s.fault(kind="preempt"),
        lambda s: s.end("job", 0, nth=1),
    ],
    "a cancel comes during a restart": [
        STUBBORN,
        lambda s: s.create("job", 1, 1, restartJobOnWorkerRestart=True),
        lambda s: s.end("job", SEGFAULT),
        lambda s: s.cancel("job"),
        lambda s: s.until(31),
    ],
    "one waits for the quota of another": [
        lambda s: s.create("first", gpus=f"{A100}:2"),
        lambda s: s.create("second", gpus=f"{A100}:2"),
        lambda s: s.create("third", gpus=f"{A100}:2"),
        lambda s: s.end("first", 0),
        lambda s: s.cancel("second"),
        lambda s: s.end("third", 1),
    ],
    "machines come at last": [
        lambda s: s.fault(kind="stockout", times=0),
        lambda s: s.create("job", gpus=A100, strategy="FLEX_START", maxWaitDuration="100s"),
        lambda s: s.until(50),
        lambda s: s.no_fault(),
        lambda s: s.until(90),
        lambda s: s.end("job", 0),
    ],
    "machines never come": [
        lambda s: s.fault(kind="stockout", times=0),
        lambda s: s.create("job", gpus=A100, strategy="FLEX_START", maxWaitDuration="100s"),
        lambda s: s.until(101),
    ],
    "time is up": [
        STUBBORN,
        lambda s: s.create("job", timeout="100s"),
        lambda s: s.until(101),
        lambda s: s.until(131),
    ],
    "machines run out after a while": [
        lambda s: s.fault(kind="stockout", after=50),
        lambda s: s.create("job"),
        lambda s: s.until(51),
    ],
    "the state is late": [
        lambda s: s.fault(kind="late", after=50),
        lambda s: s.create("job", timeout="100s"),
        lambda s: s.until(120),
        lambda s: s.until(151),
    ],
    "a replica does not start": [
        lambda s: setattr(s.bench.machines, "broken", {"workerpool1-0"}),
        lambda s: s.create("job", 1, 1),
    ],
    "an image is missing": [
        lambda s: s.bench.machines.missing_images.add("image"),
        lambda s: s.create("job", 1, 1),
    ],
}


@pytest.mark.parametrize("steps", [pytest.param(steps, id=name) for name, steps in STORIES.items()])
def test_a_kill_after_any_write_changes_no_outcome(tmp_path: Path, steps: list[Step]) -> None:
    told = tell(tmp_path / "whole", steps, NEVER)
    whole, writes = told.outcome(), told.mortal.written
    for kill in range(1, writes + 1):
        interrupted = tell(tmp_path / str(kill), steps, kill)
        assert interrupted.outcome() == whole, f"killed after write {kill} of {writes}"
        assert interrupted.twice == [], f"killed after write {kill} of {writes}"


def tell(folder: Path, steps: list[Step], writes: int) -> Story:
    story = Story(folder, writes)
    try:
        for step in steps:
            story.take(step)
        outcome = story.outcome()
        story.outcome = lambda: outcome  # type: ignore[method-assign]
        assert [m.replica.task for m in story.bench.machines.all if not m.removed] == []
        assert story.bench.unfinished() == []
    finally:
        story.bench.close()
    return story
