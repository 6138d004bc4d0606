"""`launch sweep` as a user types it, with no engine: searched, killed, cancelled, gone on with, won."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.conftest import Launcher

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]

TRAIN = """
import json, os, sys, time
import hypertune
given = dict(zip(sys.argv[1::2], sys.argv[2::2]))
values = {key: given[key] for key in ("--lr", "--optimizer", "--momentum") if key in given}
def note(what):
    with open(os.environ["NOTES"], "a") as file:
        file.write(json.dumps([what, values]) + chr(10))
note("began")
loss = abs(float(given["--lr"]) - 0.01) + (0.5 if given["--optimizer"] == "sgd" else 0)
report = hypertune.HyperTune().report_hyperparameter_tuning_metric
for step in range(int(given["--steps"])):
    report("loss", loss + 1 / (step + 1), step)
    time.sleep(float(os.environ.get("PAUSE", "0.1")))
note("ended")
"""
CONFIG = """
name: {name}
entrypoint: train.py
args: {{steps: 3}}
environment: {{env: {{NOTES: {notes}, PAUSE: "{pause}"}}}}
sweep:
  parameters:
    lr: 1e-4..1e-1:log
    optimizer: adam,sgd
    momentum: 0.5..0.99 if optimizer=sgd
  metric: loss:min
  trials: 4
  parallel: 2
limits: {{timeout: 10m}}
"""
ASKED = """
from google.cloud import aiplatform
aiplatform.init(project="headway-local", location="us-central1")
for job in aiplatform.HyperparameterTuningJob.list():
    print(job.display_name, job.state.name, len(job.trials))
"""


class Project:
    """A project of a plain script that notes which values it was given."""

    def __init__(self, folder: Path, launch: Launcher, name: str, *, pause: float = 0.1) -> None:
        self.folder, self._launch = folder, launch
        self._notes = folder.parent / "notes"
        text = CONFIG.format(name=name, notes=self._notes, pause=pause)
        (folder / "config.yaml").write_text(text, encoding="utf-8")
        (folder / "train.py").write_text(TRAIN, encoding="utf-8")

    def sweep(self, *words: str, code: int = 0) -> dict[str, Any]:
        return self._launch.json("sweep", "--local", "config.yaml", *words, cwd=self.folder, code=code)

    def noted(self, what: str) -> list[str]:
        """The values of trials that began, or ended."""
        lines = self._notes.read_text(encoding="utf-8").splitlines() if self._notes.exists() else []
        return [json.dumps(values) for said, values in map(json.loads, lines) if said == what]


def until(condition: Any, *, seconds: float = 120) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.2)


def test_a_search_finds_a_best_trial_that_is_trained_in_full(
    launch_without_engine: Launcher, tiny: Path
) -> None:
    launch, project = launch_without_engine, Project(tiny, launch_without_engine, "searched")
    found = project.sweep()
    assert (found["state"], len(found["trials"]), found["attempts"]) == ("succeeded", 4, 1)
    assert {trial["state"] for trial in found["trials"]} == {"succeeded"}
    assert all(("momentum" in t["values"]) == (t["values"]["optimizer"] == "sgd") for t in found["trials"])
    best = min(found["trials"], key=lambda trial: float(trial["value"]))
    assert found["best"] == best
    assert len(project.noted("ended")) == 4

    sweep_id = found["sweep_id"]
    again = project.sweep()
    assert (again["sweep_id"], again["job"]) == (sweep_id, found["job"])
    assert len(project.noted("began")) == 4

    listed = launch("sweep", "list", "--local")
    (line,) = [line for line in listed.stdout.splitlines() if line.startswith(sweep_id)]
    assert "4 of 4" in line
    drawn = launch("sweep", "plot", "--local", sweep_id, cwd=tiny)
    assert (tiny / drawn.stdout.strip()).read_bytes().startswith(b"\x89PNG")
    words = launch.json("sweep", "best", "--local", sweep_id)["overrides"]
    assert f"args.lr={best['values']['lr']}" in words
    run = launch.json("sweep", "best", "--local", "--submit", sweep_id, "args.steps=5", cwd=tiny)
    assert run["state"] == "succeeded"
    planned = launch.json("plan", "--local", "config.yaml", *words, "args.steps=5", cwd=tiny)
    assert planned["run_id"] == run["run_id"], "the printed words submit the very same run"


def test_googles_own_tools_see_the_sweep(launch_without_engine: Launcher, tiny: Path) -> None:
    launch, project = launch_without_engine, Project(tiny, launch_without_engine, "seen")
    sweep_id = project.sweep("--trials", "2")["sweep_id"]
    scripts = [f"{sys.executable} -c '{ASKED}'"]
    if shutil.which("gcloud"):
        listing = "gcloud ai hp-tuning-jobs list --region us-central1 --format 'value(displayName,state)'"
        scripts.append(listing)
    for script in scripts:
        path = f"{Path(sys.executable).parent}{os.pathsep}{launch.variables['PATH']}"
        done = subprocess.run(
            ["bash", "-euo", "pipefail", "-c", f'eval "$(launch local env)"; {script}'],
            capture_output=True,
            text=True,
            timeout=300,
            check=False,
            env={**launch.variables, "PATH": path, "CLOUDSDK_CONFIG": str(tiny.parent / "gcloud")},
        )
        assert done.returncode == 0, done.stdout + done.stderr
        (line,) = [line for line in done.stdout.splitlines() if line.startswith(sweep_id)]
        assert "JOB_STATE_SUCCEEDED" in line


def test_a_killed_launcher_loses_nothing_and_the_same_command_finds_the_sweep(
    launch_without_engine: Launcher, tiny: Path
) -> None:
    launch, project = launch_without_engine, Project(tiny, launch_without_engine, "killed")
    process = launch.start("sweep", "--local", "config.yaml", cwd=tiny)
    until(lambda: project.noted("began"))
    os.killpg(process.pid, signal.SIGKILL)
    process.communicate(timeout=30)
    found = project.sweep()
    assert (found["state"], found["attempts"], len(found["trials"])) == ("succeeded", 1, 4)
    assert max(Counter(project.noted("began")).values()) == 1


def test_a_cancelled_sweep_goes_on_and_trains_no_values_twice(
    launch_without_engine: Launcher, tiny: Path
) -> None:
    launch, project = launch_without_engine, Project(tiny, launch_without_engine, "resumed", pause=0.5)
    sweep_id = project.sweep("--detach", "--parallel", "1")["sweep_id"]
    until(lambda: project.noted("ended"))
    launch.json("sweep", "cancel", "--local", sweep_id)
    until(lambda: launch.json("sweep", "status", "--local", sweep_id)["state"] == "cancelled")
    before = project.noted("ended")
    assert 0 < len(before) < 4

    looked = project.sweep("--parallel", "1", code=1)
    assert (looked["state"], looked["attempts"]) == ("cancelled", 1)
    found = project.sweep("--parallel", "1", "--resume")
    assert (found["sweep_id"], found["state"], found["attempts"]) == (sweep_id, "succeeded", 2)
    assert len(set(project.noted("ended"))) == len(project.noted("ended")) == 4
    assert set(before) < set(project.noted("ended"))
    assert {trial["attempt"] for trial in found["trials"]} == {1, 2}


def test_a_metric_that_is_never_logged_stops_the_sweep_after_its_first_trial(
    launch_without_engine: Launcher, tiny: Path
) -> None:
    launch, project = launch_without_engine, Project(tiny, launch_without_engine, "unlogged")
    found = project.sweep("--metric", "accuracy:max", "--trials", "20", "--parallel", "1", code=1)
    assert found["state"] == "cancelled"
    assert "training never logged accuracy" in found["error"]
    assert "it logged loss" in found["error"]
    assert len(found["trials"]) < 4
    done = launch(
        *("sweep", "--local", "config.yaml", "--metric", "accuracy:max", "--trials", "20", "--parallel", "1"),
        "--resume",
        cwd=tiny,
    )
    assert done.returncode == 2
    assert "cannot go on: training never logged accuracy" in done.stderr
