"""Cloud Scheduler's jobs: due at their ticks, retried with backoff, never two scheduled executions at once.

A tick that passes while the execution before still runs, or while the emulator is down, is executed as soon
as that is over: once, however many passed; the log names those that are passed over. An attempt is written
down before its request goes out. One that the end of the emulator cut off counts as failed: it is retried by
the job's retry settings, and never silently sent a second time. So each due tick is in the log, executed or
passed over, and only of the one under way when the emulator was killed is it unknown whether it came.
"""

from __future__ import annotations

import asyncio
import secrets
import sqlite3
import sys
import threading
import traceback
from collections.abc import Callable, Coroutine
from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING, Any, TypeVar

from headway_emulator.engine.clock import SECOND, Alarm, Clock, Hold, timestamp
from headway_emulator.engine.scheduling import calls as schedule_calls
from headway_emulator.engine.scheduling import schedule
from headway_emulator.engine.scheduling.calls import BROKEN, CUT_OFF, LATE, Outcome
from headway_emulator.engine.scheduling.log import ScheduleLog
from headway_emulator.engine.scheduling.retry import next_try
from headway_emulator.engine.store import Document, Store
from headway_emulator.settings import Settings

if TYPE_CHECKING:
    import httpx

T = TypeVar("T")
KIND = "schedulerJob"
PLAN = "schedulerPlan"
RUN = "schedulerRun"
"""Attempts by hand that have not ended, by a number: their job's name, and whether they were begun."""
MOST_PASSED = 1000
"""Ticks that are counted as passed over at once."""
HOLD_SECONDS = 5.0
"""Real time after which a virtual clock may step on although an attempt has no answer: to its deadline."""
CLOSE_SECONDS = 3.0


@dataclass(frozen=True)
class Plan:
    """What comes next for a job: times in nanoseconds, `tries` made of the execution whose tick is `tick`."""

    tick: int
    due: int
    tries: int = 0
    first: int = 0
    sending: bool = False


class Scheduler:
    """Every scheduler job of the project; attempts are made by one thread of their own."""

    def __init__(self, settings: Settings, store: Store, clock: Clock) -> None:
        self._settings = settings
        self._store = store
        self._clock = clock
        self._log = ScheduleLog(store, clock)
        self._lock = threading.RLock()
        """Of the thread; the state is guarded by the store's transactions."""
        self._alarms: dict[str, Alarm] = {}
        self._loop: asyncio.AbstractEventLoop | None = None
        self._thread: threading.Thread | None = None
        self._client: httpx.AsyncClient | None = None
        self._closed = False

    def put(self, job: Document) -> Document:
        """Keep a job that is new or was changed, and plan its next execution where it is enabled."""
        with self._store.transaction():
            name = job["name"]
            self._cancel(name)
            job.pop("scheduleTime", None)
            self._store.put(KIND, name, job)
            if job["state"] == "ENABLED":
                job = self._plan_tick(job, after=self._clock.now_ns())
            else:
                self._store.delete(PLAN, name)
        return job

    def delete(self, name: str) -> None:
        with self._store.transaction():
            self._cancel(name)
            self._store.delete(PLAN, name)
            self._store.delete(KIND, name)

    def run(self, name: str) -> None:
        """One attempt now, beside whatever else the job does; its schedule and retries are untouched."""
        identity = secrets.token_hex(8)
        self._store.put(RUN, identity, {"id": identity, "job": name, "sending": False})
        self._submit(self._forced(identity, name, self._clock.working()))

    def recover(self) -> None:
        """Plan again what the emulator before this one had planned; make the runs by hand that it had not."""
        for run in reversed(self._store.list(RUN)):
            if run["sending"]:
                self._end_run(run["id"], run["job"], CUT_OFF)
            else:
                self._submit(self._forced(run["id"], run["job"], self._clock.working()))
        for job in self._store.list(KIND):
            plan = self._plan(job["name"])
            if plan is not None and plan.sending:
                self._finish(job["name"], plan, CUT_OFF)
            elif plan is not None:
                self._set_alarm(job["name"], plan)

    def close(self) -> None:
        """Attempts under way are given up; the next emulator counts them as failed."""
        with self._lock:
            self._closed = True
            for name in list(self._alarms):
                self._cancel(name)
            loop, thread = self._loop, self._thread
        if loop is not None and thread is not None:
            loop.call_soon_threadsafe(loop.stop)
            thread.join(CLOSE_SECONDS)

    def _plan_tick(self, job: Document, after: int) -> Document:
        tick = schedule.parse(job["schedule"], job["timeZone"]).after(after)
        if tick is None:
            self._store.delete(PLAN, job["name"])
            return job
        return self._plan_next(job, Plan(tick, tick))

    def _plan_next(self, job: Document, plan: Plan) -> Document:
        job["scheduleTime"] = timestamp(plan.due)
        with self._store.transaction():
            self._store.put(KIND, job["name"], job)
            self._store.put(PLAN, job["name"], asdict(plan))
        self._set_alarm(job["name"], plan)
        return job

    def _plan(self, name: str) -> Plan | None:
        kept = self._store.get(PLAN, name)
        return None if kept is None else Plan(**kept)

    def _set_alarm(self, name: str, plan: Plan) -> None:
        if not self._closed:
            self._alarms[name] = self._clock.at(plan.due, lambda: self._ring(name, plan))

    def _cancel(self, name: str) -> None:
        if (alarm := self._alarms.pop(name, None)) is not None:
            alarm.cancel()

    def _ring(self, name: str, plan: Plan) -> None:
        """In the clock's thread: time stands until the attempt is answered, planned on, or takes too long."""
        self._submit(self._scheduled(name, plan, self._clock.working()))

    async def _scheduled(self, name: str, plan: Plan, hold: Hold) -> None:
        with hold:
            begun = await _insist(lambda: self._take_up(name, plan))
            if begun is not None:
                job, sending = begun
                outcome = await self._attempt(job, plan.tick, hold)
                await _insist(lambda: self._finish(name, sending, outcome))

    def _take_up(self, name: str, plan: Plan) -> tuple[Document, Plan] | None:
        """None where the job was changed, paused or deleted in between."""
        with self._store.transaction():
            job = self._store.get(KIND, name)
            if job is None or self._plan(name) != plan:
                return None
            first = plan.first or self._clock.now_ns()
            plan = replace(plan, first=first, tries=plan.tries + 1, sending=True)
            self._store.put(PLAN, name, asdict(plan))
            self._begin(job, plan.tick)
        return job, plan

    async def _forced(self, identity: str, name: str, hold: Hold) -> None:
        with hold:
            now = self._clock.now_ns()
            job = await _insist(lambda: self._begin_run(identity, name, now))
            if job is not None:
                outcome = await self._attempt(job, now, hold)
                await _insist(lambda: self._end_run(identity, name, outcome))

    def _begin_run(self, identity: str, name: str, now: int) -> Document | None:
        with self._store.transaction():
            job = self._store.get(KIND, name)
            if job is None:
                self._store.delete(RUN, identity)
                return None
            self._store.put(RUN, identity, {"id": identity, "job": name, "sending": True})
            self._begin(job, now)
            return job

    def _end_run(self, identity: str, name: str, outcome: Outcome) -> None:
        with self._store.transaction():
            self._store.delete(RUN, identity)
            self._note(name, outcome)

    def _begin(self, job: Document, tick: int) -> None:
        job["lastAttemptTime"] = timestamp(self._clock.now_ns())
        self._store.put(KIND, job["name"], job)
        self._log.started(job, tick)

    async def _attempt(self, job: Document, tick: int, hold: Hold) -> Outcome:
        """The answer, or LATE when the deadline has passed, by the emulator's clock or by the machine's."""
        loop = asyncio.get_running_loop()
        if self._client is None:
            self._client = schedule_calls.client()
        now = self._clock.now_ns()
        deadline = float(job["attemptDeadline"].removesuffix("s"))
        task = loop.create_task(schedule_calls.call(self._client, self._settings, job, tick, now))
        alarm = self._clock.after(deadline, lambda: _thread_safe(loop, task))
        letting = loop.call_later(HOLD_SECONDS, hold.release)
        done, _ = await asyncio.wait({task}, timeout=deadline)
        letting.cancel()
        alarm.cancel()
        if task in done and not task.cancelled():
            if (bug := task.exception()) is not None:  # printed, and the schedule goes on
                traceback.print_exception(bug, file=sys.stderr)
                return BROKEN
            return task.result()
        task.cancel()
        return LATE

    def _finish(self, name: str, plan: Plan, outcome: Outcome) -> None:
        """Note the outcome, and plan the retry or the next tick unless the plan was changed meanwhile."""
        with self._store.transaction():
            job = self._note(name, outcome)
            if job is None or self._plan(name) != plan:
                return
            now = self._clock.now_ns()
            wait = next_try(job.get("retryConfig", {}), plan.tries, (now - plan.first) / SECOND)
            if outcome.code == 0 or wait is None:
                self._tell_passed(job, plan)
                self._plan_tick(job, after=max(plan.tick, plan.first))
            else:
                self._plan_next(job, replace(plan, due=now + round(wait * SECOND), sending=False))

    def _tell_passed(self, job: Document, plan: Plan) -> None:
        """The ticks between this one and the beginning of its execution, which have none of their own."""
        due = schedule.parse(job["schedule"], job["timeZone"])
        if isinstance(due, schedule.Interval):
            return  # counted from the beginning of the execution before: none is passed over
        passed: list[int] = []
        tick = due.after(plan.tick)
        while tick is not None and tick <= plan.first and len(passed) < MOST_PASSED:
            passed.append(tick)
            tick = due.after(tick)
        if passed:
            self._log.passed(job, passed, more=tick is not None and tick <= plan.first)

    def _note(self, name: str, outcome: Outcome) -> Document | None:
        job = self._store.get(KIND, name)
        if job is not None:
            job["status"] = outcome.status
            self._store.put(KIND, name, job)
            self._log.finished(job, outcome)
        return job

    def _submit(self, work: Coroutine[Any, Any, None]) -> None:
        with self._lock:
            if self._closed:
                work.close()
                return
            if self._loop is None:
                self._loop = asyncio.new_event_loop()
                self._thread = threading.Thread(target=self._live, args=(self._loop,), name="scheduler")
                self._thread.daemon = True
                self._thread.start()
            asyncio.run_coroutine_threadsafe(work, self._loop)

    def _live(self, loop: asyncio.AbstractEventLoop) -> None:
        """Until `close` stops the loop; what is still under way then is dropped with its connections."""
        asyncio.set_event_loop(loop)
        loop.run_forever()
        loop.run_until_complete(self._leave(asyncio.all_tasks(loop)))
        loop.close()

    async def _leave(self, tasks: set[asyncio.Task[Any]]) -> None:
        for task in tasks:
            task.cancel()
        if tasks:
            await asyncio.wait(tasks, timeout=CLOSE_SECONDS)
        if self._client is not None:
            await self._client.aclose()


async def _insist(write: Callable[[], T]) -> T:
    """Again and again while the state takes no more, until the scheduler is closed: no plan is lost."""
    while True:
        try:
            return write()
        except sqlite3.OperationalError as error:
            sys.stderr.write(f"headway-emulator: schedules wait, for the state cannot be written: {error}\n")
            await asyncio.sleep(1.0)


def _thread_safe(loop: asyncio.AbstractEventLoop, task: asyncio.Task[Outcome]) -> None:
    """Cancel from another thread; nothing where the loop is gone already."""
    if not loop.is_closed():
        loop.call_soon_threadsafe(task.cancel)
