"""The emulator's program, killed at random moments of busy schedules: no tick is lost, and none comes twice.

`tests/unit/emulator/test_killed_schedules.py` kills at every single moment, in one process.
"""

from __future__ import annotations

import contextlib
import os
import random
import threading
import time
from collections import Counter
from collections.abc import Iterator
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import requests

from tests.contract.servers import PARENT, PROJECT, Emulator, StorageServer, until
from tests.contract.targets import Target, listening
from tests.contract.test_scheduler import now, scheduler_client, step

KILLS = int(os.environ.get("HEADWAY_SCHEDULER_KILLS", "20"))
"""Real ones, of the whole program, each of which costs a start."""
MINUTES = 30
"""Stepped at once: some hundred milliseconds of ticks, in which the kill comes."""
CUT_OFF = "The emulator ended during the attempt."


@pytest.fixture
def mortal_clock(storage_server: StorageServer, tmp_path: Path) -> Iterator[Emulator]:
    made = Emulator(tmp_path / "state", storage_server.url, clock="virtual")
    made.start()
    yield made
    made.stop()


def told(emulator: Emulator, job: str) -> list[dict[str, Any]]:
    """The executions' log of a job, whole."""
    text = f'resource.type="cloud_scheduler_job" AND resource.labels.job_id="{job}"'
    body = {"resourceNames": [f"projects/{PROJECT}"], "filter": text, "pageSize": 1000}
    found: list[dict[str, Any]] = []
    while True:
        page = requests.post(f"{emulator.url}/logging/v2/entries:list", json=body, timeout=30).json()
        found += [entry["jsonPayload"] for entry in page.get("entries", [])]
        if not (token := page.get("nextPageToken")):
            return found
        body["pageToken"] = token


def kill_within(emulator: Emulator, target: Target, seconds: float) -> None:
    """While the clock is stepped, so long after the first request; the step's answer is lost."""

    def advance() -> None:
        with contextlib.suppress(requests.RequestException):
            body = {"advance": f"{MINUTES}m"}
            requests.post(f"{emulator.url}/emulator/clock", json=body, timeout=60)

    stepping = threading.Thread(target=advance)
    seen = len(target.received)
    stepping.start()
    until(lambda: len(target.received) > seen or not stepping.is_alive(), every=0.001)
    time.sleep(seconds)
    emulator.kill()
    stepping.join(60)


@pytest.mark.slow
@pytest.mark.timeout(max(300, 10 * KILLS))
def test_kills_lose_no_tick_and_double_none(mortal_clock: Emulator) -> None:
    emulator, dice = mortal_clock, random.Random(20)
    with listening() as target:
        create(emulator, target)
        begun = now(emulator)
        for _ in range(KILLS):
            kill_within(emulator, target, dice.uniform(0.0, 0.1))
            emulator.start()
        step(emulator, advance="90s")
        end = now(emulator)
        entries = told(emulator, "minutely")
        come = Counter(target.ticks)
    started = [entry["scheduledTime"] for entry in entries if entry.get("@type", "").endswith("Started")]
    ended = [entry for entry in entries if entry.get("@type", "").endswith("Finished")]
    cut = [entry for entry in ended if CUT_OFF in entry["debugInfo"]]
    passed = [tick for entry in entries for tick in entry.get("passedOver", ())]
    due = minutes(begun, end)
    assert len(due) > KILLS, "time went on between the kills"
    assert Counter(started) + Counter(passed) == Counter(due), "every due tick is told of, once"
    assert passed == [], "virtual time stands while the emulator is down"
    assert len(started) == len(ended), "each attempt has an outcome"
    assert len(cut) <= KILLS
    assert max(come.values()) == 1, "no tick comes twice"
    missing = {f"{tick[:19]}Z" for tick in started} - come.keys()
    assert len(missing) <= len(cut), "what has not come was cut off"


def create(emulator: Emulator, target: Target) -> None:
    job = {"name": f"{PARENT}/jobs/minutely", "schedule": "* * * * *", "http_target": {"uri": target.url}}
    scheduler_client(emulator).create_job(parent=PARENT, job=job)


def minutes(begun: str, end: str) -> list[str]:
    """Every full one after the first time, up to the second."""
    at = datetime.fromisoformat(begun).replace(second=0, microsecond=0) + timedelta(minutes=1)
    last, found = datetime.fromisoformat(end), []
    while at <= last:
        found.append(f"{at:%Y-%m-%dT%H:%M:%S}.000000Z")
        at += timedelta(minutes=1)
    return found
