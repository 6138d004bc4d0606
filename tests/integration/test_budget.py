"""A budget holds by itself: the job that was asked for ends at the time its money pays for, whoever watches.

The launcher is a process of its own here, which is killed when its job runs; the emulator's clock is virtual.
"""

from __future__ import annotations

import json
import secrets
import signal
import subprocess
import sys
from collections.abc import Iterator
from datetime import UTC, timedelta
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
import requests
from google.cloud.aiplatform_v1 import CustomJob

from headway.cloud import vertex
from headway.cloud.services import Services
from headway.jobs import listing
from headway.jobs.attempts import obtain
from headway.jobs.progress import Silent
from headway.jobs.run import Run
from headway.spec.cost import Cost, cost
from headway.spec.job import JobSpec
from headway.spec.layout import LABEL_RUN
from headway.spec.place import Place
from headway.spec.plan import CodePin, ImagePin, Plan, make_plan
from headway_emulator.testing import Faults
from tests.contract.servers import PROJECT, Emulator, until
from tests.contract.test_job_life import Stage
from tests.contract.walking import PROGRAM, all_replicas, replicas

LAUNCHER = """
import json, sys, time
from headway.cloud.services import Services
from headway.spec.place import Place
jobs = Services(Place.model_validate_json(sys.argv[1])).jobs("us-central1")
job = jobs.create(json.loads(sys.argv[2]))
print(job.name, flush=True)
while True:
    jobs.get(job.name)
    time.sleep(0.1)
"""
BUDGET = 10.0


def bucket(emulator: Emulator) -> str:
    """Each emulator's own, for all share one storage server: a claim of one must not be another's."""
    return f"budgets-{urlsplit(emulator.url).port}"


def place(emulator: Emulator) -> Place:
    return Place(
        profile="twin",
        project=PROJECT,
        region="us-central1",
        bucket=bucket(emulator),
        dvc_remote=f"gs://{bucket(emulator)}/dvc",
        tracking_uri="http://127.0.0.1:1",
        endpoints={"aiplatform": f"{emulator.url}/aiplatform", "storage": emulator.url},
        credentials="anonymous",
    )


def plan(emulator: Emulator, **resources: Any) -> Plan:
    """A run that may cost ten dollars, on a GPU that costs some dollars an hour."""
    described = {"name": "dear", "entrypoint": "train.py", "resources": {"gpu": "a100", **resources}}
    return make_plan(
        JobSpec.model_validate({**described, "limits": {"budget": BUDGET}}),
        place(emulator),
        code=CodePin(digest="c" * 64, files=1, size=1),
        image=ImagePin(digest="e" * 64, base="python:3.11-slim", uri="image"),
        data=[],
    )


@pytest.fixture
def stage(twin: Emulator, base_image: str) -> Stage:
    return Stage(twin, base_image)


@pytest.fixture
def launched(stage: Stage, tmp_path: Path) -> Iterator[Any]:
    """Starts a launcher of a plan, whose job trains for ever; gives the process and the job's name."""
    started: list[subprocess.Popen[str]] = []

    def launch(planned: Plan) -> tuple[subprocess.Popen[str], str]:
        token, body = f"dear-{secrets.token_hex(4)}", vertex.render(planned)
        for number, pool in enumerate(body["jobSpec"]["workerPoolSpecs"]):
            command = {"imageUri": stage.image, "command": ["python3", "-c", PROGRAM]}
            pool["containerSpec"] = {**command, "args": [token, f"pool{number}"]}
        words = [sys.executable, "-c", LAUNCHER, place(stage.emulator).model_dump_json(), json.dumps(body)]
        process = subprocess.Popen(words, stdout=subprocess.PIPE, text=True, cwd=tmp_path)
        started.append(process)
        assert process.stdout is not None
        name = process.stdout.readline().strip()
        stage.tokens[name] = token
        return process, name

    yield launch
    for process in started:
        process.kill()
        process.wait(timeout=10)
        if process.stdout is not None:
            process.stdout.close()


def spent(planned: Plan, job: CustomJob) -> Cost:
    at = planned.candidates[0]
    found = cost(
        planned,
        region=at.region,
        machine=at.type,
        accelerator=at.accelerator,
        count=at.accelerator_count,
        started=job.start_time.replace(tzinfo=UTC),
        ended=job.end_time.replace(tzinfo=UTC),
    )
    assert found is not None
    return found


def test_the_budget_ends_a_job_that_would_overrun_though_its_launcher_was_killed(
    stage: Stage, launched: Any
) -> None:
    """The cap travels with the job as Scheduling.timeout: no process of ours is needed to keep it."""
    planned = plan(stage.emulator)
    launcher, job = launched(planned)
    stage.ready(job)
    stage.reaches(job, "RUNNING")
    launcher.send_signal(signal.SIGKILL)
    assert launcher.wait(timeout=10) == -signal.SIGKILL

    stage.advance(planned.timeout_s - 60)
    assert stage.state(job) == "RUNNING"
    stage.advance(90)
    ended = stage.reaches(job, "FAILED")
    assert ended.error.code == 4
    assert spent(planned, ended).spent_usd == pytest.approx(BUDGET, rel=0.01)
    until(lambda: all_replicas(stage.tokens[job]) == [])


def test_a_job_that_is_taken_and_started_again_has_one_budget_for_all_of_it(
    stage: Stage, launched: Any
) -> None:
    """Two nodes on spot machines, preempted halfway: the clock of the budget goes on."""
    planned = plan(stage.emulator, nodes=2, spot=True)
    launcher, job = launched(planned)
    stage.ready(job, 2)
    stage.reaches(job, "RUNNING")
    launcher.kill()
    before = {process.pid for process in replicas(stage.tokens[job]).values()}
    stage.advance(planned.timeout_s // 2)
    stage.fault(kind="preempt", job=job.rsplit("/", 1)[1], task="workerpool1-0")
    until(lambda: before.isdisjoint(p.pid for p in replicas(stage.tokens[job]).values()))
    stage.ready(job, 2)
    stage.advance(planned.timeout_s // 2 + 120)
    ended = stage.reaches(job, "FAILED")
    assert ended.end_time - ended.start_time <= timedelta(seconds=planned.timeout_s + 30)
    assert spent(planned, ended).spent_usd <= BUDGET * 1.01


class Walkers(Services):
    """Jobs whose replicas run the test's own program, marked by a token, whatever the plan's image is."""

    def __init__(self, place: Place, image: str, token: str) -> None:
        super().__init__(place)
        self._container = {"imageUri": image, "command": ["python3", "-c", PROGRAM]}
        self._token = token

    def jobs(self, region: str) -> vertex.CustomJobs:
        jobs, send = super().jobs(region), vertex.CustomJobs.create

        def create(body: dict[str, Any]) -> vertex.Job:
            for number, pool in enumerate(body["jobSpec"]["workerPoolSpecs"]):
                pool["containerSpec"] = {**self._container, "args": [self._token, f"pool{number}"]}
            return send(jobs, body)

        jobs.create = create  # type: ignore[method-assign]
        return jobs


REGIONS = ["us-central1", "asia-southeast1", "europe-west4"]


def test_a_budget_is_spent_once_over_refusals_a_stockout_replicas_and_a_restart(stage: Stage) -> None:
    """Refused in the first region, no machines in the second; in the third two nodes, taken halfway."""
    planned = plan(stage.emulator, nodes=2, spot=True, regions=REGIONS)
    token = f"dear-{secrets.token_hex(4)}"
    services = Walkers(place(stage.emulator), stage.image, token)
    requests.post(
        f"{stage.emulator.url}/storage/v1/b?project={PROJECT}",
        json={"name": bucket(stage.emulator)},
        timeout=10,
    )
    refusal = stage.fault(kind="quota_exceeded", region=REGIONS[0])
    shortage = stage.fault(kind="stockout", region=REGIONS[1])

    _, short = obtain(planned, services, Silent(), take=True)
    assert short.region == REGIONS[1]
    stage.advance(600)
    stage.reaches(short.name, "FAILED")
    stage.advance(3600)  # nobody looked for an hour, which costs nothing
    _, job = obtain(planned, services, Silent())
    assert job.region == REGIONS[2]
    stage.tokens[job.name] = token
    stage.ready(job.name, 2)
    stage.reaches(job.name, "RUNNING")
    before = {process.pid for process in replicas(token).values()}
    stage.advance(planned.timeout_s // 2)
    stage.fault(kind="preempt", job=job.job_id, task="workerpool0-0")
    until(lambda: before.isdisjoint(process.pid for process in replicas(token).values()))
    stage.ready(job.name, 2)
    stage.advance(planned.timeout_s // 2 + 120)
    stage.reaches(job.name, "FAILED")

    view = Run(planned, services).view()
    assert [attempt.state for attempt in view.attempts] == ["refused", "stockout", "created"]
    fired = [entry["fault"] for entry in Faults(stage.emulator.url).fired()]
    assert [fault for fault in fired if fault in (refusal, shortage)] == [refusal, shortage]
    assert view.cost is not None
    here = planned.candidates[2].usd_hour
    assert here is not None
    assert view.cost.usd_hour == here
    assert view.cost.spent_usd == pytest.approx(here * planned.timeout_s / 3600, rel=0.01)
    assert view.cost.spent_usd <= BUDGET * 1.01
    assert view.cost.left_usd == pytest.approx(BUDGET - view.cost.spent_usd, abs=0.001)
    # all jobs of the run carry the one cap, and together they cost what is told of the run
    made = [each for region in REGIONS for each in services.jobs(region).labelled(LABEL_RUN, planned.run_id)]
    assert len(made) == 2
    assert sum(usd(Run(planned, services, job=each)) for each in made) == view.cost.spent_usd
    assert {stage.get(each.name).job_spec.scheduling.timeout.seconds for each in made} == {planned.timeout_s}
    listed = listing.runs(place(stage.emulator))
    assert [(each.run_id, each.cost) for each in listed] == [(planned.run_id, view.cost)]


def usd(run: Run) -> float:
    told = run.view().cost
    assert told is not None
    return told.spent_usd
