"""What a schedule would do in the days to come: its own rules, played on a clock that takes no time. Pure.

A run is taken to last as long as is said and to succeed; new data comes when it is said to. While Cloud
Scheduler is down nothing is called: what was due is called once when it is back, however often it was due.
"""

from __future__ import annotations

import heapq
from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from itertools import islice, zip_longest
from typing import Any, Literal

from headway.errors import InputError
from headway.spec.cron import Cron, clock_changes, clock_of
from headway.spec.decision import Active, Content, Past, decide
from headway.spec.retries import retries
from headway.spec.schedule import Schedule
from headway.spec.section import format_duration

What = Literal["run", "skip", "wait", "missed", "late", "data", "clock", "down"]
Span = tuple[datetime, datetime]
_WATCHED = timedelta(minutes=5)
MOST_DAYS = 3660
"""Ten years."""
MOST_TICKS = 20_000


@dataclass(frozen=True)
class Assumed:
    """What a simulation is told: a run's length and price (USD an hour), when data comes, what is down."""

    start: datetime
    days: int = 90
    takes: timedelta = timedelta(hours=1)
    usd_hour: float | None = None
    data: tuple[datetime, ...] = ()
    outages: tuple[Span, ...] = ()

    @property
    def end(self) -> datetime:
        return self.start + timedelta(days=self.days)


@dataclass(frozen=True)
class Row:
    """One line of the timeline; `run` counts the runs from 1, `usd` is what that run costs, an estimate."""

    time: datetime
    what: What
    detail: str
    run: int | None = None
    usd: float | None = None


@dataclass(frozen=True)
class Timeline:
    """What would happen, in the order of time."""

    schedule: Schedule
    assumed: Assumed
    rows: tuple[Row, ...]
    price_date: str | None = None

    @property
    def totals(self) -> dict[str, Any]:
        """How often each happened, and what all runs cost: an estimate, None where no price is known."""
        numbers = {
            what: sum(row.what == what for row in self.rows) for what in ("run", "skip", "wait", "missed")
        }
        spent = [row.usd for row in self.rows if row.what == "run"]
        known = [each for each in spent if each is not None]
        return {**numbers, "usd": round(sum(known), 2) if len(known) == len(spent) else None}

    def local(self, time: datetime) -> datetime:
        """On the schedule's own clock."""
        return time.astimezone(clock_of(self.schedule.tz))

    def document(self) -> dict[str, Any]:
        """The stable JSON document of `launch schedule simulate --json`."""
        return {
            "from": self.assumed.start.isoformat(),
            "to": self.assumed.end.isoformat(),
            "takes_s": int(self.assumed.takes.total_seconds()),
            "usd_hour": self.assumed.usd_hour,
            "price_date": self.price_date,
            "timeline": [
                {**vars(row), "time": row.time.isoformat(), "local": self.local(row.time).isoformat()}
                for row in self.rows
            ],
            "totals": self.totals,
        }


def simulate(schedule: Schedule, assumed: Assumed) -> Timeline:
    """Play the schedule from `assumed.start` for so many days."""
    rows = sorted(
        _Play(schedule, assumed).rows(), key=lambda row: row.time
    )  # as they came, where it is equal
    return Timeline(schedule, assumed, tuple(rows))


@dataclass
class _Run:
    number: int
    start: datetime
    end: datetime
    version: int
    reason: str
    cancelled: bool = False

    def active(self, at: datetime) -> bool:
        return self.start <= at < self.end


@dataclass(frozen=True)
class _Call:
    """Cloud Scheduler's call of a tick: of the clock (`cron`), or a look at data (`watch`) or `age`.

    A tick that waits was called `first` at that time, is retried for the `retry`th time, `until` the next.
    """

    at: datetime
    tick: datetime
    source: str
    forced: str | None = None
    why: str = ""
    first: datetime | None = None
    retry: int = 0
    until: datetime | None = None


class _Play:
    def __init__(self, schedule: Schedule, assumed: Assumed) -> None:
        self._schedule = schedule
        self._assumed = assumed
        self._runs: list[_Run] = []
        self._rows: list[Row | _Run] = []
        self._calls: list[tuple[datetime, int, _Call]] = []
        self._number = 0

    def rows(self) -> Iterator[Row]:
        self._note_the_world()
        self._due()
        while self._calls:
            _, _, call = heapq.heappop(self._calls)
            if call.at <= self._assumed.end:
                self._do(call)
        for row in self._rows:
            yield row if isinstance(row, Row) else self._priced(row)

    def _priced(self, run: _Run) -> Row:
        """With what it costs, which is known when it is over."""
        hour, hours = self._assumed.usd_hour, (run.end - run.start).total_seconds() / 3600
        usd = None if hour is None else round(hours * hour, 2)
        return Row(run.start, "run", run.reason, run.number, usd)

    def _note_the_world(self) -> None:
        assumed = self._assumed
        for moment, by in clock_changes(self._schedule.tz, assumed.start, assumed.end):
            hours, way = abs(by).total_seconds() / 3600, "forward" if by > timedelta() else "back"
            self._note(moment, "clock", f"the clocks of {self._schedule.tz} go {way} by {hours:g} h")
        for start, end in assumed.outages:
            self._note(start, "down", f"Cloud Scheduler is down for {format_duration(end - start)}")
        for number, moment in enumerate(self._arrivals(), 1):
            self._note(moment, "data", f"version {number} of the data is pushed")

    def _arrivals(self) -> list[datetime]:
        return [moment for moment in sorted(self._assumed.data) if moment <= self._assumed.end]

    def _due(self) -> None:
        """Every call of the clock, and the looks that find new data."""
        assumed, section = self._assumed, self._schedule
        made_up: set[datetime] = set()
        times = _ticks(section, assumed)
        for time, after in zip_longest(times, times[1:]):
            back = self._back_at(time)
            if back == time:
                self._call(_Call(time, time, "cron", until=after))
            elif back in made_up:
                self._note(
                    time, "missed", "Cloud Scheduler is down; the tick before is made up for, this one not"
                )
            else:
                made_up.add(back)
                self._note(
                    time, "late", f"Cloud Scheduler is down; called when it is back, at {self._told(back)}"
                )
                self._call(
                    _Call(back, time, "cron", until=next((each for each in times if each > back), None))
                )
        trigger = section.triggers.data
        if trigger is not None:
            for moment in self._arrivals():
                forced = f"new objects below {trigger.prefix}" if trigger.prefix else None
                self._look(moment + trigger.debounce, moment, why="new data was pushed", forced=forced)

    def _back_at(self, time: datetime) -> datetime:
        return next((end for start, end in self._assumed.outages if start <= time < end), time)

    def _look(
        self, at: datetime, tick: datetime, *, why: str = "", forced: str | None = None, source: str = "watch"
    ) -> None:
        """At the first look from then on."""
        whole = datetime(1970, 1, 1, tzinfo=UTC)
        looks = -((whole - at) // _WATCHED)
        self._call(_Call(self._back_at(whole + looks * _WATCHED), tick, source, forced=forced, why=why))

    def _call(self, call: _Call) -> None:
        self._number += 1
        heapq.heappush(self._calls, (call.at, self._number, call))

    def _do(self, call: _Call) -> None:
        now = call.at
        active = [run for run in self._runs if run.active(now)]
        last = max(
            (run for run in self._runs if run.end <= now and not run.cancelled),
            key=lambda run: run.end,
            default=None,
        )
        if call.source == "watch" and any(call.tick < moment <= now for moment in self._assumed.data):
            return  # of several versions the last one is seen, which has a look of its own
        if call.source == "age" and (active or last is None or last.end != call.tick):
            return  # there was another run since
        decision = decide(
            self._schedule,
            _content(self._version(now)),
            now=now if call.source != "cron" else call.tick,
            last=Past(_name(last), _claim(last.version), last.end, _content(last.version)) if last else None,
            active=[Active(_name(run), _claim(run.version), True) for run in active],
            forced=call.forced,
            overlap="queue" if call.source != "cron" and self._schedule.overlap == "skip" else None,
        )
        reason = f"{call.why}; {decision.reason}" if call.why and not call.forced else decision.reason
        if decision.action == "wait":
            self._wait(call, active[0], reason)
        elif decision.action == "skip":
            self._note(now, "skip", reason)
        else:
            for run in active:
                run.end, run.cancelled = now, True
            self._begin(now, reason)

    def _begin(self, now: datetime, reason: str) -> None:
        run = _Run(len(self._runs) + 1, now, now + self._assumed.takes, self._version(now), reason)
        self._runs.append(run)
        self._rows.append(run)
        if self._schedule.max_age is not None:
            self._look(
                run.end + self._schedule.max_age, run.end, forced=f"{_name(run)} is too old", source="age"
            )

    def _wait(self, call: _Call, before: _Run, reason: str) -> None:
        """Called again by Cloud Scheduler's retries, until the next tick; a look comes again by itself."""
        if call.retry == 0:
            self._note(call.at, "wait", reason)
        if call.source != "cron":
            self._look(before.end, call.tick, why=call.why, forced=call.forced, source=call.source)
            return
        first = call.first or call.at
        tries = enumerate(retries(self._schedule.overlap).waits(), 1)
        times = ((n, first + wait) for n, wait in tries)
        later = next(((n, at) for n, at in times if at >= before.end and self._back_at(at) == at), None)
        if later is None or (call.until is not None and later[1] >= call.until):
            gone = f"the tick of {self._told(call.tick)} waited for {_name(before)} in vain"
            self._note(call.until or before.end, "missed", gone)
        else:
            self._call(replace(call, at=later[1], first=first, retry=later[0]))

    def _version(self, at: datetime) -> int:
        if self._schedule.data == "pinned":
            return 0
        return sum(moment <= at for moment in self._assumed.data)

    def _note(self, time: datetime, what: What, detail: str) -> None:
        self._rows.append(Row(time, what, detail))

    def _told(self, time: datetime) -> str:
        return f"{time.astimezone(clock_of(self._schedule.tz)):%Y-%m-%d %H:%M}"


def _ticks(section: Schedule, assumed: Assumed) -> list[datetime]:
    """Raises InputError where there are more than can be looked at."""
    if section.cron is None:
        return []
    found = list(islice(Cron(section.cron, section.tz).between(assumed.start, assumed.end), MOST_TICKS + 1))
    if len(found) > MOST_TICKS:
        raise InputError(
            f"{section.cron!r} comes more than {MOST_TICKS:,} times in {assumed.days} days",
            hint="simulate fewer --days",
        )
    return found


def _content(version: int) -> Content:
    parts = {"code": "", "environment": "", "data": str(version), "config": ""}
    return Content(_claim(version), parts, {"data": f"v{version}"})


def _claim(version: int) -> str:
    return f"version-{version}"


def _name(run: _Run) -> str:
    return f"run {run.number}"
