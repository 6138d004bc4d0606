"""`gcloud ai hp-tuning-jobs` as it is, wired by environment variables alone."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
from google.cloud.aiplatform_v1 import JobServiceClient

from tests.contract.conftest import log_lines
from tests.contract.servers import Emulator, until
from tests.contract.test_gcloud import REGION, Gcloud
from tests.contract.test_tuning import ARGUMENTS, REPORT, finished

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(shutil.which("gcloud") is None, reason="gcloud is not installed"),
]
HP = ("ai", "hp-tuning-jobs")


@pytest.fixture(scope="session")
def gcloud(emulator: Emulator, tmp_path_factory: pytest.TempPathFactory) -> Gcloud:
    return Gcloud(emulator, tmp_path_factory.mktemp("gcloud-tuning"))


def config(folder: Path, *program: str, **fields: Any) -> Path:
    """A file as --config takes it."""
    container = {"imageUri": "trainer", "command": ["python3", "-u", "-c", "\n".join([ARGUMENTS, *program])]}
    pool = {"machineSpec": {"machineType": "n1-standard-4"}, "replicaCount": 1, "containerSpec": container}
    parameter = {"parameterId": "units", "discreteValueSpec": {"values": [16, 32]}}
    study = {"metrics": [{"metricId": "accuracy", "goal": "MAXIMIZE"}], "parameters": [parameter]}
    path = folder / "tuning.yaml"
    path.write_text(json.dumps({"studySpec": study, "trialJobSpec": {"workerPoolSpecs": [pool]}, **fields}))
    return path


def test_a_job_is_created_described_and_listed(
    gcloud: Gcloud, jobs: JobServiceClient, tmp_path: Path
) -> None:
    file = config(tmp_path, REPORT, "report('accuracy', int(given['units']) / 64)")
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


def test_a_job_is_cancelled_and_its_log_has_those_of_its_trials(
    gcloud: Gcloud, jobs: JobServiceClient, emulator: Emulator, tmp_path: Path
) -> None:
    file = config(tmp_path, "import time; print('hello', flush=True); time.sleep(60)")
    name = gcloud.json(
        *HP, "create", REGION, "--display-name=long", f"--config={file}", "--max-trial-count=3"
    )["name"]
    until(lambda: "hello" in str(log_lines(emulator, name)))
    gcloud(*HP, "cancel", name, REGION)
    assert finished(jobs, name).state.name == "JOB_STATE_CANCELLED"
    log = gcloud(*HP, "stream-logs", name, REGION, "--polling-interval=1")
    assert "Trial 1 runs as custom job" in log
    assert "hello" in log
