"""Time: the machine's own, or a virtual one that stands still until it is stepped.

Whatever waits in this emulator leaves its call with a clock, so that a week is a step.
"""

from __future__ import annotations

import heapq
import itertools
import math
import sys
import threading
import time
import traceback
from abc import ABC, abstractmethod
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Protocol

SECOND = 1_000_000_000
"""Nanoseconds."""


class Alarm(Protocol):
    """A call that is waiting for its time."""

    def cancel(self) -> None:
        """Nothing where it was made already."""


class Clock(Protocol):
    """Wall time for what is written down, monotonic time for deadlines, alarms for what waits."""

    def now_ns(self) -> int: ...

    def monotonic(self) -> float: ...

    def after(self, seconds: float, call: Callable[[], None]) -> Alarm:
        """Make the call once in that many seconds, from the clock's thread: it only hands work on."""

    def at(self, moment_ns: int, call: Callable[[], None]) -> Alarm:
        """The same at a moment of `now_ns`, to the nanosecond however far away: seconds are too coarse."""

    def working(self) -> Hold:
        """Time does not step on until the hold is released: for work that was begun and ends by itself."""

    def close(self) -> None:
        """No alarm is made after this."""


class Hold:
    """Work in flight; as a context, or released by hand from any thread."""

    def __init__(self, released: Callable[[], None]) -> None:
        self._released: Callable[[], None] | None = released

    def release(self) -> None:
        if (released := self._released) is not None:
            self._released = None
            released()

    def __enter__(self) -> Hold:
        return self

    def __exit__(self, *_: object) -> None:
        self.release()


class _Call:
    """One alarm in a heap of them."""

    def __init__(self, due: float, order: int, call: Callable[[], None]) -> None:
        self.due = due
        self.order = order
        self.call: Callable[[], None] | None = call

    def cancel(self) -> None:
        self.call = None

    def make(self) -> None:
        if (call := self.call) is None:
            return
        self.call = None
        try:
            call()
        except Exception:  # noqa: BLE001 - one wrong call must not stop time for all the others; it is printed
            traceback.print_exc(file=sys.stderr)

    def __lt__(self, other: _Call) -> bool:
        return (self.due, self.order) < (other.due, other.order)


class _Alarms(ABC):
    """Calls in the order they are due, made one after another by a thread that holds no lock meanwhile."""

    def __init__(self) -> None:
        self._calls: list[_Call] = []
        self._order = itertools.count()
        self._lock = threading.Lock()
        self._sooner = threading.Condition(self._lock)
        """A call is due earlier than the thread knows."""
        self._calmer = threading.Condition(self._lock)
        """Less is under way than before."""
        self._making = False
        self._closed = False
        threading.Thread(target=self._run, name="clock", daemon=True).start()

    def close(self) -> None:
        with self._lock:
            self._closed = True
            self._calls.clear()
            self._sooner.notify_all()
            self._calmer.notify_all()

    @abstractmethod
    def _left(self, due: float) -> float:
        """Seconds of the machine until then; infinite where they do not bring it nearer."""

    def _add(self, due: float, call: Callable[[], None]) -> Alarm:
        alarm = _Call(due, next(self._order), call)
        heapq.heappush(self._calls, alarm)
        if self._calls[0] is alarm:
            self._sooner.notify()
        return alarm

    def _first(self) -> _Call | None:
        while self._calls and self._calls[0].call is None:
            heapq.heappop(self._calls)
        return self._calls[0] if self._calls else None

    def _run(self) -> None:
        while (call := self._next()) is not None:
            call.make()

    def _next(self) -> _Call | None:
        with self._lock:
            self._making = False
            self._calmer.notify_all()
            while not self._closed:
                first = self._first()
                left = math.inf if first is None else self._left(first.due)
                if left <= 0:
                    self._making = True
                    return heapq.heappop(self._calls)
                self._sooner.wait(min(left, threading.TIMEOUT_MAX))
        return None


class SystemClock(_Alarms):
    """The machine's own clock."""

    def now_ns(self) -> int:
        return time.time_ns()

    def monotonic(self) -> float:
        return time.monotonic()

    def after(self, seconds: float, call: Callable[[], None]) -> Alarm:
        with self._lock:
            return self._add(time.monotonic() + seconds, call)

    def at(self, moment_ns: int, call: Callable[[], None]) -> Alarm:
        return self.after((moment_ns - time.time_ns()) / SECOND, call)

    def working(self) -> Hold:
        return Hold(lambda: None)

    def _left(self, due: float) -> float:
        return due - time.monotonic()


class Unsettled(Exception):
    """Work that was begun did not end within the real time that a step of the virtual clock may take."""


class VirtualClock(_Alarms):
    """Stands still at `start_ns` until `advance` steps it; `moved` is told each new time, to be kept."""

    def __init__(self, start_ns: int, moved: Callable[[int], None] = lambda _: None) -> None:
        self._now = start_ns
        self._moved = moved
        self._holds = 0
        self._stepping = threading.Lock()
        super().__init__()

    def now_ns(self) -> int:
        return self._now

    def monotonic(self) -> float:
        return self._now / SECOND

    def after(self, seconds: float, call: Callable[[], None]) -> Alarm:
        with self._lock:
            return self._add(self._now + round(seconds * SECOND), call)

    def at(self, moment_ns: int, call: Callable[[], None]) -> Alarm:
        with self._lock:
            return self._add(moment_ns, call)

    def working(self) -> Hold:
        with self._lock:
            self._holds += 1
        return Hold(self._released)

    def advance(self, seconds: float, patience: float = 30.0) -> int:
        """Step on, making each due call at its own time and letting its work end before the next.

        Returns the new time. Unsettled where work lasts longer than `patience` seconds of real time.
        """
        with self._stepping:
            return self._step_to(self._now + round(seconds * SECOND), patience)

    def advance_to(self, moment_ns: int, patience: float = 30.0) -> int:
        """The same to a moment, to the nanosecond; where it has passed, only what is due is waited for."""
        with self._stepping:
            return self._step_to(max(moment_ns, self._now), patience)

    def _step_to(self, target: int, patience: float) -> int:
        while (due := self._next_step(target, patience)) is not None:
            self._set(due)
        self._set(target)
        return target

    def _next_step(self, target: int, patience: float) -> int | None:
        """When the next call is due, once all that was begun has ended; None where that is after `target`."""
        with self._lock:
            if not self._calmer.wait_for(self._is_calm, patience):
                raise Unsettled(f"{self._holds} pieces of work have not ended within {patience:g} s")
            first = self._first()
            return None if first is None or first.due > target else int(first.due)

    def _is_calm(self) -> bool:
        if self._closed:
            return True
        first = self._first()
        return self._holds == 0 and not self._making and (first is None or first.due > self._now)

    def _set(self, now: int) -> None:
        if now > self._now:
            self._moved(now)
            with self._lock:
                self._now = now
                self._sooner.notify()

    def _left(self, due: float) -> float:
        return 0.0 if due <= self._now else math.inf

    def _released(self) -> None:
        with self._lock:
            self._holds -= 1
            if self._holds == 0:
                self._calmer.notify_all()


def timestamp(nanoseconds: int) -> str:
    """RFC 3339 in UTC with microseconds, the form of Vertex AI's createTime."""
    return f"{nano_timestamp(nanoseconds)[:-4]}Z"


def nano_timestamp(nanoseconds: int) -> str:
    """RFC 3339 in UTC with nine digits, so that log entries sort as text."""
    seconds, rest = divmod(nanoseconds, SECOND)
    return f"{datetime.fromtimestamp(seconds, UTC).isoformat()[:19]}.{rest:09d}Z"


def parse_timestamp(text: str) -> int:
    """Nanoseconds since the epoch of an RFC 3339 time; ValueError where it is none."""
    head, dot, tail = text.partition(".")
    if not dot:
        moment = datetime.fromisoformat(text)
        return _whole_seconds(moment)
    digits = tail[: next((i for i, c in enumerate(tail) if not c.isdigit()), len(tail))]
    zone = tail[len(digits) :] or "Z"
    return _whole_seconds(datetime.fromisoformat(head + zone)) + int(digits[:9].ljust(9, "0"))


def _whole_seconds(moment: datetime) -> int:
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=UTC)
    return int(moment.timestamp()) * SECOND
