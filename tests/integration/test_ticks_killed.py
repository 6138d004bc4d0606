"""Ticks whose process is killed at random moments, against the emulator: delivered again, each is one run."""

from __future__ import annotations

import random
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime, timedelta

import pytest

from headway.cloud.services import Services
from headway.errors import Refused
from headway.jobs.ticks import tick
from headway.spec import layout
from headway.spec.layout import BucketLayout
from headway.spec.place import Place
from headway.spec.schedule import Schedule
from headway.spec.scheduled import Scheduled
from headway_emulator.testing import emulator
from tests.unit.spec.test_plan import plan

KILLS = 8
"""So many ticks are killed before they are done; those that were faster count as ticks only."""
MOST_TICKS = 40
TIME = datetime(2026, 3, 2, 3, tzinfo=UTC)
TICK = """
import sys
from datetime import datetime
from headway.cloud.services import Services
from headway.jobs.ticks import tick
from headway.spec.place import Place
Services.image_digest = lambda *_: "sha256:0"  # it is in no engine's store
services = Services(Place.model_validate_json(sys.argv[1]))
services.jobs("us-central1"), services.store.exists("nothing")
print("ready", flush=True)
sys.stdin.readline()
tick("digits", "cron", datetime.fromisoformat(sys.argv[2]), services)
print("done", flush=True)
"""


@pytest.fixture(scope="module")
def place() -> Iterator[Place]:
    with emulator() as gcp:
        gcp.bucket("acme")
        yield Place(
            profile="test",
            project=gcp.project,
            region="us-central1",
            bucket="acme",
            dvc_remote="gs://acme/dvc",
            tracking_uri="http://127.0.0.1:9",
            endpoints={name: gcp.endpoint(name) for name in ("storage", "aiplatform", "logging")},
            credentials="anonymous",
            answer_s=3.0,  # so that the claim of one that was killed lapses soon
        )


@pytest.mark.slow
def test_a_tick_that_is_killed_at_a_random_moment_is_one_run(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Over all of the time that a tick takes on this machine, which two tell that nobody kills."""
    services, dice = Services(place), random.Random(5)
    made = plan(place=place).model_copy(update={"schedule": "digits"})
    schedule = Schedule(cron="0 3 * * 1", always=True)
    document = Scheduled(created=TIME, schedule=schedule, plan=made).model_dump_json(by_alias=True)
    services.store.write(BucketLayout("acme").schedule("digits"), document.encode())
    services.store.write(BucketLayout("acme").bundle(made.code.digest), b"")
    monkeypatch.setattr(Services, "image_digest", lambda *_: "sha256:0")
    runs, cut_short, whole_s = [], 0, 0.0
    for week in range(2):  # the emulator, too, does some things once
        whole_s = lasting(place, TIME + timedelta(weeks=week))
        runs.append(tick("digits", "cron", TIME + timedelta(weeks=week), services).run_id)
        end_all(services)
    for week in range(2, MOST_TICKS):
        if cut_short == KILLS:
            break
        at = TIME + timedelta(weeks=week)
        cut_short += not killed_after(dice.uniform(0.0, 0.9) * whole_s, place, at)
        found = tick("digits", "cron", at, services)
        assert found.state == "started", found
        runs.append(found.run_id)
        assert tick("digits", "cron", at, services) == found
        end_all(services)
    jobs = Counter(
        job.labels[layout.LABEL_RUN] for job in services.jobs("us-central1").labelled(layout.LABEL_RUN)
    )
    assert jobs == Counter(runs)
    assert len(set(runs)) == len(runs)
    assert cut_short == KILLS, "most of them were done before they were killed: kill sooner"


def lasting(place: Place, at: datetime) -> float:
    """The seconds that a tick takes."""
    with ticking(place, at) as child:
        assert child.stdout is not None
        began = time.monotonic()
        assert child.stdout.readline() == "done\n"
        return time.monotonic() - began


def killed_after(seconds: float, place: Place, at: datetime) -> bool:
    """Whether the tick was done before its process was killed."""
    with ticking(place, at) as child:
        assert child.stdout is not None
        time.sleep(seconds)
        child.send_signal(signal.SIGKILL)
        return child.stdout.read() == "done\n"


@contextmanager
def ticking(place: Place, at: datetime) -> Iterator[subprocess.Popen[str]]:
    """A process whose tick has just begun."""
    words = [sys.executable, "-c", TICK, place.model_dump_json(), at.isoformat()]
    with subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as child:
        assert child.stdin is not None
        assert child.stdout is not None
        assert child.stdout.readline() == "ready\n"
        child.stdin.write("go\n")
        child.stdin.flush()
        yield child


def end_all(services: Services) -> None:
    """So that no run is in the next tick's way."""
    jobs = services.jobs("us-central1")
    deadline = time.monotonic() + 60
    while left := [each for each in jobs.labelled(layout.LABEL_RUN) if each.ended is None]:
        assert time.monotonic() < deadline
        for job in left:
            if job.state not in ("cancelling", "cancelled"):
                with suppress(Refused):  # it ended meanwhile
                    jobs.cancel(job.name)
        time.sleep(0.2)
