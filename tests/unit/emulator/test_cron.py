"""The emulator's cron against croniter: random schedules, moments and zones, both changes of the clocks too.

croniter gives the times on a wall clock without a zone; the rule of `schedule`'s docstring, written here a
second time and in another way, says which moments they are. Where croniter is asked for moments itself, it
differs around a change by intent: each difference must be one of those named below.
"""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from itertools import islice
from zoneinfo import ZoneInfo

import pytest
from croniter import CroniterBadDateError, croniter

from headway_emulator.engine.scheduling import schedule
from headway_emulator.errors import ApiError

SEEDS = (1, 2, 3, 4)
"""Each has a quarter of the ten thousand cases."""
CASES = 2_500
TIMES = 3
"""How many due times of each are compared."""
ZONES = (
    "UTC",
    "Europe/Berlin",
    "Europe/Dublin",  # summer is its standard time
    "America/New_York",
    "America/St_Johns",  # half an hour off
    "America/Havana",  # the hour after midnight is skipped, and repeated
    "America/Santiago",  # the hour before midnight is repeated
    "Africa/Cairo",
    "Africa/Casablanca",  # four changes a year, around Ramadan
    "Asia/Kolkata",  # none
    "Australia/Lord_Howe",  # by half an hour
    "Pacific/Auckland",
    "Pacific/Chatham",
)
NAMES = {
    3: ("JAN", "FEB", "MAR", "APR", "MAY", "JUN", "JUL", "AUG", "SEP", "OCT", "NOV", "DEC"),
    4: ("SUN", "MON", "TUE", "WED", "THU", "FRI", "SAT"),
}
RANGES = ((0, 59), (0, 23), (1, 31), (1, 12), (0, 6))
STEPS = (59, 23, 31, 12, 7)
MARGIN = timedelta(hours=1, minutes=1)
"""Clocks are changed by an hour at most."""
AGREED, NEVER = "agreed", "never due"
PASSED_OVER = "croniter goes on from the first pass of a repeated hour, for * in minute or hour too"
REPEATED = "croniter makes a fixed time in the repeated hour twice, Debian's cron once"
SKIPPED = "croniter makes a time in the skipped hour at its end, Debian's cron only one that is fixed"


def field(dice: random.Random, position: int) -> str:
    """One of the forms that Google documents: a star, values, ranges, steps, names, lists."""
    low, high = RANGES[position]

    def word(value: int) -> str:
        if position in NAMES and dice.random() < 0.3:
            return NAMES[position][value - low]
        return str(value)

    def part() -> str:
        first, last = sorted(dice.sample(range(low, high + 1), 2))
        step = dice.randint(1, min(STEPS[position], max(1, last - first)))
        match dice.randrange(4):
            case 0:
                return f"{word(first)}-{word(last)}"
            case 1:
                return f"{word(first)}-{word(last)}/{step}"
            case _:
                return word(dice.randint(low, high))

    match dice.randrange(6):
        case 0 | 1:
            return "*"
        case 2:
            return f"*/{dice.randint(1, STEPS[position])}"
        case 3:
            return ",".join(part() for _ in range(dice.randint(2, 3)))
        case _:
            return part()


def expression(dice: random.Random) -> str:
    """Half of them about the hours in which clocks are changed, or they would hardly ever meet them."""
    if dice.random() < 0.01:
        return dice.choice(["0 0 30 2 *", "5 4 31 2,4,6 *", "* * 31 11 */2"])
    fields = [field(dice, position) for position in range(5)]
    if dice.random() < 0.5:
        fields[1] = dice.choice(["*", "*/2", "0", "1", "2", "3", "1-3", "0,2", "2,23", "0-4/2"])
        fields[2:] = ["*", "*", "*"] if dice.random() < 0.7 else fields[2:]
    return " ".join(fields)


def changes(zone: ZoneInfo) -> list[datetime]:
    """Of the clocks, from 2024 to 2031, to the minute."""
    found, now = [], datetime(2024, 1, 1, tzinfo=UTC)
    while now.year < 2032:
        later = now + timedelta(days=1)
        if now.astimezone(zone).utcoffset() != later.astimezone(zone).utcoffset():
            at = now
            while at.astimezone(zone).utcoffset() == now.astimezone(zone).utcoffset():
                at += timedelta(minutes=15)
            found.append(at)
        now = later
    return found


def beginning(dice: random.Random, known: list[datetime]) -> datetime:
    """Any second of seven years; mostly of the day before a change, or of the minutes around it."""
    way = dice.random() if known else 0.0
    if way < 0.3:
        return datetime(2024, 1, 1, tzinfo=UTC) + timedelta(seconds=dice.randrange(7 * 365 * 86400))
    if way < 0.65:
        return dice.choice(known) - timedelta(seconds=dice.randrange(26 * 3600))
    around = timedelta(minutes=dice.choice((-60, -30, 0, 30, 60)), seconds=dice.randrange(-200, 60))
    return dice.choice(known) + around


def moments_of(wall: datetime, zone: ZoneInfo, *, fixed: bool) -> Iterator[datetime]:
    """The rule: a fixed time in the skipped hour is at its end, in the repeated hour the first; * elapses."""
    passes = [wall.replace(tzinfo=zone, fold=fold).astimezone(UTC) for fold in (0, 1)]
    real = sorted({at for at in passes if at.astimezone(zone).replace(tzinfo=None) == wall})
    if not fixed:
        yield from real
    elif real:
        yield real[0]
    else:  # the hour's end is where the later offset begins to hold
        end = min(passes)
        while end.astimezone(zone).utcoffset() != max(passes).astimezone(zone).utcoffset():
            end += timedelta(minutes=1)
        yield end


def by_the_rule(text: str, zone: ZoneInfo, start: datetime, until: datetime) -> list[datetime]:
    """Every moment after `start`, up to `until`."""
    fixed = not any(part.startswith("*") for part in text.split()[:2])
    begin = start.astimezone(zone).replace(tzinfo=None) - MARGIN
    end = until.astimezone(zone).replace(tzinfo=None) + MARGIN
    walls = croniter(text, begin, ret_type=datetime, implement_cron_bug=True)
    found: set[datetime] = set()
    for wall in walls.all_next(datetime):
        if wall > end:
            break
        found |= {at for at in moments_of(wall, zone, fixed=fixed) if start < at <= until}
    return sorted(found)


def by_croniter(text: str, zone: ZoneInfo, start: datetime, until: datetime) -> list[datetime]:
    """What it says itself of moments in a zone."""
    found = []
    for at in croniter(text, start.astimezone(zone), implement_cron_bug=True).all_next(datetime):
        if at.astimezone(UTC) > until:
            break
        found.append(at.astimezone(UTC))
    return sorted(set(found))


def by_the_emulator(text: str, zone: str, start: datetime) -> list[datetime]:
    parsed, moment, found = schedule.parse(text, zone), int(start.timestamp()) * 10**9, []
    for _ in range(TIMES):
        if (after := parsed.after(moment)) is None:
            break
        moment = after
        found.append(datetime.fromtimestamp(moment / 1e9, UTC))
    return found


def is_steady(zone: ZoneInfo, start: datetime, until: datetime, known: list[datetime]) -> bool:
    return not any(start - MARGIN <= change <= until + MARGIN for change in known)


def reasons(text: str, zone: ZoneInfo, ours: list[datetime], theirs: list[datetime]) -> set[str]:
    """Why the two differ; AssertionError where that is not by intent."""
    fixed = not any(part.startswith("*") for part in text.split()[:2])
    found = set()
    for at in set(ours) ^ set(theirs):
        second_pass = at.astimezone(zone).fold == 1
        if fixed:
            assert at in theirs
            assert second_pass
            found.add(REPEATED)
        elif at in ours:
            assert second_pass
            found.add(PASSED_OVER)
        else:
            assert _offset(at - timedelta(minutes=1), zone) < _offset(at, zone)
            found.add(SKIPPED)
    return found or {AGREED}


def _offset(at: datetime, zone: ZoneInfo) -> timedelta:
    found = at.astimezone(zone).utcoffset()
    assert found is not None
    return found


def test_croniter_passes_over_the_second_pass_of_a_repeated_hour() -> None:
    zone = ZoneInfo("Pacific/Chatham")
    start, until = datetime(2027, 4, 3, 12, tzinfo=UTC), datetime(2027, 4, 3, 14, 2, tzinfo=UTC)
    ours = by_the_rule("*/47 2 * * *", zone, start, until)
    theirs = by_croniter("*/47 2 * * *", zone, start, until)
    assert reasons("*/47 2 * * *", zone, ours, theirs) == {PASSED_OVER}


@pytest.mark.slow
@pytest.mark.parametrize("seed", SEEDS)
def test_ten_thousand_random_schedules_are_due_when_croniter_says(seed: int) -> None:
    dice = random.Random(seed)
    known = {name: changes(ZoneInfo(name)) for name in ZONES}
    counted: Counter[str] = Counter()
    for number in range(CASES):
        text, name = expression(dice), dice.choice(ZONES)
        zone = ZoneInfo(name)
        start = beginning(dice, known[name])
        what = f"case {number}: {text!r} in {name} from {start.isoformat()}"
        try:
            ours = by_the_emulator(text, name, start)
        except ApiError:  # a day that no month of the schedule has
            ours = []
        if not ours:
            with pytest.raises(CroniterBadDateError):
                croniter(text, start.replace(tzinfo=None), implement_cron_bug=True).get_next()
            counted[NEVER] += 1
            continue
        if is_steady(zone, start, ours[-1], known[name]):
            walls = croniter(
                text, start.astimezone(zone).replace(tzinfo=None), ret_type=datetime, implement_cron_bug=True
            )
            told = [at.replace(tzinfo=zone).astimezone(UTC) for at in islice(walls.all_next(datetime), TIMES)]
            assert ours == told, what
            counted["steady"] += 1
            continue
        assert ours == by_the_rule(text, zone, start, ours[-1]), what
        crossed = any(start < change <= ours[-1] for change in known[name])
        counted["across a change of the clocks" if crossed else "beside one"] += 1
        counted.update(reasons(text, zone, ours, by_croniter(text, zone, start, ours[-1])))
    places = ("steady", "beside one", "across a change of the clocks", NEVER)
    assert sum(counted[place] for place in places) == CASES
    assert counted["across a change of the clocks"] > CASES // 5
    for seen in (NEVER, REPEATED, SKIPPED):  # none of these is a name alone; PASSED_OVER is rare
        assert counted[seen], seen
    assert counted[AGREED] > 5 * (counted[REPEATED] + counted[PASSED_OVER] + counted[SKIPPED])
