"""The same job another way: from the built wheel outside of a checkout, and with no engine at all."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.conftest import ROOT, Launcher, wheels


def run(*words: str, cwd: Path, environment: dict[str, str] | None = None) -> str:
    done = subprocess.run(
        words,
        capture_output=True,
        text=True,
        timeout=900,
        check=False,
        cwd=cwd,
        env=environment,
        stdin=subprocess.DEVNULL,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.mark.docker
@pytest.mark.slow
@pytest.mark.timeout(1500)
def test_the_wheel_in_an_empty_venv_submits_the_example(
    launch: Launcher, digits: Path, tmp_path: Path
) -> None:
    run(sys.executable, "-m", "build", "--wheel", "--outdir", str(tmp_path), str(ROOT), cwd=tmp_path)
    (wheel,) = tmp_path.glob("headway-*.whl")
    run(sys.executable, "-m", "venv", str(tmp_path / "venv"), cwd=tmp_path)
    python = tmp_path / "venv" / "bin" / "python"
    constraints = str(ROOT / "constraints.txt")
    run(str(python), "-m", "pip", "install", "-q", "-c", constraints, str(wheel), cwd=tmp_path)
    environment = {
        **{key: value for key, value in os.environ.items() if not key.startswith("PYTHON")},
        "HEADWAY_STATE": str(launch.state),
    }
    command = str(python.parent / "launch")
    config = str(digits / "config.yaml")
    run(command, "data", "push", "--local", config, cwd=tmp_path, environment=environment)
    out = run(
        command,
        "submit",
        "--local",
        "--gpu",
        "a100",
        config,
        *wheels(),
        "args.max_epochs=2",
        "--json",
        cwd=tmp_path,
        environment=environment,
    )
    view = json.loads(out)
    assert view["state"] == "succeeded"
    from_checkout: Any = launch.json("plan", "--local", "--gpu", "a100", config, "args.max_epochs=2")
    assert from_checkout["run_id"] == view["run_id"], "wheel and checkout name the same content the same"


@pytest.mark.slow
def test_without_an_engine_the_same_job_is_a_process_and_that_is_said(
    launch_without_engine: Launcher, digits: Path
) -> None:
    launch = launch_without_engine
    config = str(digits / "config.yaml")
    up = launch("local", "up")
    assert "process" in up.stdout
    pushed = launch("data", "push", "--local", config)
    assert pushed.returncode == 0, pushed.stderr
    view = launch.json("submit", "--local", "--gpu", "a100", config)
    assert view["state"] == "succeeded"
    assert view["metrics"]["test_acc"] > 0.95
    assert view["registered"] == "models:/digits/1"
    logs = launch("logs", "--local", view["run_id"]).stdout
    assert "No GPU is attached" in logs


@pytest.mark.slow
def test_a_required_engine_that_is_forbidden_is_an_error(tmp_path: Path) -> None:
    strict = Launcher(tmp_path, {"HEADWAY_REQUIRE_DOCKER": "1", "DOCKER_HOST": "tcp://127.0.0.1:9"})
    done = strict("local", "up")
    assert done.returncode == 3
    assert "engine" in (done.stdout + done.stderr).lower()
    assert strict("local", "status").returncode == 3, "nothing was left up"


@pytest.mark.docker
@pytest.mark.slow
def test_two_nodes_train_one_model_and_the_first_delivers_it(launch: Launcher, digits: Path) -> None:
    config = str(digits / "config.yaml")
    pushed = launch("data", "push", "--local", config)
    assert pushed.returncode == 0, pushed.stderr
    two = ("--nodes", "2", "args.max_epochs=2", "limits.timeout=5m", "tracking.register=two-nodes")
    view = launch.json("submit", "--local", "--gpu", "a100", config, *wheels(), *two)
    assert view["state"] == "succeeded"
    assert view["machine"].startswith("2 x ")
    assert view["registered"] == "models:/two-nodes/1"
    log = launch("logs", "--local", view["run_id"]).stdout
    assert "world_size: 2" in log or "MEMBER: 2/2" in log
    assert "workerpool1-0" in log
