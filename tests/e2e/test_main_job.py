"""The main job as a user runs it: a real model, real data, a container; Google's own tools look on."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.conftest import Launcher, wheels

pytestmark = [pytest.mark.docker, pytest.mark.slow]


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The digits example as a checkout of its own."""
    source = Path(__file__).parents[2] / "examples" / "digits"
    copy = tmp_path_factory.mktemp("project") / "digits"
    shutil.copytree(source, copy, ignore=shutil.ignore_patterns("__pycache__", "lightning_logs", "tmp"))
    (copy / ".dvc" / "config").write_text("[core]\n    no_scm = True\n    analytics = false\n")
    return copy


@pytest.fixture(scope="module")
def submitted(launch: Launcher, project: Path) -> dict[str, Any]:
    """The example, pushed, submitted and trained once: the run's document."""
    pushed = launch("data", "push", "--local", str(project / "config.yaml"))
    assert pushed.returncode == 0, pushed.stderr
    return launch.json("submit", "--local", "--gpu", "a100", str(project / "config.yaml"), *wheels())


def environment(launch: Launcher) -> dict[str, str]:
    """What points Google's own tools at the stack, as docs/local.md says."""
    stack = json.loads((launch.state / "local" / "stack.json").read_text())
    url = stack["emulator_url"]
    return {
        **os.environ,
        "CLOUDSDK_API_ENDPOINT_OVERRIDES_AIPLATFORM": f"{url}/aiplatform/",
        "CLOUDSDK_API_ENDPOINT_OVERRIDES_STORAGE": f"{url}/storage/v1/",
        "CLOUDSDK_AUTH_DISABLE_CREDENTIALS": "true",
        "CLOUDSDK_CORE_PROJECT": stack["project"],
        "CLOUDSDK_CONFIG": str(launch.state / "gcloud"),
        "EMULATOR_URL": url,
        "STORAGE_EMULATOR_HOST": url,
    }


def gcloud(launch: Launcher, *words: str) -> str:
    if shutil.which("gcloud") is None:
        pytest.skip("gcloud is not installed on this machine")
    done = subprocess.run(
        ["gcloud", *words],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
        env=environment(launch),
        stdin=subprocess.DEVNULL,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_the_example_trains_to_over_95_percent(submitted: dict[str, Any]) -> None:
    assert submitted["state"] == "succeeded"
    assert submitted["exit_code"] == 0
    assert submitted["metrics"]["test_acc"] > 0.95
    assert submitted["machine"] == "1 x a2-highgpu-1g with 1 x NVIDIA_TESLA_A100"
    assert submitted["warnings"] == []


def test_the_run_is_in_mlflow_with_what_it_was_made_of(submitted: dict[str, Any], launch: Launcher) -> None:
    stack = json.loads((launch.state / "local" / "stack.json").read_text())
    from mlflow.tracking import MlflowClient

    client = MlflowClient(stack["mlflow_url"])
    experiment = client.get_experiment_by_name("digits")
    (run,) = client.search_runs([experiment.experiment_id])
    assert run.info.status == "FINISHED"
    assert run.data.params["lr"] == "0.001"
    assert run.data.metrics["test_acc"] > 0.95
    assert any(name.startswith("system/") for name in run.data.metrics)
    assert run.data.tags["headway.run_id"] == submitted["run_id"]
    steps = [metric.step for metric in client.get_metric_history(run.info.run_id, "train_loss")]
    assert len(steps) > 10
    assert steps == sorted(steps)
    (version,) = client.search_model_versions("name='digits'")
    assert version.run_id == run.info.run_id
    assert submitted["registered"] == f"models:/digits/{version.version}"
    assert submitted["run_id"] in (version.description + str(version.tags))


def test_the_checkpoint_that_is_pulled_can_be_loaded(
    submitted: dict[str, Any], launch: Launcher, tmp_path: Path
) -> None:
    import torch

    pulled = launch("pull", "--local", submitted["run_id"], str(tmp_path))
    assert pulled.returncode == 0, pulled.stderr
    checkpoint = torch.load(tmp_path / "model" / "model.ckpt", map_location="cpu", weights_only=False)
    assert checkpoint["state_dict"]["net.0.weight"].shape == (32, 1, 3, 3)


def test_a_second_submit_is_the_same_run_and_sends_nothing(
    submitted: dict[str, Any], launch: Launcher, project: Path
) -> None:
    words = ("--local", "--gpu", "a100", str(project / "config.yaml"), *wheels())
    plan = launch.json("plan", *words)
    actions = {step["what"]: step["action"] for step in plan["steps"]}
    assert actions == {"image": "reuse", "bundle": "reuse", "data": "reuse", "job": "attach"}
    second = launch.json("submit", *words)
    assert (second["run_id"], second["job"]) == (submitted["run_id"], submitted["job"])


def test_after_an_edit_only_a_small_bundle_is_sent_and_nothing_is_built(
    submitted: dict[str, Any], launch: Launcher, project: Path
) -> None:
    script = project / "train.py"
    script.write_text(script.read_text() + "\n# edited\n")
    words = ("--local", "--gpu", "a100", str(project / "config.yaml"), *wheels(), "args.max_epochs=1")
    plan = launch.json("plan", *words)
    actions = {step["what"]: step["action"] for step in plan["steps"]}
    assert actions == {"image": "reuse", "bundle": "upload", "data": "reuse", "job": "create"}
    assert plan["plan"]["code"]["size"] < 100_000
    builds = _builds(launch)
    done = launch("submit", "--local", "--gpu", "a100", *words[3:])
    assert done.returncode == 0, done.stdout + done.stderr
    assert _builds(launch) == builds
    assert launch.json("plan", *words)["steps"][1]["action"] == "reuse"


def _builds(launch: Launcher) -> int:
    import urllib.request

    stack = json.loads((launch.state / "local" / "stack.json").read_text())
    url = f"{stack['emulator_url']}/cloudbuild/v1/projects/{stack['project']}/builds"
    with urllib.request.urlopen(url, timeout=10) as reply:
        return len(json.load(reply).get("builds", []))


def test_googles_own_python_client_sees_the_job(submitted: dict[str, Any], launch: Launcher) -> None:
    script = """
import os
from google.auth.credentials import AnonymousCredentials
from google.cloud import aiplatform
aiplatform.init(project="headway-local", location="us-central1", credentials=AnonymousCredentials(),
                api_endpoint=os.environ["EMULATOR_URL"] + "/aiplatform", api_transport="rest")
for job in aiplatform.CustomJob.list():
    print(job.display_name, job.state.name)
"""
    done = subprocess.run(
        [sys.executable, "-c", script],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
        env=environment(launch),
    )
    assert done.returncode == 0, done.stderr
    assert f"{submitted['run_id']} JOB_STATE_SUCCEEDED" in done.stdout


def test_gcloud_describes_the_job(submitted: dict[str, Any], launch: Launcher) -> None:
    job = submitted["job"].rpartition("/")[2]
    out = gcloud(launch, "ai", "custom-jobs", "describe", job, "--region", "us-central1", "--format", "json")
    described = json.loads(out)
    assert described["state"] == "JOB_STATE_SUCCEEDED"
    assert described["labels"]["headway-run"] == submitted["run_id"]


def test_gcloud_storage_lists_the_bucket(submitted: dict[str, Any], launch: Launcher) -> None:
    out = gcloud(launch, "storage", "ls", f"gs://headway-local/headway/runs/{submitted['run_id']}/")
    assert f"headway/runs/{submitted['run_id']}/plan.json" in out
    assert f"headway/runs/{submitted['run_id']}/checkpoints/" in out
