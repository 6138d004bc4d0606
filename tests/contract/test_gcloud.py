"""`gcloud ai custom-jobs` as it is, on both executors, wired by environment variables alone."""

from __future__ import annotations

import json
from pathlib import Path

from google.cloud.aiplatform_v1 import JobServiceClient

from tests.contract.command_line import NEEDS_GCLOUD, REGION, Gcloud
from tests.contract.conftest import custom_job, on_both_executors
from tests.contract.servers import IMAGE
from tests.contract.test_custom_jobs import finished, running

pytestmark = NEEDS_GCLOUD
CUSTOM = ("ai", "custom-jobs")


emulator = on_both_executors()
"""Every test here is made twice: with processes and with containers."""


def test_a_job_is_created_described_and_listed_and_its_log_is_streamed(
    gcloud: Gcloud, jobs: JobServiceClient, tmp_path: Path
) -> None:
    """`create`, `describe`, `list` and `stream-logs`: a config file goes in, states and lines come out."""
    machine = {"machineType": "g2-standard-8", "acceleratorType": "NVIDIA_L4", "acceleratorCount": 1}
    program = "import sys; print('seen'); print('wrong', file=sys.stderr)"
    container = {"imageUri": IMAGE, "command": ["python3", "-c", program]}
    pool = {"machineSpec": machine, "replicaCount": 1, "containerSpec": container}
    config = tmp_path / "job.yaml"
    config.write_text(json.dumps({"workerPoolSpecs": [pool], "scheduling": {"strategy": "SPOT"}}))
    label = f"made-by={tmp_path.name.lower()[-60:]}"
    words = ("create", REGION, "--display-name=by-gcloud", f"--config={config}", f"--labels={label}")
    name = gcloud.json(*CUSTOM, *words)["name"]
    finished(jobs, name)
    described = gcloud.json(*CUSTOM, "describe", name, REGION)
    assert (described["displayName"], described["state"]) == ("by-gcloud", "JOB_STATE_SUCCEEDED")
    assert described["jobSpec"]["scheduling"]["strategy"] == "SPOT"
    listed = gcloud.json(*CUSTOM, "list", REGION, f"--filter=labels.{label}")
    assert [job["name"] for job in listed] == [name]
    streamed = gcloud(*CUSTOM, "stream-logs", name, REGION, "--polling-interval=1")
    lines = [line.split() for line in streamed.splitlines() if line]
    severities = {line[-1]: line[0] for line in lines}
    assert (severities["seen"], severities["wrong"]) == ("INFO", "ERROR")


def test_a_job_is_cancelled(gcloud: Gcloud, jobs: JobServiceClient) -> None:
    job = running(jobs, custom_job("import time", "time.sleep(60)"))
    gcloud(*CUSTOM, "cancel", job.name, REGION)
    assert finished(jobs, job.name).state.name == "JOB_STATE_CANCELLED"
