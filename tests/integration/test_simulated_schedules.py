"""A simulated schedule ticks when the emulator's Cloud Scheduler does, over both changes of the clocks."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import pytest
import requests

from headway.jobs.simulation import Assumed, simulate
from headway.spec.schedule import Schedule
from headway_emulator.testing import Emulator, emulator

CRONS = ("30 2 * * *", "*/30 * * * *", "15 1-3 * * *", "0 3 * * SUN", "0 */5 * * *")
CHANGES = (
    ("America/New_York", "03-07"),
    ("Europe/Zurich", "03-24"),
    ("Europe/Zurich", "10-24"),
    ("America/New_York", "10-31"),
)
DAYS = 8


@pytest.fixture(scope="module")
def gcp() -> Iterator[Emulator]:
    with emulator(clock="virtual") as found:
        yield found


@pytest.mark.parametrize(("zone", "eve"), CHANGES)
def test_the_ticks_are_those_of_the_emulator(gcp: Emulator, zone: str, eve: str) -> None:
    """In the eight days in which the clocks of the zone change."""
    month, day = map(int, eve.split("-"))
    now = gcp.clock.now()
    this_year = datetime(now.year, month, day, 12, 7, tzinfo=UTC)
    start = this_year if this_year > now else this_year.replace(year=now.year + 1)
    gcp.clock.to(start)
    for number, cron in enumerate(CRONS):
        put(gcp, f"job-{start:%Y%m%d}-{number}", cron, zone)
    gcp.clock.advance(timedelta(days=DAYS))
    for number, cron in enumerate(CRONS):
        schedule = Schedule(cron=cron, tz=zone, always=True)
        simulated = simulate(schedule, Assumed(start, DAYS, takes=timedelta(minutes=1)))
        assert any(row.what == "clock" for row in simulated.rows)
        ours = [row.time for row in simulated.rows if row.what == "run"]
        assert ours == ticks(gcp, f"job-{start:%Y%m%d}-{number}"), cron
        assert ours
        delete(gcp, f"job-{start:%Y%m%d}-{number}")


def put(gcp: Emulator, name: str, cron: str, zone: str) -> None:
    body = {
        "name": f"{gcp.parent}/jobs/{name}",
        "schedule": cron,
        "timeZone": zone,
        "httpTarget": {"uri": "http://127.0.0.1:9/"},
    }
    reply = requests.post(f"{gcp.endpoint('cloudscheduler')}/v1/{gcp.parent}/jobs", json=body, timeout=10)
    assert reply.ok, reply.text


def delete(gcp: Emulator, name: str) -> None:
    url = f"{gcp.endpoint('cloudscheduler')}/v1/{gcp.parent}/jobs/{name}"
    assert requests.delete(url, timeout=10).ok


def ticks(gcp: Emulator, name: str) -> list[datetime]:
    """By Cloud Scheduler's own log, which has an entry for each attempt."""
    job = f'resource.type="cloud_scheduler_job" resource.labels.job_id="{name}"'
    body = {
        "resourceNames": [f"projects/{gcp.project}"],
        "filter": f"{job} jsonPayload.scheduledTime:*",
        "pageSize": 1000,
    }
    reply = requests.post(f"{gcp.endpoint('logging')}/v2/entries:list", json=body, timeout=30).json()
    entries = reply.get("entries", [])
    return sorted(datetime.fromisoformat(entry["jsonPayload"]["scheduledTime"]) for entry in entries)
