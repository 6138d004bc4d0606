"""`gcloud ai hp-tuning-jobs` as it is, on both executors, wired by environment variables alone."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from google.cloud.aiplatform_v1 import JobServiceClient

from tests.contract.command_line import NEEDS_GCLOUD, REGION, Gcloud
from tests.contract.conftest import log_lines, on_both_executors
from tests.contract.servers import IMAGE, Emulator, until
from tests.contract.test_tuning import ARGUMENTS, BARE_REPORT, finished

pytestmark = NEEDS_GCLOUD
HP = ("ai", "hp-tuning-jobs")


emulator = on_both_executors()
"""Every test here is made twice: with processes and with containers."""


def config(folder: Path, *program: str, **fields: Any) -> Path:
    """A file as --config takes it."""
    container = {"imageUri": IMAGE, "command": ["python3", "-u", "-c", "\n".join([ARGUMENTS, *program])]}
    pool = {"machineSpec": {"machineType": "n1-standard-4"}, "replicaCount": 1, "containerSpec": container}
    parameter = {"parameterId": "units", "discreteValueSpec": {"values": [16, 32]}}
    study = {"metrics": [{"metricId": "accuracy", "goal": "MAXIMIZE"}], "parameters": [parameter]}
    path = folder / "tuning.yaml"
    path.write_text(json.dumps({"studySpec": study, "trialJobSpec": {"workerPoolSpecs": [pool]}, **fields}))
    return path


def test_a_job_is_created_described_and_listed(
    gcloud: Gcloud, jobs: JobServiceClient, tmp_path: Path
) -> None:
    file = config(tmp_path, BARE_REPORT, "report('accuracy', int(given['units']) / 64)")
    words = ("create", REGION, "--display-name=by-gcloud", f"--config={file}", "--labels=made-by=gcloud")
    counts = ("--max-trial-count=5", "--parallel-trial-count=2", "--algorithm=grid-search")
    name = gcloud.json(*HP, *words, *counts)["name"]
    finished(jobs, name)
    described = gcloud.json(*HP, "describe", name, REGION)
    assert (described["state"], described["studySpec"]["algorithm"]) == ("JOB_STATE_SUCCEEDED", "GRID_SEARCH")
    results = [(trial["parameters"], trial["finalMeasurement"]["metrics"]) for trial in described["trials"]]
    assert results == [
        ([{"parameterId": "units", "value": 16}], [{"metricId": "accuracy", "value": 0.25}]),
        ([{"parameterId": "units", "value": 32}], [{"metricId": "accuracy", "value": 0.5}]),
    ]
    listed = gcloud.json(*HP, "list", REGION, "--filter=labels.made-by=gcloud")
    assert [job["name"] for job in listed] == [name]


def test_a_job_is_cancelled(
    gcloud: Gcloud, jobs: JobServiceClient, emulator: Emulator, tmp_path: Path
) -> None:
    """What its trials wrote until then is in the log of the job."""
    file = config(tmp_path, "import time; print('hello', flush=True); time.sleep(60)")
    name = gcloud.json(
        *HP, "create", REGION, "--display-name=long", f"--config={file}", "--max-trial-count=3"
    )["name"]
    until(lambda: "hello" in str(log_lines(emulator, name)))
    gcloud(*HP, "cancel", name, REGION)
    assert finished(jobs, name).state.name == "JOB_STATE_CANCELLED"
    assert "Trial 1 runs as custom job" in str(log_lines(emulator, name))
