"""What the command costs before it does anything: the modules it imports."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

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


def test_plugins_of_pydantic_that_are_installed_are_not_even_looked_for(tmp_path: Path) -> None:
    (tmp_path / "plugin.py").write_text(
        "print('loaded')\ndef new_schema_validator(*_, **__): return None, None, None\n"
    )
    (tmp_path / "plugin-1.dist-info").mkdir()
    (tmp_path / "plugin-1.dist-info" / "METADATA").write_text(
        "Metadata-Version: 2.1\nName: plugin\nVersion: 1\n"
    )
    (tmp_path / "plugin-1.dist-info" / "entry_points.txt").write_text("[pydantic]\nplugin = plugin\n")

    def printed(*command: str) -> str:
        done = subprocess.run(
            [sys.executable, *command],
            capture_output=True,
            text=True,
            check=True,
            env={**os.environ, "PYTHONPATH": str(tmp_path)},
        )
        return done.stdout

    assert "loaded" in printed("-c", "import headway.spec.job"), "so does any other program"
    assert "loaded" not in printed("-m", "headway_launcher", "config", "schema")


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
