"""Starting is cheap: what is asked most often imports nothing heavy. Each is a fresh Python."""

from __future__ import annotations

import json
import subprocess
import sys
from functools import cache

import pytest

HEAVY = ("google", "mlflow", "torch", "dvc", "docker", "pandas", "omegaconf")

_LOADED = "import json, sys; print('\\n' + json.dumps(list(sys.modules)))"

_LAUNCH = "from headway_launcher.main import run; code = run({words!r}); assert code == 0, code"


def imported_by(code: str) -> set[str]:
    """Top-level packages that the code loads; what a bare start loads (.pth files do) is left out."""
    return {name.partition(".")[0] for name in _modules_after(code) - _modules_after("pass")}


@cache
def _modules_after(code: str) -> frozenset[str]:
    done = subprocess.run(
        [sys.executable, "-c", f"{code}\n{_LOADED}"], capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 0, done.stderr
    return frozenset(json.loads(done.stdout.splitlines()[-1]))


@pytest.mark.parametrize(
    "code",
    [
        "import headway",
        "import headway.lightning",
        _LAUNCH.format(words=["--help"]),
        _LAUNCH.format(words=["submit", "--help"]),
        _LAUNCH.format(words=["--version"]),
        _LAUNCH.format(words=["config", "schema"]),
    ],
    ids=["import", "import lightning", "--help", "submit --help", "--version", "config schema"],
)
def test_nothing_heavy_is_imported_for(code: str) -> None:
    assert not imported_by(code) & set(HEAVY)


def test_the_version_is_told_before_the_command_line_is_built() -> None:
    assert not imported_by(_LAUNCH.format(words=["--version"])) & {"typer", "click", "rich", "pydantic"}
