"""The documentation's snippets marked `<!-- run: local -->`, run in order in a project of their own."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.e2e.conftest import ROOT, Launcher, wheels
from tests.unit.documentation import Snippet, snippets_of

DOCS = ROOT / "docs"
DEADLINE_S = 600


def of(page: str) -> list[Snippet]:
    """A page's snippets that make a file of the project, or run."""
    return [found for found in snippets_of(DOCS / page) if found.note.startswith(("file: ", "run: "))]


@pytest.fixture
def project(launch: Launcher, tiny: Path) -> Path:
    """A project whose image is there: a first job, of another name, builds it where it is not."""
    (tiny / "config.yaml").write_text("name: warm\nentrypoint: train.py\n", encoding="utf-8")
    done = launch("submit", "--local", "config.yaml", *wheels(), cwd=tiny)
    assert done.returncode == 0, done.stdout + done.stderr
    return tiny


def run(snippet: Snippet, project: Path, launch: Launcher) -> str:
    """What it prints; it must succeed."""
    words = [sys.executable, "-"] if snippet.language == "python" else ["bash", "-euo", "pipefail"]
    variables = {**launch.variables, "CLOUDSDK_CONFIG": str(project / "gcloud")}
    variables["PATH"] = f"{Path(sys.executable).parent}{os.pathsep}{variables['PATH']}"
    done = subprocess.run(
        words,
        input=snippet.text,
        cwd=project,
        env=variables,
        capture_output=True,
        text=True,
        timeout=DEADLINE_S,
        check=False,
    )
    assert done.returncode == 0, f"{snippet}\n{done.stdout}{done.stderr}"
    return done.stdout


def follow(page: str, project: Path, launch: Launcher) -> list[str]:
    """Do what the page says, from its top to its end; what each snippet that runs printed."""
    printed = []
    for snippet in of(page):
        kind, _, what = snippet.note.partition(": ")
        if kind == "file":
            (project / what).write_text(snippet.text, encoding="utf-8")
        elif "gcloud" not in what or shutil.which("gcloud"):
            printed.append(run(snippet, project, launch))
    return printed


@pytest.mark.docker
@pytest.mark.slow
def test_the_quickstart_does_what_it_says(launch: Launcher, project: Path) -> None:
    planned, submitted, again, driven = follow("quickstart.md", project, launch)

    assert "args.lr" in planned
    assert "command line: args.lr=0.05" in planned
    assert "succeeded" in submitted
    assert "loss" in submitted
    first = next(line.split()[-1] for line in submitted.splitlines() if line.startswith("run "))
    assert first in again
    assert "succeeded" in driven
    assert "model/model.ckpt" in driven


@pytest.mark.docker
@pytest.mark.slow
def test_google_s_own_tools_see_the_local_stack_as_its_page_says(launch: Launcher, project: Path) -> None:
    status, *printed = follow("local.md", project, launch)

    assert status.count("healthy") == 3
    assert any("JOB_STATE_SUCCEEDED" in text for text in printed)
    assert any("plan.json" in text for text in printed)
    if shutil.which("gcloud"):
        assert "JOB_STATE_SUCCEEDED" in printed[-1]
        assert "gs://headway-local/headway/runs/" in printed[-1]


@pytest.mark.slow
def test_a_sweep_is_searched_as_its_page_says(launch_without_engine: Launcher, tiny: Path) -> None:
    lines = ("import hypertune, sys", "loss = float(sys.argv[sys.argv.index('--lr') + 1])")
    report = "hypertune.HyperTune().report_hyperparameter_tuning_metric('loss', loss, 1)"
    (tiny / "train.py").write_text("\n".join([*lines, report]), encoding="utf-8")
    searched, driven = follow("sweeps.md", tiny, launch_without_engine)

    assert searched.count("4 of 4 ended well") == 2
    assert "sweeps/bowl-sweep-" in searched
    assert "args.lr=" in searched
    assert "{'lr': " in driven
    assert driven.count("succeeded") == 4


@pytest.mark.slow
def test_the_kit_gives_a_trainer_outside_of_a_run_too(tmp_path: Path) -> None:
    (snippet,) = of("training-code.md")
    (tmp_path / "with_kit.py").write_text(snippet.text, encoding="utf-8")
    words = [sys.executable, "with_kit.py"]
    done = subprocess.run(words, cwd=tmp_path, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr
