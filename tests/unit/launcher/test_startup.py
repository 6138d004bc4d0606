"""What the command costs before it does anything: the modules it imports."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

HEAVY = {
    "google.cloud",
    "google.auth",
    "mlflow",
    "torch",
    "dvc",
    "docker",
    "pandas",
    "omegaconf",
    "requests",
    "psutil",
    "rich",
    "yaml",
}

SCRIPT = """
import sys
before = set(sys.modules)  # a .pth file may import some at the start of every Python
from headway_launcher.main import run
code = run(sys.argv[1:])
sys.stderr.write("\\n".join(set(sys.modules) - before))
sys.exit(code)
"""


def modules_after(*words: str, **environment: str) -> tuple[str, set[str]]:
    """Standard output of the command in a fresh interpreter, and the modules it imported."""
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT, *words],
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
        env={**os.environ, **environment},
    )
    return done.stdout, set(done.stderr.splitlines())


@pytest.mark.parametrize("words", [["--help"], ["local", "--help"], ["submit", "--help"]])
def test_help_imports_nothing_heavy(words: list[str]) -> None:
    out, modules = modules_after(*words)
    assert "Usage: launch" in out
    assert not HEAVY & modules


@pytest.mark.parametrize("words", [["--version"], ["version"]])
def test_the_version_is_told_before_even_typer_is_imported(words: list[str]) -> None:
    out, modules = modules_after(*words)
    assert out.startswith("headway ")
    assert not (HEAVY | {"typer", "click"}) & modules


def test_the_module_runs_as_the_command() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "headway_launcher", "version"], capture_output=True, text=True, check=True
    )
    assert done.stdout.startswith("headway ")


def completed(line: str) -> list[str]:
    words = line.split(" ")
    environment = {
        "_LAUNCH_COMPLETE": "complete_bash",
        "COMP_WORDS": line,
        "COMP_CWORD": str(len(words) - 1),
    }
    done = subprocess.run(
        [sys.executable, "-m", "headway_launcher"],
        capture_output=True,
        text=True,
        check=True,
        env={**os.environ, **environment},
    )
    return done.stdout.split()


def test_the_shell_completes_commands_and_gpus() -> None:
    assert completed("launch su") == ["submit"]
    assert completed("launch submit --gpu a100-") == ["a100-80gb"]


def test_the_shell_completes_the_local_stack_s_runs(
    tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    state = tmp_path_factory.mktemp("state")
    (state / "local/storage/headway-local/headway/runs/digits-1a2b3c4d").mkdir(parents=True)
    monkeypatch.setenv("HEADWAY_STATE", str(state))

    assert completed("launch status di") == ["digits-1a2b3c4d"]
