"""When a schedule is due: five unix-cron fields on the wall clock of a zone, as Cloud Scheduler reads them.

Around a change of the clocks Google promises nothing. Here it is as Debian's cron and the emulator have it,
by the same library, cronsim: a fixed time in the skipped hour comes at the hour's end, a fixed time in the
repeated hour comes once, the first time; a `*` in minute or hour follows the elapsed time.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta, tzinfo
from functools import lru_cache
from zoneinfo import ZoneInfo, available_timezones

FIELDS = ("minute", "hour", "day of month", "month", "day of week")
_EXAMPLE = '"0 3 * * 1", which is Mondays at 3:00'
_LARGEST_STEP = (59, 23, 31, 12, 7)
_VALUE = r"(?:\d{1,2}|[A-Z]{3})"
_PART = re.compile(rf"(?:\*|{_VALUE}(?:-{_VALUE})?)(?:/(\d{{1,2}}))?")
"""No L, W, # or seconds: Cloud Scheduler has none."""


@dataclass(frozen=True)
class Cron:
    """A cron expression in a zone of the tz database, both of which `check` has found good."""

    expression: str
    zone: str = "UTC"

    def next(self, moment: datetime) -> datetime | None:
        """The first due time later than this one, in UTC; None where none comes in fifty years."""
        moment = moment.astimezone(UTC).replace(microsecond=0)
        minute, hour, *_ = self.expression.split()
        follows_elapsed_time = minute.startswith("*") or hour.startswith("*")
        return self._by_the_offset(moment) if follows_elapsed_time else self._by_the_wall(moment)

    def _by_the_wall(self, moment: datetime) -> datetime | None:
        from cronsim import CronSim

        for due in CronSim(self.expression.upper(), moment.astimezone(clock_of(self.zone))):
            # begun in the second pass of a repeated hour, cronsim first gives times of the first pass again
            if (found := due.astimezone(UTC)) > moment:
                return found
        return None

    def _by_the_offset(self, moment: datetime) -> datetime | None:
        """On a clock that keeps its offset from UTC until the zone's next change, and then has another."""
        from cronsim import CronSim

        zone, since, last = clock_of(self.zone), moment, moment + _FIFTY_YEARS
        while since <= last:  # a time that each change of the clocks skips comes in no year
            offset = _offset(since, zone)
            due = next(CronSim(self.expression.upper(), (moment + offset).replace(tzinfo=UTC)), None)
            if due is None:
                return None
            found = due - offset
            if (change := _change(zone, since, found)) is None:
                return found
            since, moment = change, change - timedelta(seconds=1)
        return None

    def between(self, start: datetime, end: datetime) -> Iterator[datetime]:
        """Every due time after `start`, up to and with `end`, in UTC."""
        due = self.next(start)
        while due is not None and due <= end:
            yield due
            due = self.next(due)


def check_expression(text: str) -> str:
    """The expression with single spaces. Raises ValueError that says which field is wrong."""
    from cronsim import CronSim, CronSimError

    fields = text.split()
    if len(fields) != len(FIELDS):
        raise ValueError(
            f"{text!r} is no cron expression: it has {len(fields)} fields, not five; "
            f"write {', '.join(FIELDS)}, such as {_EXAMPLE}"
        )
    for number, field in enumerate(fields):
        alone = ["*"] * number + [field.upper()] + ["*"] * (len(FIELDS) - 1 - number)
        parts = [_PART.fullmatch(part) for part in field.upper().split(",")]
        steps = [int(part[1]) for part in parts if part and part[1]]
        good = all(parts) and all(0 < step <= _LARGEST_STEP[number] for step in steps)
        if not good or not _reads(" ".join(alone)):
            raise ValueError(
                f"{text!r} is no cron expression: its {FIELDS[number]}, {field!r}, is none; "
                f"a field is *, 5, 1-5, 1,15 or */10, in the order {', '.join(FIELDS)}; such as {_EXAMPLE}"
            )
    expression = " ".join(fields)
    try:
        first = next(CronSim(expression.upper(), datetime(2000, 1, 1, tzinfo=UTC)), None)
    except CronSimError:  # such as February 30
        first = None
    if first is None:
        raise ValueError(f"{text!r} never comes: there is no such day; write for example {_EXAMPLE}")
    return expression


def check_zone(name: str) -> str:
    """The zone's name. Raises ValueError with the nearest names."""
    if name.upper() in _UTC or name in available_timezones():
        return name
    known = sorted(available_timezones())
    cities = {zone.rpartition("/")[2].lower(): zone for zone in known}
    wanted = name.rpartition("/")[2].lower().replace(" ", "_")
    near = [
        *(zone for zone in known if zone.lower() == name.lower()),
        *(cities[city] for city in difflib.get_close_matches(wanted, cities, n=2, cutoff=0.7)),
    ]
    hint = (
        f"did you mean {' or '.join(dict.fromkeys(near))}?"
        if near
        else "write for example Europe/Zurich or UTC"
    )
    raise ValueError(f"there is no time zone {name!r}; {hint}")


def clock_changes(zone: str, start: datetime, end: datetime) -> list[tuple[datetime, timedelta]]:
    """When the zone's clocks change between two times: the moment in UTC, and by how much they are put on."""
    where, moment = clock_of(zone), start.astimezone(UTC)
    found = []
    while (change := _change(where, moment, end)) is not None:
        found.append((change, _offset(change, where) - _offset(moment, where)))
        moment = change
    return found


def _change(zone: tzinfo, start: datetime, end: datetime) -> datetime | None:
    """The first second after `start`, until `end`, at which the zone's offset is another."""
    low = start
    while low < end:
        high = min(low + _WEEK, end)
        before = _offset(low, zone)
        if _offset(high, zone) != before:
            while (width := (high - low) // _SECOND) > 1:
                middle = low + (width // 2) * _SECOND
                low, high = (low, middle) if _offset(middle, zone) != before else (middle, high)
            return high
        low = high
    return None


_SECOND = timedelta(seconds=1)
_FIFTY_YEARS = timedelta(days=50 * 366)
"""As far as cronsim looks."""
_WEEK = timedelta(days=7)
"""No zone changes its offset twice within one."""
_UTC = ("", "UTC", "ETC/UTC", "GMT")


def _offset(moment: datetime, zone: tzinfo) -> timedelta:
    return moment.astimezone(zone).utcoffset() or timedelta()


@lru_cache(maxsize=64)
def clock_of(name: str) -> tzinfo:
    """The clock of a zone that `check_zone` has found good."""
    return UTC if name.upper() in _UTC else ZoneInfo(name)


def _reads(expression: str) -> bool:
    from cronsim import CronSim, CronSimError

    try:
        CronSim(expression, datetime(2000, 1, 1, tzinfo=UTC))
    except CronSimError:
        return False
    return True
