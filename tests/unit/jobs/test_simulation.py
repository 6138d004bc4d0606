"""A schedule played ahead: overlaps, missed ticks, new data, clock changes, and money."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from headway.errors import InputError
from headway.jobs.ahead import assumed
from headway.jobs.simulation import Assumed, Timeline, simulate
from headway.spec.schedule import Schedule

START = datetime(2026, 3, 1, tzinfo=UTC)
ZURICH = {"cron": "30 2 * * *", "tz": "Europe/Zurich"}


def play(section: dict[str, Any], **given: Any) -> Timeline:
    return simulate(Schedule.model_validate(section), Assumed(**{"start": START, "days": 7, **given}))


def told(timeline: Timeline, *what: str) -> list[str]:
    return [f"{row.time:%d %H:%M} {row.what}" for row in timeline.rows if not what or row.what in what]


def days(*numbers: float) -> tuple[datetime, ...]:
    return tuple(START + timedelta(days=number) for number in numbers)


def test_without_new_data_the_first_tick_runs_and_the_others_are_skipped_with_the_reason() -> None:
    timeline = play({"cron": "0 3 * * *"}, usd_hour=4.0, takes=timedelta(hours=2))
    assert timeline.totals == {"run": 1, "skip": 6, "wait": 0, "missed": 0, "usd": 8.0}
    assert timeline.rows[0].detail == "no run of it has succeeded yet"
    assert timeline.rows[1].detail.startswith("nothing changed since run 1, which ended 2026-03-01 05:00 UTC")


def test_new_data_is_trained_on_by_the_next_tick() -> None:
    timeline = play({"cron": "0 3 * * *"}, data=days(2.5))
    assert told(timeline, "data", "run") == ["01 03:00 run", "03 12:00 data", "04 03:00 run"]
    assert timeline.rows[-4].detail.startswith("new data (data v0 → v1) since run 1")


def test_pinned_data_does_not_change() -> None:
    assert play({"cron": "0 3 * * *", "data": "pinned"}, data=days(2.5)).totals["run"] == 1


@pytest.mark.parametrize(
    ("overlap", "expected"),
    [
        ("skip", ["01 00:00 run", "01 01:00 skip", "01 02:00 skip", "01 03:00 run"]),
        ("queue", ["01 00:00 run", "01 01:00 wait", "01 02:00 missed"]),
        ("replace", ["01 00:00 run", "01 01:00 run", "01 02:00 run", "01 03:00 run"]),
    ],
)
def test_runs_that_take_longer_than_the_time_between_ticks(overlap: str, expected: list[str]) -> None:
    hourly = {"cron": "0 * * * *", "overlap": overlap, "always": True}
    begin = START - timedelta(seconds=1)
    timeline = play(
        hourly,
        start=begin,
        days=1,
        takes=timedelta(minutes=150),
        data=tuple(START + timedelta(minutes=n * 60 - 5) for n in range(24)),
    )
    assert told(timeline, "run", "skip", "wait", "missed")[: len(expected)] == expected


def test_a_queued_tick_runs_at_the_first_retry_after_the_end_of_the_run_before() -> None:
    timeline = play(
        {"cron": "0 */6 * * *", "overlap": "queue"},
        start=START - timedelta(seconds=1),
        days=1,
        takes=timedelta(hours=7),
        data=days(0.1, 0.3, 0.6),
    )
    first = [row for row in timeline.rows if row.what in ("run", "wait")][:3]
    assert [row.what for row in first] == ["run", "wait", "run"]
    assert timedelta(hours=7) <= first[2].time - first[0].time < timedelta(hours=7, minutes=10)


def test_a_replaced_run_costs_only_the_time_that_it_had() -> None:
    timeline = play(
        {"cron": "0 * * * *", "overlap": "replace"},
        start=START - timedelta(seconds=1),
        days=1,
        takes=timedelta(hours=3),
        usd_hour=1.0,
        data=(START + timedelta(minutes=30),),
    )
    assert [row.usd for row in timeline.rows if row.what == "run"] == [1.0, 3.0]


def test_over_an_outage_one_tick_is_made_up_for_and_the_others_are_missed() -> None:
    down = (START + timedelta(days=1), START + timedelta(days=3, hours=12))
    timeline = play({"cron": "0 3 * * *", "always": True}, outages=(down,))
    assert told(timeline) == [
        *("01 03:00 run", "02 00:00 down", "02 03:00 late", "03 03:00 missed", "04 03:00 missed"),
        *("04 12:00 run", "05 03:00 run", "06 03:00 run", "07 03:00 run"),
    ]


def test_nothing_runs_while_cloud_scheduler_is_down_not_even_what_waited() -> None:
    down = (START + timedelta(days=1, hours=4), START + timedelta(days=1, hours=20))
    section = {"cron": "0 3 * * *", "overlap": "queue", "always": True}
    timeline = play(section, outages=(down,), takes=timedelta(hours=30))
    runs = [row.time for row in timeline.rows if row.what == "run"]
    assert runs
    assert not [time for time in runs if down[0] <= time < down[1]]


def test_a_trigger_starts_a_run_once_the_data_has_been_still() -> None:
    timeline = play({"triggers": {"data": {"debounce": "10m"}}}, data=days(1.001, 3))
    assert told(timeline, "run") == ["02 00:15 run", "04 00:10 run"]


def test_of_versions_that_come_while_a_run_runs_the_last_one_is_trained_on() -> None:
    timeline = play({"triggers": {"data": {}}}, takes=timedelta(days=2), data=days(1, 1.5, 2))
    assert told(timeline, "run") == ["02 00:10 run", "04 00:10 run"]
    assert timeline.rows[-1].detail.startswith("new data was pushed; new data (data v1 → v3)")


def test_more_ticks_than_one_looks_at_are_refused() -> None:
    with pytest.raises(InputError, match="comes more than 20,000 times in 90 days"):
        play({"cron": "*/5 * * * *"}, days=90)


def test_a_model_is_not_let_grow_older_than_it_may() -> None:
    timeline = play({"cron": "0 3 1 * *", "max_age": "2d"}, days=7)
    assert told(timeline, "run") == ["01 03:00 run", "03 04:00 run", "05 05:00 run", "07 06:00 run"]


def test_a_change_of_the_clocks_is_marked_and_the_tick_in_the_skipped_hour_comes_at_its_end() -> None:
    timeline = play({**ZURICH, "always": True}, start=datetime(2026, 3, 27, 12, tzinfo=UTC), days=4)
    assert told(timeline) == [
        "28 01:30 run",
        "29 01:00 clock",
        "29 01:00 run",
        "30 00:30 run",
        "31 00:30 run",
    ]
    assert timeline.rows[1].detail == "the clocks of Europe/Zurich go forward by 1 h"
    assert f"{timeline.local(timeline.rows[2].time):%H:%M}" == "03:00"


def given(**words: Any) -> Assumed:
    return assumed(
        Schedule.model_validate(ZURICH),
        **{"days": 90, "start": None, "takes": timedelta(hours=1), "usd_hour": None, "now": START, **words},
    )


def test_times_without_an_offset_are_on_the_schedule_s_clock() -> None:
    found = given(start="2026-07-01", data_at=["2026-07-02T12:00Z"], outages=["2026-07-03..2026-07-04T06:00"])
    assert found.start == datetime(2026, 6, 30, 22, tzinfo=UTC)
    assert found.data == (datetime(2026, 7, 2, 12, tzinfo=UTC),)
    assert found.outages == ((datetime(2026, 7, 2, 22, tzinfo=UTC), datetime(2026, 7, 4, 4, tzinfo=UTC)),)


def test_outages_that_overlap_are_one_and_data_comes_after_the_beginning() -> None:
    spans = ["2026-07-03..2026-07-05", "2026-07-04..2026-07-06", "2026-07-08..2026-07-09"]
    found = given(start="2026-07-01", outages=spans)
    assert [(start.day, end.day) for start, end in found.outages] == [(2, 5), (7, 8)]
    with pytest.raises(InputError, match="--data-at 2020-01-01 is before the beginning"):
        given(start="2026-07-01", data_at=["2026-07-02", "2020-01-01"])


def test_data_every_so_often_comes_from_the_beginning_on() -> None:
    assert len(given(data_every=timedelta(days=30)).data) == 3


@pytest.mark.parametrize(
    ("words", "wrong"),
    [
        ({"days": 0}, "--days 0 is not from 1"),
        ({"days": 100_000}, "--days 100000 is not from 1"),
        ({"start": "soon"}, "--from: 'soon' is no date"),
        ({"data_at": ["32"]}, "--data-at: '32' is no date"),
        ({"start": "9999-12-20"}, "--from: '9999-12-20' is not in the years 1970 to 9000"),
        ({"start": "0001-01-01"}, "--from: '0001-01-01' is not in the years 1970 to 9000"),
        ({"outages": ["2026-07-03"]}, "has no end"),
        ({"outages": ["2026-07-03..2026-07-01"]}, "ends before it begins"),
        ({"takes": timedelta()}, "--takes must be longer"),
        ({"data_every": timedelta(seconds=1)}, "--data-every must be a minute"),
    ],
)
def test_what_is_wrong_with_a_flag_is_told(words: dict[str, Any], wrong: str) -> None:
    with pytest.raises(InputError, match=wrong):
        given(**words)
