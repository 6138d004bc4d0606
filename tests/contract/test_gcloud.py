"""Google's command line against the emulator, wired by environment variables alone."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
from google.cloud.aiplatform_v1 import JobServiceClient

from tests.contract.conftest import custom_job
from tests.contract.servers import BUCKET, PARENT, PROJECT, Emulator
from tests.contract.test_custom_jobs import finished, running

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(shutil.which("gcloud") is None, reason="gcloud is not installed"),
]


class Gcloud:
    """Runs `gcloud` with every API pointed at the emulator."""

    def __init__(self, emulator: Emulator, folder: Path) -> None:
        overrides = {
            "AIPLATFORM": f"{emulator.url}/aiplatform/",
            "CLOUDBUILD": f"{emulator.url}/cloudbuild/",
            "LOGGING": f"{emulator.url}/logging/",
            "SECRETMANAGER": f"{emulator.url}/secretmanager/",
            "STORAGE": f"{emulator.url}/storage/v1/",
        }
        self._env = {
            "PATH": os.environ["PATH"],
            "HOME": str(folder),
            "CLOUDSDK_CONFIG": str(folder / "gcloud"),
            "CLOUDSDK_AUTH_DISABLE_CREDENTIALS": "true",
            "CLOUDSDK_CORE_PROJECT": PROJECT,
            "CLOUDSDK_CORE_DISABLE_PROMPTS": "1",
            "CLOUDSDK_CORE_DISABLE_USAGE_REPORTING": "true",
            "CLOUDSDK_COMPONENT_MANAGER_DISABLE_UPDATE_CHECK": "true",
            **{f"CLOUDSDK_API_ENDPOINT_OVERRIDES_{api}": url for api, url in overrides.items()},
        }

    def __call__(self, *words: str) -> str:
        done = subprocess.run(
            ["gcloud", *words], env=self._env, capture_output=True, text=True, timeout=120, check=False
        )
        assert done.returncode == 0, done.stderr
        return done.stdout

    def json(self, *words: str) -> Any:
        return json.loads(self(*words, "--format=json"))


@pytest.fixture(scope="session")
def gcloud(emulator: Emulator, tmp_path_factory: pytest.TempPathFactory) -> Gcloud:
    return Gcloud(emulator, tmp_path_factory.mktemp("gcloud"))


REGION = "--region=us-central1"


def test_a_job_is_created_described_and_listed(
    gcloud: Gcloud, jobs: JobServiceClient, tmp_path: Path
) -> None:
    pool = {
        "machineSpec": {
            "machineType": "g2-standard-8",
            "acceleratorType": "NVIDIA_L4",
            "acceleratorCount": 1,
        },
        "replicaCount": 1,
        "containerSpec": {"imageUri": "trainer", "command": ["python3", "-c", "print('gcloud')"]},
    }
    config = tmp_path / "job.yaml"
    config.write_text(json.dumps({"workerPoolSpecs": [pool], "scheduling": {"strategy": "SPOT"}}))
    labels = "--labels=made-by=gcloud"
    words = ("ai", "custom-jobs", "create", REGION, "--display-name=by-gcloud", f"--config={config}", labels)
    name = gcloud.json(*words)["name"]
    finished(jobs, name)
    described = gcloud.json("ai", "custom-jobs", "describe", name, REGION)
    assert (described["displayName"], described["state"]) == ("by-gcloud", "JOB_STATE_SUCCEEDED")
    assert described["jobSpec"]["scheduling"]["strategy"] == "SPOT"
    listed = gcloud.json("ai", "custom-jobs", "list", REGION, "--filter=labels.made-by=gcloud")
    assert [job["name"] for job in listed] == [name]


def test_a_job_is_cancelled(gcloud: Gcloud, jobs: JobServiceClient) -> None:
    job = running(jobs, custom_job("import time", "time.sleep(60)"))
    gcloud("ai", "custom-jobs", "cancel", job.name, REGION)
    assert finished(jobs, job.name).state.name == "JOB_STATE_CANCELLED"


def test_the_log_of_a_finished_job_is_streamed(gcloud: Gcloud, jobs: JobServiceClient) -> None:
    job = finished(jobs, jobs.create_custom_job(parent=PARENT, custom_job=custom_job("print('seen')")).name)
    assert "seen" in gcloud("ai", "custom-jobs", "stream-logs", job.name, REGION, "--polling-interval=2")


def test_objects_are_copied_listed_moved_and_removed(gcloud: Gcloud, tmp_path: Path) -> None:
    folder = tmp_path / "tree"
    (folder / "sub").mkdir(parents=True)
    for name in ("a.txt", "sub/b.txt"):
        (folder / name).write_text(name)
    root = f"gs://{BUCKET}/gcloud"
    gcloud("storage", "cp", "-r", str(folder), f"{root}/")
    assert gcloud("storage", "ls", "-r", f"{root}/**").split() == [
        f"{root}/tree/a.txt",
        f"{root}/tree/sub/b.txt",
    ]
    assert gcloud("storage", "cat", f"{root}/tree/a.txt") == "a.txt"
    gcloud("storage", "mv", f"{root}/tree/a.txt", f"{root}/moved.txt")
    gcloud("storage", "cp", f"{root}/moved.txt", str(tmp_path / "back.txt"))
    assert (tmp_path / "back.txt").read_text() == "a.txt"
    gcloud("storage", "rm", "-r", f"{root}/**")
    assert f"{root}/" not in gcloud("storage", "ls", f"gs://{BUCKET}").split()


def test_builds_and_secrets_are_seen(gcloud: Gcloud, tmp_path: Path) -> None:
    value = tmp_path / "value"
    value.write_text("hush")
    gcloud("secrets", "create", "by-gcloud", f"--data-file={value}")
    assert gcloud("secrets", "versions", "access", "latest", "--secret=by-gcloud") == "hush"
    assert isinstance(gcloud.json("builds", "list"), list)
