"""gcloud with its own endpoints: the variables of the transparent way are all that is set."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from google.cloud.storage import Blob

from tests.contract.command_line import NEEDS_GCLOUD, QUIET, REGION
from tests.contract.conftest import storage_client
from tests.contract.programs import variables
from tests.contract.servers import BUCKET, IMAGE, NUMBER, PROJECT, Emulator, until

pytestmark = NEEDS_GCLOUD


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


WAITS = f"""
import os, time, urllib.request
print('first line', flush=True)
url = os.environ['URL'] + '/storage/v1/b/{BUCKET}/o/builds%2Fgo'
for _ in range(600):
    try:
        urllib.request.urlopen(url)
        break
    except OSError:
        time.sleep(0.1)
print('last line', flush=True)
"""


@pytest.fixture(params=["process", pytest.param("docker", marks=pytest.mark.docker)])
def builder(request: pytest.FixtureRequest) -> Emulator:
    """An emulator of each executor in turn."""
    found: Emulator = request.getfixturevalue("emulator" if request.param == "process" else "docker_emulator")
    return found


@pytest.fixture
def go(builder: Emulator) -> Iterator[Blob]:
    """An object for which a build waits."""
    blob = storage_client(builder).bucket(BUCKET).blob("builds/go")
    yield blob
    if blob.exists():
        blob.delete()


def test_a_builds_log_is_shown_while_it_runs_and_later(builder: Emulator, go: Blob, tmp_path: Path) -> None:
    """`builds submit` and `builds log` as they are, which read log-ID.txt from storage.googleapis.com."""
    (tmp_path / "wait.py").write_text(WAITS)
    step = {"name": IMAGE, "entrypoint": "python3", "args": ["wait.py"], "env": [f"URL={builder.url}"]}
    config = tmp_path / "cloudbuild.json"
    config.write_text(json.dumps({"steps": [step]}))
    words = ["gcloud", "builds", "submit", str(tmp_path), f"--config={config}", "--format=value(id)"]
    shown = tmp_path.with_suffix(".shown")
    with shown.open("w") as output:
        env = variables(builder) | QUIET | {"PYTHONUNBUFFERED": "1"}  # as on a terminal
        submitted = subprocess.Popen(words, env=env, stdout=output, stderr=subprocess.STDOUT)
        try:
            until(lambda: "first line" in shown.read_text() or submitted.poll() is not None, seconds=90)
            assert submitted.poll() is None, shown.read_text()
            assert "last line" not in shown.read_text()
            go.upload_from_string("go")
            assert submitted.wait(90) == 0, shown.read_text()
        finally:
            submitted.kill()
            submitted.wait()
    assert "last line" in shown.read_text()
    log = gcloud(builder, "builds", "log", shown.read_text().split()[-1])
    assert log.index("first line") < log.index("last line")
