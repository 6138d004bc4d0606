"""A config's schedule, played ahead at its price, with what `launch schedule simulate` was given."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from headway.errors import InputError
from headway.jobs import schedules
from headway.jobs.simulation import MOST_DAYS, Assumed, Span, Timeline, simulate
from headway.spec.cron import clock_of
from headway.spec.place import UNSTARTED, Place
from headway.spec.plan import CodePin, ImagePin, make_plan
from headway.spec.schedule import Schedule
from headway.spec.section import parse_duration


def ahead(
    config: Path,
    *,
    overrides: Sequence[str] = (),
    flags: Mapping[str, object] | None = None,
    place: Place | None = None,
    now: datetime,
    takes: str = "1h",
    data_every: str | None = None,
    **given: Any,
) -> Timeline:
    """Play the schedule of a config, at the price of its first attempt; `given` as `assumed` has it.

    Asks nobody: without a place, the prices are those of us-central1. Raises ConfigError, InputError.
    """
    loaded = schedules.check(config, overrides, flags)
    assert loaded.spec.schedule is not None
    plan = make_plan(
        loaded.spec, place or UNSTARTED, code=_NO_CODE, image=_NO_IMAGE, data=(), facts=loaded.facts
    )
    world = assumed(
        loaded.spec.schedule,
        takes=_duration(takes, "--takes"),
        data_every=_duration(data_every, "--data-every") if data_every else None,
        usd_hour=plan.candidates[0].usd_hour,
        now=now,
        **given,
    )
    return replace(simulate(loaded.spec.schedule, world), price_date=plan.price_date)


_FIRST_YEAR, _LAST_YEAR = 1970, 9000
"""What is played ahead must come to its end before the calendar does."""
_NO_CODE = CodePin(digest="", files=0, size=0)
_NO_IMAGE = ImagePin(digest="", base="", uri="")


def _duration(text: str, flag: str) -> timedelta:
    try:
        return parse_duration(text)
    except ValueError as error:
        reason, _, hint = str(error).partition("; ")
        raise InputError(f"{flag}: {reason}", hint=hint or None) from error


def assumed(
    schedule: Schedule,
    *,
    days: int,
    start: str | None,
    takes: timedelta,
    usd_hour: float | None,
    data_every: timedelta | None = None,
    data_at: Sequence[str] = (),
    outages: Sequence[str] = (),
    now: datetime,
) -> Assumed:
    """Read what the command was given; times without an offset are on the schedule's own clock.

    Raises InputError that names the flag.
    """
    if not 1 <= days <= MOST_DAYS:
        raise InputError(f"--days {days} is not from 1 to {MOST_DAYS}")
    if takes <= timedelta():
        raise InputError("--takes must be longer than nothing", hint="write for example --takes 2h")
    begin = _time(schedule, start, "--from") if start else now.replace(microsecond=0)
    arrivals = [_time(schedule, text, "--data-at") for text in data_at]
    if early := next((text for text, at in zip(data_at, arrivals, strict=True) if at < begin), None):
        raise InputError(f"--data-at {early} is before the beginning", hint="--from says when that is")
    if data_every is not None:
        if data_every < timedelta(minutes=1):
            raise InputError(
                "--data-every must be a minute at least", hint="write for example --data-every 30d"
            )
        arrivals += [begin + n * data_every for n in range(1, int(timedelta(days=days) / data_every) + 1)]
    spans = _joined(sorted(_span(schedule, text) for text in outages))
    return Assumed(begin, days, takes, usd_hour, tuple(sorted(arrivals)), tuple(spans))


def _joined(spans: Sequence[Span]) -> list[Span]:
    """Those that overlap or meet as one: whoever is back at the end of one is not down by another."""
    joined: list[Span] = []
    for start, end in spans:
        if joined and start <= joined[-1][1]:
            joined[-1] = (joined[-1][0], max(end, joined[-1][1]))
        else:
            joined.append((start, end))
    return joined


def _span(schedule: Schedule, text: str) -> Span:
    first, dots, second = text.partition("..")
    if not dots:
        raise InputError(
            f"--outage {text!r} has no end", hint="write --outage 2026-12-07T00:00..2026-12-08T12:00"
        )
    start, end = (_time(schedule, part, "--outage") for part in (first, second))
    if end <= start:
        raise InputError(f"--outage {text!r} ends before it begins")
    return start, end


def _time(schedule: Schedule, text: str, flag: str) -> datetime:
    try:
        found = datetime.fromisoformat(text.strip())
    except ValueError as error:
        raise InputError(
            f"{flag}: {text!r} is no date", hint="write 2026-12-07 or 2026-12-07T03:00"
        ) from error
    if not _FIRST_YEAR <= found.year <= _LAST_YEAR:
        raise InputError(f"{flag}: {text!r} is not in the years {_FIRST_YEAR} to {_LAST_YEAR}")
    return (found if found.tzinfo else found.replace(tzinfo=clock_of(schedule.tz))).astimezone(UTC)
