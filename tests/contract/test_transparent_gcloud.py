"""gcloud with its own endpoints: the variables of the transparent way are all that is set."""

from __future__ import annotations

import json
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest

from tests.contract.programs import variables
from tests.contract.servers import BUCKET, NUMBER, PROJECT, Emulator, until

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(shutil.which("gcloud") is None, reason="gcloud is not installed"),
]
QUIET = {
    "CLOUDSDK_CORE_DISABLE_PROMPTS": "1",
    "CLOUDSDK_CORE_DISABLE_USAGE_REPORTING": "true",
    "CLOUDSDK_COMPONENT_MANAGER_DISABLE_UPDATE_CHECK": "true",
}
REGION = "--region=us-central1"


def gcloud(emulator: Emulator, *words: str) -> str:
    """What the command prints."""
    env = variables(emulator) | QUIET
    done = subprocess.run(
        ["gcloud", *words], env=env, capture_output=True, text=True, timeout=120, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def document(emulator: Emulator, *words: str) -> Any:
    return json.loads(gcloud(emulator, *words, "--format=json"))


def test_a_custom_job_is_created_and_listed(emulator: Emulator, tmp_path: Path) -> None:
    """On the region's own host, us-central1-aiplatform.googleapis.com."""
    config = tmp_path / "job.yaml"
    config.write_text(
        "workerPoolSpecs:\n"
        "- machineSpec: {machineType: n1-standard-4}\n"
        "  replicaCount: 1\n"
        "  containerSpec: {imageUri: trainer, command: [python3, -c, 'print(1)']}\n"
    )
    words = ("ai", "custom-jobs", "create", REGION, "--display-name=transparent", f"--config={config}")
    name = document(emulator, *words)["name"]
    listed = document(emulator, "ai", "custom-jobs", "list", REGION, "--filter=displayName=transparent")
    assert [job["name"] for job in listed] == [name]


def test_a_project_is_described(emulator: Emulator) -> None:
    """Resource Manager's v1, which gcloud uses."""
    found = document(emulator, "projects", "describe", PROJECT)
    assert (found["projectId"], found["projectNumber"]) == (PROJECT, NUMBER)


def test_objects_are_copied_and_listed(emulator: Emulator, tmp_path: Path) -> None:
    """On storage.googleapis.com."""
    (tmp_path / "a.txt").write_text("a")
    gcloud(emulator, "storage", "cp", str(tmp_path / "a.txt"), f"gs://{BUCKET}/through/a.txt")
    assert f"gs://{BUCKET}/" in gcloud(emulator, "storage", "ls")
    assert gcloud(emulator, "storage", "cat", f"gs://{BUCKET}/through/a.txt") == "a"


@pytest.mark.docker
def test_a_builds_log_is_shown_while_it_runs(
    docker_emulator: Emulator, base_image: str, tmp_path: Path
) -> None:
    """`gcloud builds submit` as it is: it reads log-ID.txt by ranges from storage.googleapis.com."""
    source, go = tmp_path / "source", "gs://contract/builds/go"
    source.mkdir()
    waits = (
        "import os, time, urllib.request\n"
        "print('first line', flush=True)\n"
        f"url = os.environ['URL'] + '/storage/v1/b/{BUCKET}/o/builds%2Fgo'\n"
        "for _ in range(600):\n"
        "    try:\n"
        "        urllib.request.urlopen(url)\n"
        "        break\n"
        "    except OSError:\n"
        "        time.sleep(0.1)\n"
        "print('last line', flush=True)\n"
    )
    (source / "wait.py").write_text(waits)
    step = {"name": base_image, "args": ["python3", "wait.py"], "env": [f"URL={docker_emulator.url}"]}
    (source / "cloudbuild.json").write_text(json.dumps({"steps": [step]}))
    words = ["gcloud", "builds", "submit", str(source), f"--config={source / 'cloudbuild.json'}"]
    shown = tmp_path / "shown"
    with shown.open("w") as output:
        env = variables(docker_emulator) | QUIET | {"PYTHONUNBUFFERED": "1"}  # as on a terminal
        submitted = subprocess.Popen(words, env=env, stdout=output, stderr=subprocess.STDOUT)
        try:
            until(lambda: "first line" in shown.read_text() or submitted.poll() is not None, seconds=90)
            assert submitted.poll() is None, shown.read_text()
            assert "last line" not in shown.read_text()
            (tmp_path / "go").write_text("go")
            gcloud(docker_emulator, "storage", "cp", str(tmp_path / "go"), go)
            assert submitted.wait(90) == 0, shown.read_text()
        finally:
            submitted.kill()
            submitted.wait()
    assert "last line" in shown.read_text()
