"""The emulator without the rest of Headway: from its wheel with its own extra alone, and as an image."""

from __future__ import annotations

import json
import os
import secrets
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest
import requests

from tests.contract.conftest import custom_job
from tests.contract.servers import free_port, until

ROOT = Path(__file__).parents[2]
PARENT = "v1/projects/headway-local/locations/us-central1"


def run(*words: str | Path, cwd: Path = ROOT) -> str:
    done = subprocess.run(
        [str(word) for word in words], cwd=cwd, capture_output=True, text=True, timeout=500, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def extras() -> list[str]:
    document = tomllib.loads((ROOT / "pyproject.toml").read_text())
    found: list[str] = document["project"]["optional-dependencies"]["emulator"]
    return found


def runs_a_job(url: str) -> bool:
    """Whether a job's process does what it is told, seen from outside."""
    pool = custom_job("print('seen')")["job_spec"]["worker_pool_specs"][0]
    spec = {
        "machineSpec": {"machineType": pool["machine_spec"]["machine_type"]},
        "replicaCount": 1,
        "containerSpec": {"imageUri": "any", "command": pool["container_spec"]["command"]},
    }
    body = {"displayName": "packaged", "jobSpec": {"workerPoolSpecs": [spec]}}
    made = requests.post(f"{url}/{PARENT}/customJobs", json=body, timeout=10)
    made.raise_for_status()
    name = made.json()["name"]

    def state() -> str:
        return str(requests.get(f"{url}/v1/{name}", timeout=10).json()["state"])

    until(lambda: state() not in ("JOB_STATE_QUEUED", "JOB_STATE_PENDING", "JOB_STATE_RUNNING"))
    return state() == "JOB_STATE_SUCCEEDED"


@pytest.mark.slow
def test_its_wheel_starts_with_nothing_installed_but_its_own_extra(tmp_path: Path) -> None:
    pip = [sys.executable, "-m", "pip", "--disable-pip-version-check", "-q"]
    run(*pip, "wheel", "--no-deps", "--no-build-isolation", "--wheel-dir", tmp_path, ROOT)
    (wheel,) = tmp_path.glob("headway-*.whl")
    run(sys.executable, "-m", "venv", tmp_path / "venv")
    python = tmp_path / "venv" / "bin" / "python"
    inside = [str(python), "-m", "pip", "--disable-pip-version-check"]
    run(*inside, "install", "--constraint", ROOT / "constraints.txt", *extras())
    run(*inside, "install", "--no-deps", wheel)
    installed = {one["name"] for one in json.loads(run(*inside, "list", "--format", "json"))}
    assert not {"typer", "mlflow", "dvc", "pandas", "pydantic", "google-cloud-storage"} & installed
    program = (
        "import sys, headway_emulator.testing as t\n"
        "with t.emulator() as gcp:\n"
        "    print(gcp.bucket('bucket'), gcp.url, flush=True)\n"
        "    sys.stdin.readline()\n"
    )
    child = subprocess.Popen(
        [python, "-c", program],
        cwd=tmp_path,
        env={name: value for name, value in os.environ.items() if name != "PYTHONPATH"},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        assert child.stdout is not None
        bucket, url = child.stdout.readline().split()
        assert bucket == "gs://bucket"
        assert runs_a_job(url)
    finally:
        child.communicate("\n", timeout=30)
    assert child.returncode == 0
    said = run(tmp_path / "venv" / "bin" / "headway-emulator", "methods", cwd=tmp_path)
    assert "customJobs.create" in said


def test_the_extra_is_part_of_what_the_whole_package_needs() -> None:
    document = tomllib.loads((ROOT / "pyproject.toml").read_text())
    assert set(extras()) <= set(document["project"]["dependencies"])


@pytest.fixture
def image() -> Iterator[str]:
    name = f"headway-emulator:test-{secrets.token_hex(4)}"
    run(ROOT / "containers" / "emulator.sh", name)
    yield name
    run("docker", "image", "rm", name)
    run("docker", "image", "prune", "--force", "--filter", "label=headway.stage=emulator-builder")


@pytest.mark.docker
@pytest.mark.slow
def test_its_image_is_built_with_no_network_answers_and_runs_jobs(
    image: str, job_network: tuple[str, str]
) -> None:
    port = free_port()
    name = f"headway-emulator-{secrets.token_hex(4)}"
    words = ["--init", "--detach", "--name", name, "--network", job_network[0]]
    run("docker", "run", *words, "--publish", f"127.0.0.1:{port}:8585", image)
    try:
        url = f"http://127.0.0.1:{port}"
        until(lambda: answers(url))
        page = requests.get(url, timeout=5).json()
        assert (page["executor"], page["state"]) == ("process", "/state")
        assert runs_a_job(url)
        made = requests.post(f"{url}/storage/v1/b?project=headway-local", json={"name": "inside"}, timeout=5)
        assert made.status_code == 200
        assert run("docker", "exec", name, "id", "--user").strip() == "1000"
        assert "(real)" in run("docker", "exec", name, "headway-emulator", "clock")
    finally:
        run("docker", "stop", "-t", "10", name)
        run("docker", "rm", "--volumes", name)


def answers(url: str) -> bool:
    try:
        return requests.get(url, timeout=2).ok
    except requests.ConnectionError:
        return False
