"""The high-level Vertex AI SDK, as a user's notebook drives it."""

from __future__ import annotations

from typing import Any

import pytest
from google.auth.credentials import AnonymousCredentials

from tests.contract.servers import BUCKET, NUMBER, PROJECT, Emulator, until

pytestmark = pytest.mark.slow


@pytest.fixture
def vertex(emulator: Emulator) -> Any:
    from google.cloud import aiplatform

    aiplatform.init(
        project=PROJECT,
        location="us-central1",
        staging_bucket=f"gs://{BUCKET}",
        api_endpoint=f"{emulator.url}/aiplatform",
        api_transport="rest",
        credentials=AnonymousCredentials(),
    )
    return aiplatform


def job(vertex: Any, name: str, program: str) -> Any:
    pool = {
        "machine_spec": {
            "machine_type": "n1-standard-4",
            "accelerator_type": "NVIDIA_TESLA_T4",
            "accelerator_count": 1,
        },
        "replica_count": 1,
        "container_spec": {"image_uri": "trainer", "command": ["python3", "-c", program]},
    }
    return vertex.CustomJob(display_name=name, worker_pool_specs=[pool], labels={"made-by": "sdk"})


def test_a_job_is_submitted_watched_listed_and_deleted(vertex: Any) -> None:
    made = job(vertex, "sdk-run", "print('from the SDK')")
    made.submit(timeout=3600, restart_job_on_worker_restart=False)
    assert made.resource_name.startswith(f"projects/{NUMBER}/locations/us-central1/customJobs/")
    until(lambda: made.state.name == "JOB_STATE_SUCCEEDED", seconds=20)
    found = vertex.CustomJob.list(filter='labels.made-by="sdk"', order_by="create_time desc")
    assert [other.resource_name for other in found] == [made.resource_name]
    assert vertex.CustomJob.get(made.resource_name).display_name == "sdk-run"
    made.delete()
    assert vertex.CustomJob.list(filter='display_name="sdk-run"') == []


def test_a_job_is_cancelled(vertex: Any) -> None:
    made = job(vertex, "sdk-cancel", "import time; time.sleep(60)")
    made.submit()
    until(lambda: made.state.name == "JOB_STATE_RUNNING", seconds=20)
    made.cancel()
    until(lambda: made.state.name == "JOB_STATE_CANCELLED", seconds=20)


def test_a_failed_job_raises_with_its_exit_code(vertex: Any) -> None:
    made = job(vertex, "sdk-fail", "raise SystemExit(5)")
    made.submit()
    until(lambda: made.state.name == "JOB_STATE_FAILED", seconds=20)
    with pytest.raises(RuntimeError, match="non-zero status of 5"):
        made._block_until_complete()
