"""A kill of the emulator around the ticks of schedules: none is lost, and none is called twice.

After each single write of the state, and in each request before and after it has come to its target. What
must hold after every one of them is in `Story.check`.
"""

from __future__ import annotations

import asyncio
import sqlite3
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from headway_emulator.engine.clock import SECOND, VirtualClock, timestamp
from headway_emulator.engine.scheduling import calls
from headway_emulator.engine.scheduling.calls import CUT_OFF, Outcome, judge
from headway_emulator.engine.scheduling.scheduler import PLAN, RUN, Scheduler
from headway_emulator.engine.store import Document, LogQuery, Store
from headway_emulator.settings import Settings
from tests.unit.emulator.test_interrupted import NEVER, Killed, Mortal

START = 1_800_000_000 // 3600 * 3600 * SECOND
MINUTES = 17
DOWN_SECONDS = 150
"""How long an emulator is away, in every second story."""
PARENT = "projects/headway-local/locations/us-central1/jobs"
JOBS: dict[str, Document] = {
    "plain": {"schedule": "* * * * *"},
    "retried": {"schedule": "*/2 * * * *", "retryConfig": {"retryCount": 2, "minBackoffDuration": "5s"}},
    "counted": {"schedule": "every 3 minutes"},
    "failing": {"schedule": "*/3 * * * *"},
}


@dataclass
class Requests:
    """What came to the targets, and at which of them the emulator is killed."""

    kill_at: int = NEVER
    """Number of a request; even ones are killed before they come, odd ones after."""
    come: list[tuple[str, str]] = field(default_factory=list)
    answers: Counter[tuple[str, str]] = field(default_factory=Counter)
    """How often each tick was answered with success."""
    made: int = 0


class Story:
    """Some minutes of schedules, with one kill."""

    def __init__(self, folder: Path, writes: int, kill_at: int, down: float) -> None:
        self.settings = settings(folder)
        self.requests = Requests(kill_at)
        self._down = down
        self._now = START
        self.writes = 0
        self.killed = False
        self._open(NEVER)
        for name, how in JOBS.items():
            self.scheduler.put(job(name, how))
        self.mortal._left = self.mortal.written + writes
        self.created = self.mortal.written

    def _open(self, writes: int) -> None:
        self.store = Store(self.settings.state / "state.sqlite3")
        kept = self.store.get("clock", "now") or {"ns": START}
        self._now = int(kept["ns"]) + (round(self._down * SECOND) if self.killed else 0)
        self.mortal = Mortal(self.store._db, writes, lambda: None)
        for holder in (self.store, self.store._logs):
            holder._db = self.mortal  # type: ignore[assignment]  # what it lacks, the real one gives
        self.clock = VirtualClock(self._now, lambda now: self.store.put("clock", "now", {"ns": now}))
        self.scheduler = Scheduler(self.settings, self.store, self.clock)
        self.scheduler.recover()

    async def call(self, _: Any, __: Settings, job: Document, due: int, ___: int) -> Outcome:
        """In place of the request; a dead emulator's does nothing."""
        if self.mortal.dead:
            raise Killed
        number, self.requests.made = self.requests.made, self.requests.made + 1
        tick = (job["name"].rsplit("/", 1)[1], timestamp(due))
        if number == self.requests.kill_at and number % 2 == 0:
            self._die()
        self.requests.come.append(tick)
        if number == self.requests.kill_at:
            self._die()
        await asyncio.sleep(0)
        first = self.requests.come.count(tick) == 1
        if tick[0] == "failing" or (tick[0] == "retried" and first and int(tick[1][14:16]) % 4 == 0):
            return judge(500)
        self.requests.answers[tick] += 1
        return judge(200)

    def _die(self) -> None:
        self.mortal._left = self.mortal.written
        raise Killed

    def tell(self) -> None:
        for step in range(MINUTES * 3):
            self._survive(lambda step=step: self._take(step))
        self.settle()

    def _take(self, step: int) -> None:
        target = START + (step + 1) * 20 * SECOND
        if (left := target - self.clock.now_ns()) > 0:
            self.clock.advance(left / SECOND)

    def _survive(self, step: Any) -> None:
        try:
            step()
        except (Killed, sqlite3.Error):
            assert self.mortal.dead
        if self.mortal.dead:
            self._restart()
            step()

    def _restart(self) -> None:
        self.scheduler.close()
        self.clock.close()
        self.killed = True
        self.writes += self.mortal.written
        self.mortal._real.close()
        self._open(NEVER)

    def settle(self) -> None:
        """Retries that are under way end; no tick of the whole minutes comes due in it."""
        self._survive(lambda: self.clock.advance(39))
        self.until = self.clock.now_ns()

    def close(self) -> None:
        self.writes += self.mortal.written
        self.scheduler.close()
        self.clock.close()
        self.mortal._real.close()

    def entries(self, short: str) -> list[Document]:
        query = LogQuery(owner=short, kind="cloud_scheduler_job")
        return [
            {**entry.more["jsonPayload"], "severity": entry.severity}
            for entry in self.store.logs(query, 10_000)
        ]

    def must_hold(self, when: str) -> None:
        assert self.killed, when
        try:
            self.check()
        except AssertionError as error:
            raise AssertionError(f"{when}: {error}") from error

    def check(self) -> None:
        """The promise, job by job."""
        doubled = []
        for short in JOBS:
            told = self.entries(short)
            started = [
                one["scheduledTime"] for one in told if one.get("@type", "").endswith("AttemptStarted")
            ]
            ended = [one for one in told if one.get("@type", "").endswith("AttemptFinished")]
            passed = [tick for one in told for tick in one.get("passedOver", ())]
            cut = [one for one in ended if CUT_OFF.message in one["debugInfo"]]
            come = Counter(tick for name, tick in self.requests.come if name == short)
            assert len(started) == len(ended), f"{short}: each attempt has an outcome"
            assert len(cut) <= 1, f"{short}: one attempt can be cut off by one kill"
            if short != "counted":
                due = ticks(JOBS[short]["schedule"], self.until)
                assert set(started) | set(passed) == set(due), f"{short}: every due tick is told of"
                assert not set(started) & set(passed), f"{short}: what is passed over is not executed"
                assert len(passed) == len(set(passed)), f"{short}: it is told once"
            if short != "retried":
                assert max(come.values()) == 1, f"{short}: no tick comes twice"
                assert len(started) == len(set(started)), f"{short}: no tick is attempted twice"
            missing = set(started) - set(come)
            assert len(missing) <= len(cut), f"{short}: what is missing was cut off"
            doubled += [
                tick for (name, tick), count in self.requests.answers.items() if name == short and count > 1
            ]
        assert len(doubled) <= (1 if self.killed else 0), (
            "only what a kill cut off is repeated, by its retries"
        )
        assert not self.store.list(RUN)
        assert not [plan for plan in self.store.list(PLAN) if plan["sending"]]


def ticks(text: str, until: int) -> list[str]:
    """Every n minutes from the hour on, which the story begins with."""
    every = 1 if text.startswith("* ") else int(text[2])
    return [timestamp(at) for at in range(START + every * 60 * SECOND, until + 1, every * 60 * SECOND)]


def job(short: str, how: Document) -> Document:
    target = {"uri": "http://127.0.0.1:9/", "httpMethod": "POST", "headers": {}}
    more = {"timeZone": "Etc/UTC", "attemptDeadline": "180s", "state": "ENABLED", "httpTarget": target}
    return {"name": f"{PARENT}/{short}", **more, **how}


def settings(folder: Path) -> Settings:
    folder.mkdir(parents=True, exist_ok=True)
    return Settings(
        project="headway-local",
        project_number="123456789012",
        state=folder,
        executor="process",
        storage_url="http://127.0.0.1:9",
        public_url="http://127.0.0.1:9",
        network="",
        nonce="",
        grace_seconds=1.0,
        clock="virtual",
    )


@contextmanager
def told(
    patched: pytest.MonkeyPatch, folder: Path, *, writes: int = NEVER, kill_at: int = NEVER, down: float = 0.0
) -> Iterator[Story]:
    story: list[Story] = []

    async def call(*given: Any) -> Outcome:
        while not story:
            await asyncio.sleep(0.001)
        return await story[0].call(*given)

    patched.setattr(calls, "call", call)
    story.append(Story(folder, writes, kill_at, down))
    try:
        story[0].tell()
        yield story[0]
    finally:
        story[0].close()


def untouched(patched: pytest.MonkeyPatch, folder: Path) -> Story:
    """The same without a kill: how much there is to kill at."""
    with told(patched, folder) as whole:
        whole.check()
    return whole


@pytest.mark.slow
def test_a_kill_after_any_write_loses_no_tick_and_doubles_none(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    whole = untouched(monkeypatch, tmp_path / "whole")
    writes = whole.writes - whole.created
    assert writes > 120
    for kill in range(1, writes + 1):
        down = DOWN_SECONDS if kill % 2 else 0.0
        with told(monkeypatch, tmp_path / str(kill), writes=kill, down=down) as story:
            story.must_hold(f"killed after write {kill} of {writes}")


@pytest.mark.slow
def test_a_kill_in_any_request_loses_no_tick_and_doubles_none(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    made = untouched(monkeypatch, tmp_path / "whole").requests.made
    assert made > 30
    for kill in range(made):
        down = DOWN_SECONDS if kill % 4 < 2 else 0.0
        with told(monkeypatch, tmp_path / str(kill), kill_at=kill, down=down) as story:
            story.must_hold(f"killed at request {kill} of {made}")


def test_a_run_by_hand_that_a_kill_came_before_is_made_by_the_next_emulator(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """And one that may have come is not made again, but has its outcome."""
    with told(monkeypatch, tmp_path / "before") as story:
        name = f"{PARENT}/failing"
        for sending in (False, True):
            story.store.put(RUN, str(sending), {"id": str(sending), "job": name, "sending": sending})
        before = len(story.entries("failing"))
        come = len(story.requests.come)
        story._restart()
        story.clock.advance(1)
        entries = story.entries("failing")[before:]
        assert sum(CUT_OFF.message in entry.get("debugInfo", "") for entry in entries) == 1
        assert sum(short == "failing" for short, _ in story.requests.come[come:]) == 1
        assert not story.store.list(RUN)
