"""The emulator's own API and its commands: its clock, faults and record at their limits."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime, timedelta

import pytest
import requests
from google.cloud.aiplatform_v1 import JobServiceClient
from google.cloud.scheduler_v1 import CloudSchedulerClient

from headway_emulator.asking import Refused
from headway_emulator.testing import Emulator, emulator


@pytest.fixture(scope="module")
def gcp() -> Iterator[Emulator]:
    with emulator(clock="virtual") as started:
        yield started


@pytest.fixture(autouse=True)
def _fresh(gcp: Emulator) -> None:
    gcp.reset()


def test_a_schedule_years_ahead_fires_at_the_very_moment_to_which_the_clock_is_set(gcp: Emulator) -> None:
    schedules = gcp.client(CloudSchedulerClient)
    for number in range(20):  # each from another fraction of a second: most of them missed once
        year = gcp.clock.now().year + 2
        name = f"{gcp.parent}/jobs/yearly-{number}"
        job = {"name": name, "schedule": "0 0 1 6 *", "http_target": {"uri": "http://127.0.0.1:9/"}}
        schedules.create_job(parent=gcp.parent, job=job)
        gcp.clock.to(f"{year}-06-01T00:00:00Z")
        assert str(schedules.get_job(name=name).last_attempt_time) == f"{year}-06-01 00:00:00+00:00"
        schedules.delete_job(name=name)
        gcp.clock.advance(0.0123 * (number + 1))


@pytest.mark.parametrize("far", [{"advance": "3650000d"}, {"advance": 1e300}, {"to": "9999-12-31T23:59:59Z"}])
def test_a_step_beyond_the_last_year_is_refused_and_time_stays(
    gcp: Emulator, far: dict[str, float | str]
) -> None:
    before = gcp.clock.now()
    answer = requests.post(f"{gcp.url}/emulator/clock", json=far, timeout=10)
    assert answer.status_code == 400
    assert "9000-01-01" in answer.json()["error"]["message"]
    assert gcp.clock.now() == before
    assert list(gcp.client(JobServiceClient).list_custom_jobs(parent=gcp.parent)) == []


@pytest.mark.parametrize(
    ("fault", "says"),
    [
        ({"kind": "response", "method": "aiplatform.*"}, "needs an effect"),
        ({"kind": "preempt", "job": "*", "after": -5}, "after cannot be below 0"),
        ({"kind": "stockout", "times": -1}, "times cannot be below 0"),
    ],
)
def test_a_fault_that_could_have_no_effect_is_refused(
    gcp: Emulator, fault: dict[str, str | int], says: str
) -> None:
    kind = str(fault.pop("kind"))
    with pytest.raises(Refused, match=says):
        gcp.faults.add(kind, **fault)
    assert gcp.faults.all() == []


def test_requests_are_found_from_a_time_in_any_zone_and_with_any_digits(gcp: Emulator) -> None:
    list(gcp.client(JobServiceClient).list_custom_jobs(parent=gcp.parent))
    now = gcp.clock.now()
    second = now.replace(microsecond=0)
    for since, found in ((second, 1), (now, 1), (now + timedelta(seconds=1), 0)):
        for hours in (-8, 0, 2):
            assert len(asked(gcp, since, hours)) == found, (since, hours)


def asked(gcp: Emulator, since: datetime, hours: int) -> list[dict[str, str]]:
    """The requests since then, which is told in a zone so many hours east of UTC."""
    sign, local = "-" if hours < 0 else "+", since + timedelta(hours=hours)
    query = {"since": f"{local:%Y-%m-%dT%H:%M:%S.%f}".rstrip("0").rstrip(".") + f"{sign}{abs(hours):02}:00"}
    answer = requests.get(f"{gcp.url}/emulator/requests", params=query, timeout=10)
    found: list[dict[str, str]] = answer.json()["requests"]
    return found
