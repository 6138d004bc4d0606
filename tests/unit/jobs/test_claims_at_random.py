"""Submits of one content in virtual time, where each request may take long, and each submit may die.

The order of what happens is drawn by chance: a request leaves, arrives when the server gets to it, and is
answered or not. Whatever was drawn, the submit after it all finds one job, and no other runs.
"""

from __future__ import annotations

import heapq
import random
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from dataclasses import replace
from datetime import UTC, datetime
from itertools import count
from typing import Any, TypeVar, cast

import pytest

from headway.cloud.services import Services
from headway.cloud.storage import Version
from headway.cloud.vertex import Job
from headway.errors import DeadlinePassed, Exhausted, HeadwayError, NotFound, RemoteError
from headway.jobs.attempts import obtain
from headway.jobs.cancelling import cancel_run
from headway.jobs.lookup import goes_on
from headway.jobs.progress import Silent
from headway.spec.job import JobSpec
from headway.spec.plan import CodePin, ImagePin, Plan, make_plan
from tests.unit.jobs.fakes import PLACE, MemoryJobs, MemoryStore

T = TypeVar("T")
ANSWER_S = PLACE.answer_s
WORLDS = 50


class Killed(BaseException):
    """What a submit meets at the moment of its SIGKILL."""


class World:
    """Virtual time, and threads of which one goes on at a time, in the order of their moments."""

    def __init__(self, seed: int, *, deadly: bool) -> None:
        self.chance = random.Random(seed)
        self.deadly = deadly
        self.stalls = True
        self.now = 1_000_000.0
        self._moments: list[tuple[float, int, Callable[[], None]]] = []
        self._numbers = count()
        self._here = threading.local()
        self._idle = threading.Semaphore(0)

    def at(self, moment: float, call: Callable[[], None]) -> None:
        heapq.heappush(self._moments, (moment, next(self._numbers), call))

    def sleep(self, seconds: float) -> None:
        """By a submit: let the others go on meanwhile. Its moment of death may be one of these."""
        turn = threading.Semaphore(0)
        self.at(self.now + seconds, lambda: self._go_on(turn))
        self._idle.release()
        turn.acquire()
        if self.deadly and self._here.mortal and self.chance.random() < 0.02:
            raise Killed

    def time(self) -> float:
        return self.now

    monotonic = time

    def start(self, call: Callable[[], None], *, moment: float, mortal: bool = True) -> None:
        def whole() -> None:
            self._here.mortal = mortal
            turn.acquire()
            try:
                call()
            except Killed:
                pass
            finally:
                self._idle.release()

        turn = threading.Semaphore(0)
        threading.Thread(target=whole, daemon=True).start()
        self.at(self.now + moment, lambda: self._go_on(turn))

    def run(self) -> None:
        """Until nothing is to come."""
        while self._moments:
            moment, _, call = heapq.heappop(self._moments)
            self.now = max(self.now, moment)
            call()

    def _go_on(self, turn: threading.Semaphore) -> None:
        turn.release()
        self._idle.acquire()

    def delay(self, often: float) -> float:
        """Of one way of a request: mostly short, now and then long."""
        if self.stalls and self.chance.random() < often:
            return self.chance.uniform(0, 6 * ANSWER_S)
        return self.chance.uniform(0.01, 0.4)

    def ask(self, work: Callable[[], T], deadline: float, *, stalls: float = 0.08, arrives: bool = True) -> T:
        """A request: `work` is done when it arrives, though nobody waits for the answer any more."""
        there, back = self.delay(stalls), self.delay(stalls)
        answer: list[Any] = []

        def arrived() -> None:
            try:
                answer.append((work(), None))
            except HeadwayError as error:
                answer.append((None, error))

        if arrives:
            self.at(self.now + there, arrived)
        self.sleep(min(there + back, deadline))
        if there + back > deadline or not arrives:
            raise RemoteError("no answer")
        value, error = answer[0]
        if error:
            raise error
        return cast(T, value)


class Store(MemoryStore):
    def __init__(self, world: World) -> None:
        super().__init__()
        self._world = world
        self.marked: float | None = None
        """When the run was marked as cancelled."""

    def read(self, name: str) -> bytes:
        return self._world.ask(lambda: MemoryStore.read(self, name), ANSWER_S)

    def version(self, name: str) -> Version:
        def look() -> Version:
            MemoryStore.read(self, name)
            age_s = self._world.now - self.written[name].timestamp()
            return Version(self.generations[name], age_s, self.metadata[name])

        return self._world.ask(look, ANSWER_S)

    def write(self, name: str, data: bytes, **_how: Any) -> bool:
        return self._world.ask(lambda: self._put(name, data), ANSWER_S)

    def replace(self, name: str, data: bytes, *, generation: int, metadata: Mapping[str, str]) -> bool:
        """Google's client repeats it where no answer came: then its own first one may stand in the way."""

        def put() -> bool:
            there = self.generations[name] if name in self.objects else 0
            return there == generation and self._put(name, data, metadata)

        try:
            return self._world.ask(put, ANSWER_S)
        except RemoteError:
            return self._world.ask(put, ANSWER_S)

    def delete(self, name: str, *, generation: int | None = None) -> None:
        def drop() -> None:
            if name in self.objects and generation in (None, self.generations[name]):
                del self.objects[name]

        self._world.ask(drop, ANSWER_S)

    def _put(self, name: str, data: bytes, metadata: Mapping[str, str] | None = None) -> bool:
        self.objects[name], self.metadata[name] = data, metadata or {}
        if "headway-cancelled" in self.metadata[name] and self.marked is None:
            self.marked = self._world.now
        self.generations[name] = self.generations.get(name, 0) + 1
        self.written[name] = datetime.fromtimestamp(self._world.now, UTC)
        return True


class Jobs(MemoryJobs):
    """Creations are refused for quota now and then, or find no machines."""

    refused = 0.15
    out = 0.15

    def __init__(self, world: World) -> None:
        super().__init__()
        self._world = world
        self.sent: list[float] = []
        """When the creations left."""

    def create(self, body: dict[str, Any]) -> Job:
        self.sent.append(self._world.now)
        drawn = self._world.chance.random()

        def make() -> Job:
            if drawn < self.refused:
                raise Exhausted("429")
            job = MemoryJobs.create(self, body)
            stockout = drawn < self.refused + self.out
            if stockout:
                self.end(job.name, "failed", "no machines")
            return self._timed(job.name, stockout=stockout)

        # to connect, and to be answered
        arrives = self._world.chance.random() < 0.95
        return self._world.ask(make, 2 * ANSWER_S, stalls=0.4, arrives=arrives)

    def _timed(self, name: str, *, stockout: bool) -> Job:
        at = datetime.fromtimestamp(self._world.now, UTC)
        for number, job in enumerate(self.jobs):
            if job.name == name:
                changed = replace(job, created=at, started=None if stockout else at)
                self.jobs[number] = replace(changed, error_code=8) if stockout else changed
                return self.jobs[number]
        raise AssertionError(name)

    def get(self, name: str) -> Job:
        return self._world.ask(lambda: MemoryJobs.get(self, name), ANSWER_S)

    def labelled(self, label: str, value: str | None = None) -> Iterator[Job]:
        return iter(self._world.ask(lambda: list(MemoryJobs.labelled(self, label, value)), ANSWER_S))

    def cancel(self, name: str) -> None:
        def stop() -> None:
            if MemoryJobs.get(self, name).state == "running":
                self.end(name, "cancelled")

        self._world.ask(stop, ANSWER_S)


class Twin:
    place = PLACE

    def __init__(self, world: World) -> None:
        self.store = Store(world)
        self.vertex = Jobs(world)

    def jobs(self, region: str) -> Jobs:
        return self.vertex


@pytest.fixture(scope="module")
def plan() -> Plan:
    return planned("l4,t4,v100")


def planned(gpus: str) -> Plan:
    return make_plan(
        JobSpec.model_validate({"name": "x", "entrypoint": "t.py", "resources": {"gpu": gpus}}),
        PLACE,
        code=CodePin(digest="c" * 64, files=1, size=1),
        image=ImagePin(digest="e" * 64, base="python:3.11-slim", uri="image"),
        data=[],
    )


def submits(world: World, twin: Twin, plan: Plan, times: int) -> list[HeadwayError]:
    errors: list[HeadwayError] = []

    def submit() -> None:
        try:
            obtain(plan, cast(Services, twin), Silent(), take=True)
        except (RemoteError, DeadlinePassed) as error:
            errors.append(error)

    for _ in range(times):
        world.start(submit, moment=world.chance.choice([0.1, 1, 200]) * world.chance.random())
    world.run()
    return errors


def alive(twin: Twin) -> list[str]:
    return [job.name for job in twin.vertex.jobs if job.state == "running"]


@pytest.mark.parametrize("deadly", [False, True])
@pytest.mark.parametrize("chunk", range(4))
def test_whatever_happens_the_submit_after_it_finds_one_job_and_no_other_runs(
    plan: Plan, monkeypatch: pytest.MonkeyPatch, deadly: bool, chunk: int
) -> None:
    for seed in range(chunk * WORLDS, (chunk + 1) * WORLDS):
        world = World(seed, deadly=deadly)
        twin = Twin(world)
        monkeypatch.setattr("headway.jobs.attempts.time", world)
        monkeypatch.setattr("headway.jobs.cancelling.time", world)
        monkeypatch.setattr("headway.jobs.claim.time", world)
        errors = submits(world, twin, plan, 4)
        if not deadly and not errors:
            assert len(alive(twin)) <= 1, f"seed {seed}"
        last = one_more(world, twin, plan)
        assert alive(twin) == ([last.name] if last.state == "running" else []), f"seed {seed}"


@pytest.mark.parametrize("deadly", [False, True])
@pytest.mark.parametrize("chunk", range(4))
def test_of_a_run_that_was_cancelled_at_any_moment_nothing_runs_and_nothing_more_is_created(
    monkeypatch: pytest.MonkeyPatch, deadly: bool, chunk: int
) -> None:
    plan, marked = planned("l4,t4,v100,p4,p100,a100"), 0
    for seed in range(chunk * WORLDS, (chunk + 1) * WORLDS):
        world = World(seed, deadly=deadly)
        twin = Twin(world)
        monkeypatch.setattr("headway.jobs.attempts.time", world)
        monkeypatch.setattr("headway.jobs.cancelling.time", world)
        monkeypatch.setattr("headway.jobs.claim.time", world)
        twin.vertex.refused, twin.vertex.out = 0.3, 0.5  # so that the run is on its way for long
        cancelled = cancels(world, twin, plan)
        errors = submits(world, twin, plan, 4)
        if (mark := twin.store.marked) is None:
            continue  # nobody had claimed it yet, or no longer, or the cancel died before its mark
        marked += 1
        if not deadly and not errors and cancelled:
            assert alive(twin) == [], f"seed {seed}"
        # the creation of whoever had claimed it before may have been about to leave
        late = [moment - mark for moment in twin.vertex.sent if moment > mark]
        assert len(late) <= 1, f"seed {seed}"
        assert all(seconds <= ANSWER_S / 2 for seconds in late), f"seed {seed}"
        sent = len(twin.vertex.sent)
        last = one_more(world, twin, plan)
        assert alive(twin) == [], f"seed {seed}"
        assert last.state == "cancelled", f"seed {seed}"
        assert len(twin.vertex.sent) == sent, f"seed {seed}"
    assert marked > WORLDS / 3


def cancels(world: World, twin: Twin, plan: Plan) -> list[Plan]:
    """A cancel at some moment; in the list once it has ended well."""
    done: list[Plan] = []

    def cancel() -> None:
        with suppress(NotFound, RemoteError, DeadlinePassed):
            done.append(cancel_run(plan, cast(Services, twin), Silent()))

    world.start(cancel, moment=world.chance.choice([3, 30, 300]) * world.chance.random())
    return done


def one_more(world: World, twin: Twin, plan: Plan) -> Job:
    """A submit that lives, and is repeated until it has a job that stays."""
    found: list[Job] = []
    world.stalls = False

    def last() -> None:
        while not found or goes_on(found[-1], plan):
            try:
                found.append(obtain(plan, cast(Services, twin), Silent(), take=True)[1])
            except (RemoteError, DeadlinePassed):
                continue

    world.start(last, moment=3 * ANSWER_S, mortal=False)
    world.run()
    return found[-1]
