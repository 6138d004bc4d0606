"""When a Cloud Scheduler job is due: unix-cron in a time zone, or one of the simplest English-like schedules.

Format: https://cloud.google.com/scheduler/docs/configuring/cron-job-schedules. Cron is evaluated by cronsim.
Around a change of the clocks it does what Debian's cron does, since Google promises nothing there ("execution
anomalies"): a fixed time in the skipped hour runs at the hour's end, a fixed time in the repeated hour runs
once, the first time; schedules with * in minute or hour follow the elapsed time.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, tzinfo
from functools import lru_cache
from typing import Protocol
from zoneinfo import ZoneInfo

from cronsim import CronSim, CronSimError

from headway_emulator.engine.clock import SECOND
from headway_emulator.errors import ApiError, invalid

INVALID = "Schedule or time zone is invalid."
"""Google's words, as in googleapis/google-cloud-go#1352."""
VALUE = r"(?:\d{1,2}|[A-Z]{3})"
FIELD = re.compile(rf"(?:\*|{VALUE}(?:-{VALUE})?)(?:/\d{{1,2}})?")
LARGEST_STEP = (59, 23, 31, 12, 7)
"""No L, W, # or seconds, and no step above the field's largest value: "Skipping values in a range"."""
INTERVAL = re.compile(r"every (?:(\d{1,4}) )?(minute|min|hour)s?")
WEEKLY = re.compile(r"every ([a-z]+(?:,[a-z]+)*) (\d{1,2}):(\d{2})")
ENGLISH = re.compile(r"every .*|.* of .*")
WEEK = 7 * 86400
"""Seconds; no zone changes its offset twice within one."""
FIFTY_YEARS = 50 * 366 * 86400
"""As far as cronsim looks."""
DAYS = ("sun", "mon", "tue", "wed", "thu", "fri", "sat")
UNIT: Mapping[str, int] = {"minute": 60, "min": 60, "hour": 3600}


class Schedule(Protocol):
    """Gives times, in nanoseconds since the epoch."""

    def after(self, moment: int) -> int | None:
        """The first due time later than this one; None where none comes in fifty years."""


@dataclass(frozen=True)
class Cron:
    """Five unix-cron fields, evaluated on the wall clock of a zone."""

    expression: str
    zone: tzinfo

    def after(self, moment: int) -> int | None:
        found = (
            self._elapsed(moment // SECOND) if self._follows_elapsed_time() else self._fixed(moment // SECOND)
        )
        return None if found is None else found * SECOND

    def _follows_elapsed_time(self) -> bool:
        minute, hour, *_ = self.expression.split()
        return minute.startswith("*") or hour.startswith("*")

    def _fixed(self, start: int) -> int | None:
        for due in CronSim(self.expression, datetime.fromtimestamp(start, self.zone)):
            # begun in the second pass of a repeated hour, cronsim first gives times of the first pass again
            if (found := round(due.timestamp())) > start:
                return found
        return None

    def _elapsed(self, start: int) -> int | None:
        """On the wall clock as it goes from one change of its offset to the next.

        Not by cronsim's own arithmetic with zones: that gives a time in a skipped hour after midnight, and
        misses some where clocks change by half an hour.
        """
        since, last = start, start + FIFTY_YEARS
        while since <= last:  # a time that each change of the clocks skips comes in no year
            offset = self._offset(since)
            due = next(CronSim(self.expression, datetime.fromtimestamp(start + offset, UTC)), None)
            if due is None:
                return None
            found = round(due.timestamp()) - offset
            if (change := self._change(since, found)) is None:
                return found
            since, start = change, change - 1
        return None

    def _change(self, start: int, end: int) -> int | None:
        """The first second after `start`, until `end`, at which the zone's offset is another."""
        for low in range(start, end, WEEK):
            high = min(low + WEEK, end)
            if self._offset(high) != (before := self._offset(low)):
                while high - low > 1:
                    middle = (low + high) // 2
                    low, high = (low, middle) if self._offset(middle) != before else (middle, high)
                return high
        return None

    def _offset(self, moment: int) -> int:
        offset = datetime.fromtimestamp(moment, self.zone).utcoffset()
        return 0 if offset is None else round(offset.total_seconds())


@dataclass(frozen=True)
class Interval:
    """Such as "every 5 minutes": counted from the start of the execution before."""

    seconds: int

    def after(self, moment: int) -> int | None:
        return moment + self.seconds * SECOND


@lru_cache(maxsize=1024)
def parse(text: str, zone_name: str) -> Schedule:
    """ApiError INVALID_ARGUMENT in Google's words, or UNIMPLEMENTED for other English-like schedules."""
    zone = _zone(zone_name)
    plain = " ".join(text.split())
    if ENGLISH.fullmatch(plain.lower()):
        return _english(plain.lower(), zone)
    fields = plain.upper().split(" ")
    if len(fields) != len(LARGEST_STEP) or not all(map(_is_field, fields, LARGEST_STEP)):
        raise invalid(INVALID)
    try:
        CronSim(plain, datetime(2000, 1, 1, tzinfo=UTC))
    except CronSimError as error:
        raise invalid(INVALID) from error
    return Cron(plain, zone)


def _is_field(field: str, largest_step: int) -> bool:
    parts: Sequence[str] = field.split(",")
    steps = [int(part.split("/")[1]) for part in parts if FIELD.fullmatch(part) and "/" in part]
    return all(map(FIELD.fullmatch, parts)) and all(0 < step <= largest_step for step in steps)


def _english(text: str, zone: tzinfo) -> Schedule:
    if found := INTERVAL.fullmatch(text):
        count = int(found[1] or 1)
        if count == 0:
            raise invalid(INVALID)
        return Interval(count * UNIT[found[2]])
    if found := WEEKLY.fullmatch(text):
        days = [name[:3] for name in found[1].split(",")]
        hour, minute = int(found[2]), int(found[3])
        if not (days == ["day"] or set(days) <= set(DAYS)) or hour > 23 or minute > 59:
            raise invalid(INVALID)
        return Cron(f"{minute} {hour} * * {'*' if days == ['day'] else ','.join(days)}", zone)
    raise ApiError(
        "UNIMPLEMENTED", f'The emulator does not implement the English-like schedule "{text}": use unix-cron.'
    )


def _zone(name: str) -> tzinfo:
    if name.upper() in ("", "UTC", "ETC/UTC", "GMT"):
        return UTC
    try:
        return ZoneInfo(name)
    except (KeyError, ValueError, OSError) as error:
        raise invalid(INVALID) from error
