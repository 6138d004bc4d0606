"""The clock as a protocol, so that a later test can move time by hand."""

from __future__ import annotations

import time
from datetime import UTC, datetime
from typing import Protocol


class Clock(Protocol):
    """Wall time for what is written down, monotonic time for deadlines."""

    def now_ns(self) -> int: ...

    def monotonic(self) -> float: ...


class SystemClock:
    """The machine's own clock."""

    def now_ns(self) -> int:
        return time.time_ns()

    def monotonic(self) -> float:
        return time.monotonic()


def timestamp(nanoseconds: int) -> str:
    """RFC 3339 in UTC with microseconds, the form of Vertex AI's createTime."""
    return f"{nano_timestamp(nanoseconds)[:-4]}Z"


def nano_timestamp(nanoseconds: int) -> str:
    """RFC 3339 in UTC with nine digits, so that log entries sort as text."""
    seconds, rest = divmod(nanoseconds, 1_000_000_000)
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
    return int(moment.timestamp()) * 1_000_000_000
