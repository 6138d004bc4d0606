"""What Vertex AI does to a job over time, seen by Google's client: under a virtual clock, on both executors.

Each test uses google-cloud-aiplatform alone to look at jobs; clock and faults are the emulator's own API.
"""

from __future__ import annotations

import secrets
import time
from typing import Any

import pytest
import requests
from google.api_core import exceptions
from google.cloud.aiplatform_v1 import CustomJob, JobServiceClient

from tests.contract.conftest import job_client, messages
from tests.contract.servers import PARENT, Emulator, until
from tests.contract.walking import SIGNALS, all_replicas, has_ended, replicas, walking_job

DAY = 24 * 3600
A100 = "NVIDIA_TESLA_A100"


class Stage:
    """One emulator, the client, and jobs whose replicas wait for their signals."""

    def __init__(self, emulator: Emulator, image: str) -> None:
        self.emulator = emulator
        self.image = image
        self.client: JobServiceClient = job_client(emulator)
        self.tokens: dict[str, str] = {}

    def create(self, *counts: int, accelerator: str = "", stubborn: bool = False, **scheduling: Any) -> str:
        token = f"life-{secrets.token_hex(4)}"
        wanted = walking_job(
            token,
            counts or (1,),
            scheduling,
            image=self.image,
            accelerator=accelerator,
            stubborn=stubborn,
        )
        name: str = self.client.create_custom_job(parent=PARENT, custom_job=wanted).name
        self.tokens[name] = token
        return name

    def get(self, name: str) -> CustomJob:
        return self.client.get_custom_job(name=name)

    def state(self, name: str) -> str:
        return str(self.get(name).state.name).removeprefix("JOB_STATE_")

    def reaches(self, name: str, *states: str) -> CustomJob:
        until(lambda: self.state(name) in states, seconds=30)
        return self.get(name)

    def ready(self, name: str, count: int = 1) -> None:
        """All replicas run and listen to signals."""
        until(lambda: len(replicas(self.tokens[name])) == count, seconds=30)

    def end(self, name: str, code: int, task: str = "workerpool0-0") -> None:
        """End a replica and wait until it is gone."""
        process = replicas(self.tokens[name])[task]
        process.send_signal(SIGNALS[code])
        until(lambda: has_ended(process), seconds=10)

    def advance(self, seconds: int) -> None:
        self.ask("clock", {"advance": f"{seconds}s"})

    def fault(self, **fault: Any) -> str:
        return str(self.ask("faults", fault)["id"])

    def ask(self, what: str, body: dict[str, Any]) -> dict[str, Any]:
        done = requests.post(f"{self.emulator.url}/emulator/{what}", json=body, timeout=60)
        assert done.ok, done.text
        answer: dict[str, Any] = done.json()
        return answer


@pytest.fixture
def stage(twin: Emulator, base_image: str) -> Stage:
    return Stage(twin, base_image)


def test_a_week_passes_in_a_moment_and_ends_a_job_that_has_no_timeout(stage: Stage) -> None:
    """Scheduling.timeout: seven days where none is given (its description in the API)."""
    begun = time.monotonic()
    job = stage.create()
    stage.ready(job)
    stage.reaches(job, "RUNNING")
    stage.advance(7 * DAY - 10)
    assert stage.state(job) == "RUNNING"
    stage.advance(20)
    ended = stage.reaches(job, "FAILED")
    assert ended.error.code == 4
    assert (ended.end_time - ended.start_time).days == 7
    assert time.monotonic() - begun < 30
    until(lambda: all_replicas(stage.tokens[job]) == [])


def test_a_crashing_worker_is_restarted_alone_and_its_log_goes_on(stage: Stage) -> None:
    """A transient exit code restarts the worker on its machine (Google's training service documentation)."""
    job = stage.create(1, 1)
    stage.ready(job, 2)
    primary = replicas(stage.tokens[job])["workerpool0-0"].pid
    stage.end(job, 139, "workerpool1-0")
    stage.ready(job, 2)
    assert replicas(stage.tokens[job])["workerpool0-0"].pid == primary
    assert stage.state(job) == "RUNNING"
    until(lambda: messages(stage.emulator, job, "workerpool1-0") == ["ready", "ready"])
    stage.end(job, 0)
    stage.reaches(job, "SUCCEEDED")


def test_disable_retries_makes_the_first_crash_the_last(stage: Stage) -> None:
    job = stage.create(disable_retries=True)
    stage.ready(job)
    stage.end(job, 139)
    assert stage.reaches(job, "FAILED").error.code == 3


def test_a_preempted_spot_job_starts_again_and_keeps_its_first_start_time(stage: Stage) -> None:
    """Spot machines are taken with a notice; Vertex AI starts the job again (its page on Spot VMs)."""
    job = stage.create(1, 1, strategy="SPOT")
    stage.ready(job, 2)
    began = stage.reaches(job, "RUNNING").start_time
    before = {process.pid for process in replicas(stage.tokens[job]).values()}
    stage.advance(60)
    stage.fault(kind="preempt", job=job.rsplit("/", 1)[1], task="workerpool1-0")
    until(lambda: before.isdisjoint(p.pid for p in replicas(stage.tokens[job]).values()))
    stage.ready(job, 2)
    assert stage.reaches(job, "RUNNING").start_time == began
    said = " ".join(messages(stage.emulator, job, "service"))
    assert "being preempted" in said
    assert "The job is restarted" in said


def test_a_stockout_fails_the_job_and_flexible_start_waits_it_out(stage: Stage) -> None:
    fault = stage.fault(kind="stockout", accelerator=A100, times=0)
    spot = stage.create(accelerator=A100, strategy="SPOT")
    flexible = stage.create(accelerator=A100, strategy="FLEX_START", timeout="3600s")
    error = stage.reaches(spot, "FAILED").error
    assert error.code == 8
    assert "Resources are insufficient in region: us-central1" in error.message
    stage.advance(DAY - 60)
    assert stage.state(flexible) == "PENDING"
    assert requests.delete(f"{stage.emulator.url}/emulator/faults/{fault}", timeout=10).ok
    stage.advance(31)
    stage.reaches(flexible, "RUNNING")


def test_flexible_start_that_never_gets_machines_expires_after_a_day(stage: Stage) -> None:
    """Scheduling.max_wait_duration: one day where none is given (its description in the API)."""
    stage.fault(kind="stockout", times=0)
    job = stage.create(accelerator=A100, strategy="FLEX_START", timeout="3600s")
    stage.advance(DAY + 31)
    expired = stage.reaches(job, "EXPIRED")
    assert not expired.start_time


def test_quota_is_a_place_in_the_queue_or_a_429(stage: Stage) -> None:
    stage.fault(kind="quota", region="us-central1", times=1)
    job = stage.create(accelerator=A100)
    assert stage.state(job) == "QUEUED"
    stage.advance(10)
    stage.reaches(job, "RUNNING")
    stage.fault(kind="quota_exceeded", region="us-central1")
    with pytest.raises(exceptions.TooManyRequests, match="exceed quota limits"):
        stage.create(accelerator=A100)


def test_a_cancelled_job_has_its_grace_and_then_no_more(stage: Stage) -> None:
    job = stage.create(stubborn=True)
    stage.ready(job)
    stage.client.cancel_custom_job(name=job)
    assert stage.state(job) == "CANCELLING"
    stage.advance(29)
    assert stage.state(job) == "CANCELLING"
    stage.advance(2)
    stage.reaches(job, "CANCELLED")
    assert replicas(stage.tokens[job]) == {}


def test_code_can_run_before_its_job_reads_running(stage: Stage) -> None:
    stage.fault(kind="late", after=120)
    job = stage.create()
    stage.ready(job)
    assert stage.state(job) == "PENDING"
    stage.advance(120)
    stage.reaches(job, "RUNNING")


@pytest.mark.parametrize("seconds", [1, 1000])
def test_after_a_kill_the_emulator_knows_how_late_it_is(stage: Stage, seconds: int) -> None:
    """The virtual time is part of the state: it goes on where it stood."""
    stage.advance(seconds)
    before = requests.get(f"{stage.emulator.url}/emulator/clock", timeout=10).json()
    stage.emulator.kill()
    stage.emulator.start()
    assert requests.get(f"{stage.emulator.url}/emulator/clock", timeout=10).json() == before
