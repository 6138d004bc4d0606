"""The high-level Vertex AI SDK, as a user's notebook drives it: on both executors, over REST and gRPC."""

from __future__ import annotations

from typing import Any

import pytest
import requests

from tests.contract.conftest import on_both_executors
from tests.contract.programs import python
from tests.contract.servers import BUCKET, IMAGE, NUMBER, PROJECT, Emulator, until
from tests.contract.test_tuning import ARGUMENTS, BARE_REPORT, measured, values

pytestmark = pytest.mark.slow
PATIENCE = 0.1
"""Seconds between two looks at a job: the SDK's own are 5."""


emulator = on_both_executors()
"""Every test here is made twice: with processes and with containers."""


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """The client looks again after five seconds otherwise."""
    from google.cloud import aiplatform

    monkeypatch.setattr(aiplatform.jobs, "_JOB_WAIT_TIME", PATIENCE)


def pools(program: str) -> list[dict[str, Any]]:
    machine = {
        "machine_type": "n1-standard-4",
        "accelerator_type": "NVIDIA_TESLA_T4",
        "accelerator_count": 1,
    }
    container = {"image_uri": IMAGE, "command": ["python3", "-c", program]}
    return [{"machine_spec": machine, "replica_count": 1, "container_spec": container}]


def job(vertex: Any, name: str, program: str) -> Any:
    return vertex.CustomJob(display_name=name, worker_pool_specs=pools(program), labels={"made-by": "sdk"})


def test_a_job_is_submitted_watched_listed_and_deleted(vertex: Any) -> None:
    made = job(vertex, "sdk-run", "print('from the SDK')")
    made.submit(timeout=3600, restart_job_on_worker_restart=False)
    assert made.resource_name.startswith(f"projects/{NUMBER}/locations/us-central1/customJobs/")
    until(lambda: made.state.name == "JOB_STATE_SUCCEEDED", seconds=20)
    found = vertex.CustomJob.list(filter='labels.made-by="sdk"', order_by="create_time desc")
    assert made.resource_name == found[0].resource_name
    assert vertex.CustomJob.get(made.resource_name).display_name == "sdk-run"
    made.delete()
    assert vertex.CustomJob.list(filter='display_name="sdk-run"') == []


def test_a_job_is_run_beside_the_program_and_waited_for(vertex: Any) -> None:
    """`sync=False`: the SDK's own thread creates and polls it, and `wait` returns at its end."""
    made = job(vertex, "sdk-aside", "print('aside')")
    made.run(sync=False)
    made.wait()
    assert made.state.name == "JOB_STATE_SUCCEEDED"


def test_a_job_is_cancelled(vertex: Any) -> None:
    made = job(vertex, "sdk-cancel", "import time; time.sleep(60)")
    made.submit()
    until(lambda: made.state.name == "JOB_STATE_RUNNING", seconds=20)
    made.cancel()
    until(lambda: made.state.name == "JOB_STATE_CANCELLED", seconds=20)


def test_a_failed_job_raises_with_its_exit_code(vertex: Any) -> None:
    made = job(vertex, "sdk-fail", "raise SystemExit(5)")
    with pytest.raises(RuntimeError, match="non-zero status of 5"):
        made.run()
    assert made.state.name == "JOB_STATE_FAILED"


def test_a_tuning_job_is_run_to_its_end(vertex: Any) -> None:
    """Every kind of parameter the SDK has goes out, and the trials come back with values and measurements."""
    from google.cloud.aiplatform import hyperparameter_tuning as hpt

    program = "\n".join([ARGUMENTS, BARE_REPORT, "report('loss', float(given['lr']) * int(given['depth']))"])
    tuning = vertex.HyperparameterTuningJob(
        display_name="sdk-tuning",
        custom_job=vertex.CustomJob(display_name="trial", worker_pool_specs=pools(program)),
        metric_spec={"loss": "minimize"},
        parameter_spec={
            "lr": hpt.DoubleParameterSpec(min=0.001, max=1, scale="log"),
            "depth": hpt.IntegerParameterSpec(min=1, max=3, scale="linear"),
            "width": hpt.DiscreteParameterSpec(values=[16, 32], scale="linear"),
            "optimizer": hpt.CategoricalParameterSpec(values=["sgd", "adam"]),
        },
        max_trial_count=4,
        parallel_trial_count=2,
        search_algorithm="random",
        labels={"made-by": "sdk"},
    )
    tuning.run(restart_job_on_worker_restart=False, sync=True)
    assert tuning.state.name == "JOB_STATE_SUCCEEDED"
    assert len(tuning.trials) == 4
    for trial in tuning.trials:
        given = values(trial)
        assert measured(trial) == pytest.approx(given["lr"] * given["depth"])
        assert 0.001 <= given["lr"] <= 1
        assert given["width"] in (16, 32)
        assert given["optimizer"] in ("sgd", "adam")
    found = vertex.HyperparameterTuningJob.list(filter='labels.made-by="sdk"')
    assert [other.resource_name for other in found] == [tuning.resource_name]
    tuning.delete()


PROGRAM = f"""
from google.cloud import aiplatform
from google.cloud.aiplatform import hyperparameter_tuning as hpt, jobs
jobs._JOB_WAIT_TIME = {PATIENCE}
aiplatform.init(project="{PROJECT}", location="us-central1", staging_bucket="gs://{BUCKET}")

job = aiplatform.CustomJob(display_name="plain", worker_pool_specs={pools("print(1)")!r})
job.run(restart_job_on_worker_restart=False)
name, state = job.resource_name, job.state.name
job.delete()

trial = aiplatform.CustomJob(
    display_name="trial", worker_pool_specs={pools(f"{BARE_REPORT}{chr(10)}report('loss', 0.5)")!r})
tuning = aiplatform.HyperparameterTuningJob(
    display_name="plain", custom_job=trial, max_trial_count=1, parallel_trial_count=1,
    metric_spec={{"loss": "minimize"}},
    parameter_spec={{"x": hpt.DoubleParameterSpec(min=0, max=1, scale=None)}})
tuning.run()
model = aiplatform.Model.upload(display_name="plain", serving_container_image_uri="us-docker.pkg.dev/p/r/i:1")
version = model.version_id
model.delete()
print(name, state, tuning.trials[0].final_measurement.metrics[0].value, version)
print(type(aiplatform.CustomJob._empty_constructor().api_client.select_version("v1").transport).__name__)
"""


def test_with_nothing_but_project_and_location_it_speaks_grpc_and_works(emulator: Emulator) -> None:
    """No endpoint, transport or credentials are given; jobs, trials and a model's operation come back."""
    *_, line, transport = python(emulator, PROGRAM)
    name, *rest = line.split()
    assert name.startswith(f"projects/{NUMBER}/locations/us-central1/customJobs/")
    assert rest == ["JOB_STATE_SUCCEEDED", "0.5", "1"]
    assert transport == "JobServiceGrpcTransport"
    assert requests.get(f"{emulator.url}/aiplatform/v1/{name}", timeout=5).status_code == 404
