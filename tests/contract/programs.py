"""Programs as their users run them: nothing in the environment but what the emulator says to set."""

from __future__ import annotations

import os
import subprocess
import sys
import textwrap
from collections.abc import Mapping
from pathlib import Path

import requests

from tests.contract.servers import Emulator

SECONDS = 120


def variables(emulator: Emulator, way: str = "transparent") -> dict[str, str]:
    """A clean environment: a path, a home without any account, and the emulator's variables."""
    answer = requests.get(f"{emulator.url}/emulator/env", params={"way": way}, timeout=10)
    answer.raise_for_status()
    home = emulator.state.parent / "home"
    home.mkdir(exist_ok=True)
    return {"PATH": os.environ["PATH"], "HOME": str(home), **answer.json()["set"]}


def python(
    emulator: Emulator, program: str, *, without: tuple[str, ...] = (), more: Mapping[str, str] | None = None
) -> list[str]:
    """The lines that a Python program prints; AssertionError with its stderr where it fails."""
    env = {k: v for k, v in variables(emulator).items() if k not in without} | dict(more or {})
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(program)],
        env=env,
        capture_output=True,
        text=True,
        timeout=SECONDS,
        check=False,
        cwd=Path(env["HOME"]),
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()
