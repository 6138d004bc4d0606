"""When schedules are due: the same as the emulator says, over both changes of the clocks."""

from __future__ import annotations

import random
from datetime import UTC, datetime, timedelta, tzinfo

import pytest

from headway.spec import cron
from headway.spec.cron import Cron, check_expression, check_zone, clock_changes
from headway_emulator.engine.clock import SECOND
from headway_emulator.engine.scheduling import schedule

ZONES = (
    "Europe/Zurich",
    "America/New_York",
    "Australia/Lord_Howe",
    "America/Sao_Paulo",
    "Asia/Kolkata",
    "UTC",
)


def expressions(seed: int, number: int) -> list[tuple[str, str]]:
    dice = random.Random(seed)

    def field(low: int, high: int) -> str:
        one, two = sorted(dice.sample(range(low, high + 1), 2))
        return dice.choice(("*", "*", str(one), f"{one}-{two}", f"{one},{two}", f"*/{max(1, min(two, 5))}"))

    def one() -> str:
        parts = [field(0, 59), field(0, 23), field(1, 28), field(1, 12), field(0, 6)]
        return " ".join(part if dice.random() < 0.6 else "*" for part in parts)

    return [(one(), dice.choice(ZONES)) for _ in range(number)]


@pytest.mark.parametrize(
    "start", [datetime(2026, 3, 28, 12, tzinfo=UTC), datetime(2026, 10, 24, 12, tzinfo=UTC)]
)
def test_due_times_are_those_of_the_emulator_over_a_change_of_the_clocks(start: datetime) -> None:
    for expression, zone in expressions(7, 300):
        moment, theirs = round(start.timestamp()) * SECOND, schedule.parse(expression, zone)
        ours = start
        for _ in range(40):
            due, found = theirs.after(moment), Cron(expression, zone).next(ours)
            assert (found and round(found.timestamp()) * SECOND) == due, (expression, zone, ours)
            if due is None or found is None:
                break
            moment, ours = due, found


def test_a_time_in_the_skipped_hour_comes_at_its_end_and_one_in_the_repeated_hour_once() -> None:
    nightly = Cron("30 2 * * *", "Europe/Zurich")
    spring = nightly.between(datetime(2026, 3, 28, 12, tzinfo=UTC), datetime(2026, 3, 30, 12, tzinfo=UTC))
    autumn = nightly.between(datetime(2026, 10, 24, 12, tzinfo=UTC), datetime(2026, 10, 26, 12, tzinfo=UTC))
    assert [f"{due:%d %H:%M}" for due in spring] == ["29 01:00", "30 00:30"]
    assert [f"{due:%d %H:%M}" for due in autumn] == ["25 00:30", "26 01:30"]


def test_the_clock_changes_of_a_zone_are_two_a_year() -> None:
    year = datetime(2026, 1, 1, tzinfo=UTC), datetime(2027, 1, 1, tzinfo=UTC)
    assert clock_changes("Europe/Zurich", *year) == [
        (datetime(2026, 3, 29, 1, tzinfo=UTC), timedelta(hours=1)),
        (datetime(2026, 10, 25, 1, tzinfo=UTC), timedelta(hours=-1)),
    ]
    assert clock_changes("UTC", *year) == []


@pytest.mark.parametrize(
    ("text", "wrong"),
    [
        ("* * * *", "it has 4 fields, not five"),
        ("0 25 * * *", "its hour, '25', is none"),
        ("61 * * * *", "its minute, '61', is none"),
        ("0 3 * * MOX", "its day of week, 'MOX', is none"),
        ("0 3 L * *", "its day of month, 'L', is none"),
        ("*/0 * * * *", "its minute, '*/0', is none"),
        ("*/75 * * * *", "its minute, '*/75', is none"),
        ("0 3 31 2 *", "never comes"),
        ("every monday", "it has 2 fields, not five"),
    ],
)
def test_what_is_no_cron_expression_is_told_by_its_field(text: str, wrong: str) -> None:
    with pytest.raises(ValueError, match=r"cron expression|never comes") as caught:
        check_expression(text)
    assert wrong in str(caught.value)


def test_an_expression_may_have_names_lists_ranges_and_steps() -> None:
    assert check_expression(" 0   3 * jan,jun mon-fri ") == "0 3 * jan,jun mon-fri"
    assert Cron("0 3 * jan,jun mon-fri").next(datetime(2026, 2, 1, tzinfo=UTC)) == datetime(
        2026, 6, 1, 3, tzinfo=UTC
    )


def test_an_unknown_zone_is_told_with_the_nearest_ones() -> None:
    with pytest.raises(ValueError, match="did you mean Europe/Zurich"):
        check_zone("Europe/Zurch")
    with pytest.raises(ValueError, match="there is no time zone 'Mars'"):
        check_zone("Mars")
    assert check_zone("utc") == "utc"


class FixedDays(tzinfo):
    """Clocks go from 2:00 to 3:00 on March 29 of each year, whatever day that is, and back on October 29."""

    def fromutc(self, dt: datetime) -> datetime:
        return dt + self._ahead(dt.replace(tzinfo=None))

    def utcoffset(self, dt: datetime | None) -> timedelta:
        assert dt is not None
        return self._ahead(dt.replace(tzinfo=None) - timedelta(hours=1))

    def dst(self, dt: datetime | None) -> timedelta:
        return self.utcoffset(dt)

    def tzname(self, dt: datetime | None) -> str:
        return "fixed"

    def _ahead(self, utc: datetime) -> timedelta:
        summer = datetime(utc.year, 3, 29, 2) <= utc < datetime(utc.year, 10, 29, 2)
        return timedelta(hours=1 if summer else 0)


def test_a_time_that_every_change_of_the_clocks_skips_never_comes(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each look for it ends at a change, and begins anew there: for fifty years, not for ever."""
    monkeypatch.setattr(cron, "clock_of", lambda name: FixedDays())
    now = datetime(2026, 1, 1, tzinfo=UTC)
    assert Cron("* 2 29 3 *", "Fixed/Days").next(now) is None
    assert Cron("* 3 29 3 *", "Fixed/Days").next(now) == datetime(2026, 3, 29, 2, tzinfo=UTC)
