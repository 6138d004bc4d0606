"""Time: the machine's own, or a virtual one that stands still until it is stepped.

Whatever waits in this emulator leaves its call with a clock, so that a week is a step.
"""

from __future__ import annotations

import heapq
import itertools
import sys
import threading
import time
import traceback
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


class SystemClock:
    """The machine's own clock, with one thread for all alarms."""

    def __init__(self) -> None:
        self._calls: list[_Call] = []
        self._order = itertools.count()
        self._changed = threading.Condition()
        self._closed = False
        self._thread = threading.Thread(target=self._run, name="clock", daemon=True)
        self._thread.start()

    def now_ns(self) -> int:
        return time.time_ns()

    def monotonic(self) -> float:
        return time.monotonic()

    def after(self, seconds: float, call: Callable[[], None]) -> Alarm:
        alarm = _Call(time.monotonic() + max(0.0, seconds), next(self._order), call)
        with self._changed:
            heapq.heappush(self._calls, alarm)
            self._changed.notify()
        return alarm

    def working(self) -> Hold:
        return Hold(lambda: None)

    def close(self) -> None:
        with self._changed:
            self._closed = True
            self._changed.notify()

    def _run(self) -> None:
        while (call := self._next()) is not None:
            call.make()

    def _next(self) -> _Call | None:
        with self._changed:
            while not self._closed:
                while self._calls and self._calls[0].call is None:
                    heapq.heappop(self._calls)
                if not self._calls:
                    self._changed.wait()
                elif (left := self._calls[0].due - time.monotonic()) > 0:
                    self._changed.wait(min(left, threading.TIMEOUT_MAX))
                else:
                    return heapq.heappop(self._calls)
        return None


class Unsettled(Exception):
    """Work that was begun did not end within the real time that a step of the virtual clock may take."""


class VirtualClock:
    """Stands still at `start_ns` until `advance` steps it; `moved` is told each new time, to be kept."""

    def __init__(self, start_ns: int, moved: Callable[[int], None] = lambda _: None) -> None:
        self._now = start_ns
        self._moved = moved
        self._calls: list[_Call] = []
        self._order = itertools.count()
        self._changed = threading.Condition()
        self._holds = 0
        self._stepping = threading.Lock()
        self._closed = False

    def now_ns(self) -> int:
        return self._now

    def monotonic(self) -> float:
        return self._now / SECOND

    def after(self, seconds: float, call: Callable[[], None]) -> Alarm:
        with self._changed:
            due = self._now + max(0, round(seconds * SECOND))
            alarm = _Call(due, next(self._order), call)
            heapq.heappush(self._calls, alarm)
        if seconds <= 0:
            self._make_due(self._now)
        return alarm

    def working(self) -> Hold:
        with self._changed:
            self._holds += 1
        return Hold(self._released)

    def close(self) -> None:
        with self._changed:
            self._closed = True
            self._calls.clear()
            self._changed.notify_all()

    def advance(self, seconds: float, patience: float = 30.0) -> int:
        """Step on, making each due call at its own time and letting its work end before the next.

        Returns the new time. Unsettled where work lasts longer than `patience` seconds of real time.
        """
        with self._stepping:
            target = self._now + round(seconds * SECOND)
            self._settle(patience)
            while (due := self._next_due(target)) is not None:
                self._set(due)
                self._make_due(due)
                self._settle(patience)
            self._set(target)
            return target

    def _set(self, now: int) -> None:
        if now > self._now:
            self._now = now
            self._moved(now)

    def _next_due(self, target: int) -> int | None:
        with self._changed:
            while self._calls and self._calls[0].call is None:
                heapq.heappop(self._calls)
            if self._closed or not self._calls or self._calls[0].due > target:
                return None
            return max(self._now, int(self._calls[0].due))

    def _make_due(self, now: int) -> None:
        while True:
            with self._changed:
                if self._closed or not self._calls or self._calls[0].due > now:
                    return
                call = heapq.heappop(self._calls)
            call.make()

    def _settle(self, patience: float) -> None:
        with self._changed:
            if not self._changed.wait_for(lambda: self._closed or self._holds == 0, patience):
                raise Unsettled(f"{self._holds} pieces of work have not ended within {patience:g} s")

    def _released(self) -> None:
        with self._changed:
            self._holds -= 1
            self._changed.notify_all()


def timestamp(nanoseconds: int) -> str:
    """RFC 3339 in UTC with microseconds, the form of Vertex AI's createTime."""
    return f"{nano_timestamp(nanoseconds)[:-4]}Z"


def nano_timestamp(nanoseconds: int) -> str:
    """RFC 3339 in UTC with nine digits, so that log entries sort as text."""
    seconds, rest = divmod(nanoseconds, SECOND)
    return f"{datetime.fromtimestamp(seconds, UTC):%Y-%m-%dT%H:%M:%S}.{rest:09d}Z"


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
