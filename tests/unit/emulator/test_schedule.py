"""When a scheduled job is due, and when a failed attempt is made again."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest

from headway_emulator.engine.clock import SECOND
from headway_emulator.engine.scheduling import schedule
from headway_emulator.engine.scheduling.calls import judge
from headway_emulator.engine.scheduling.retry import DEFAULTS, backoff, next_try
from headway_emulator.errors import ApiError
from tests.unit.spec.test_cron import FixedDays

BERLIN = "Europe/Berlin"
"""02:00 becomes 03:00 on 2026-03-29, 03:00 becomes 02:00 on 2026-10-25."""

HAVANA = "America/Havana"
"""00:00 becomes 01:00 on 2026-03-08."""
LORD_HOWE = "Australia/Lord_Howe"
"""02:00 becomes 01:30 on 2026-04-05."""


def due(text: str, zone: str, since: str, count: int) -> list[str]:
    """The next times in UTC."""
    moment = int(datetime.fromisoformat(since).replace(tzinfo=UTC).timestamp()) * 10**9
    found = []
    for _ in range(count):
        after = schedule.parse(text, zone).after(moment)
        assert after is not None
        assert after > moment
        moment = after
        found.append(f"{datetime.fromtimestamp(moment / 1e9, UTC):%m-%d %H:%M}")
    return found


@pytest.mark.parametrize(
    ("text", "zone", "since", "expected"),
    [
        ("*/20 * * * *", "UTC", "2026-01-01T00:00", ["01-01 00:20", "01-01 00:40", "01-01 01:00"]),
        ("0 0 1 JAN,APR *", "utc", "2026-01-01T00:00", ["04-01 00:00", "01-01 00:00"]),
        ("0 9 13 * FRI", "", "2026-02-01T00:00", ["02-06 09:00", "02-13 09:00", "02-20 09:00"]),
        ("0 0 29 2 *", "Etc/UTC", "2026-01-01T00:00", ["02-29 00:00"]),
        # the hour that is skipped, and the hour that is repeated
        ("30 2 * * *", BERLIN, "2026-03-28T00:00", ["03-28 01:30", "03-29 01:00", "03-30 00:30"]),
        ("30 2 * * *", BERLIN, "2026-10-24T00:00", ["10-24 00:30", "10-25 00:30", "10-26 01:30"]),
        ("30 2 * * *", BERLIN, "2026-10-25T01:10", ["10-26 01:30"]),
        ("0 * * * *", BERLIN, "2026-10-24T23:10", ["10-25 00:00", "10-25 01:00", "10-25 02:00"]),
        # an hour after midnight is skipped, and clocks are changed by half an hour
        ("*/30 0 8,9 3 *", HAVANA, "2026-03-05T00:00", ["03-09 04:00", "03-09 04:30"]),
        ("*/30 2 * * *", LORD_HOWE, "2026-04-04T13:00", ["04-04 15:30", "04-04 16:00", "04-05 15:30"]),
        # English-like
        ("every 90 minutes", BERLIN, "2026-01-01T00:10", ["01-01 01:40", "01-01 03:10"]),
        ("every minute", "UTC", "2026-01-01T00:10", ["01-01 00:11"]),
        ("every day 09:00", "UTC", "2026-01-01T00:10", ["01-01 09:00", "01-02 09:00"]),
        ("every sun,tuesday 9:00", "UTC", "2026-01-01T00:00", ["01-04 09:00", "01-06 09:00"]),
    ],
)
def test_a_schedule_is_due_at_these_times(text: str, zone: str, since: str, expected: list[str]) -> None:
    assert due(text, zone, since, len(expected)) == expected


@pytest.mark.parametrize(
    ("text", "zone"),
    [
        ("* * * *", "UTC"),
        ("* * * * * *", "UTC"),
        ("60 * * * *", "UTC"),
        ("* * 0 * *", "UTC"),
        ("* * L * *", "UTC"),
        ("* * * * 1#2", "UTC"),
        ("5-1 * * * *", "UTC"),
        ("*/0 * * * *", "UTC"),
        ("* */24 * * *", "UTC"),
        ("0 0 31 2 *", "UTC"),
        ("@daily", "UTC"),
        ("every 0 minutes", "UTC"),
        ("every day 24:00", "UTC"),
        ("* * * * *", "Europe"),
        ("* * * * *", "Mars/Olympus"),
        ("* * * * *", "../etc/passwd"),
    ],
)
def test_what_is_no_schedule_is_refused_in_googles_words(text: str, zone: str) -> None:
    with pytest.raises(ApiError, match=r"^Schedule or time zone is invalid\.$"):
        schedule.parse(text, zone)


def test_googles_example_of_waits_holds() -> None:
    config = {**DEFAULTS, "minBackoffDuration": "10s", "maxBackoffDuration": "300s", "maxDoublings": 3}
    assert [backoff(config, n) for n in range(8)] == [10, 20, 40, 80, 160, 240, 300, 300]


@pytest.mark.parametrize(
    ("config", "tries", "elapsed", "wait"),
    [
        ({}, 1, 0.0, None),
        ({"retryCount": 2}, 2, 500.0, 10.0),
        ({"retryCount": 2}, 3, 0.0, None),
        ({"maxRetryDuration": "60s"}, 3, 30.0, 20.0),
        ({"maxRetryDuration": "60s"}, 3, 50.0, None),
        ({"retryCount": 1, "maxRetryDuration": "60s"}, 3, 30.0, 20.0),
        ({"retryCount": 5, "maxRetryDuration": "60s"}, 3, 300.0, 20.0),
    ],
)
def test_retries_end_when_both_limits_are_reached(
    config: dict[str, Any], tries: int, elapsed: float, wait: float | None
) -> None:
    assert next_try(config, tries, elapsed) == wait


@pytest.mark.parametrize(
    ("status", "code", "debug"),
    [
        (204, 0, "URL_CRAWLED. Original HTTP response code number = 204"),
        (404, 5, "URL_ERROR-ERROR_NOT_FOUND. Original HTTP response code number = 404"),
        (418, 9, "URL_ERROR-ERROR_OTHER. Original HTTP response code number = 418"),
        (500, 13, "URL_UNREACHABLE-UNREACHABLE_5xx. Original HTTP response code number = 500"),
    ],
)
def test_an_answer_is_judged_as_in_googles_logs(status: int, code: int, debug: str) -> None:
    outcome = judge(status)
    assert (outcome.code, outcome.debug) == (code, debug)


def test_a_time_that_every_change_of_the_clocks_skips_never_comes() -> None:
    """Each look for it ends at a change, and begins anew there: for fifty years, not for ever."""
    now = round(datetime(2026, 1, 1, tzinfo=UTC).timestamp()) * SECOND
    assert schedule.Cron("* 2 29 3 *", FixedDays()).after(now) is None
    due = schedule.Cron("* 3 29 3 *", FixedDays()).after(now)
    assert due == round(datetime(2026, 3, 29, 2, tzinfo=UTC).timestamp()) * SECOND
