"""One local stack for all end-to-end tests, and the `launch` command run as a user runs it."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[2]
LAUNCH = (sys.executable, "-m", "headway_launcher")
DEADLINE_S = 900


@dataclass(frozen=True)
class Launcher:
    """`launch`, with its state folder and where it is run."""

    state: Path
    environment: dict[str, str] = field(default_factory=dict)

    @property
    def variables(self) -> dict[str, str]:
        return {**os.environ, "HEADWAY_STATE": str(self.state), **self.environment}

    def __call__(
        self, *words: str, cwd: Path | None = None, deadline: float = DEADLINE_S
    ) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [*LAUNCH, *words],
            capture_output=True,
            text=True,
            timeout=deadline,
            check=False,
            cwd=cwd or ROOT,
            env=self.variables,
            stdin=subprocess.DEVNULL,
        )

    def json(self, *words: str, cwd: Path | None = None, code: int = 0) -> dict[str, Any]:
        """The document that a command prints with --json; its exit code must be `code`."""
        done = self(*words, "--json", cwd=cwd)
        assert done.returncode == code, done.stdout + done.stderr
        document: dict[str, Any] = json.loads(done.stdout)
        return document

    def start(self, *words: str, cwd: Path | None = None) -> subprocess.Popen[str]:
        """The command as a process of its own group, so that a test can press Ctrl-C on it."""
        return subprocess.Popen(
            [*LAUNCH, *words],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            cwd=cwd or ROOT,
            env=self.variables,
            stdin=subprocess.DEVNULL,
            start_new_session=True,
        )


def wheels() -> Sequence[str]:
    """The override that lets images be built with no network, where `make` made a wheelhouse."""
    folder = os.environ.get("HEADWAY_TEST_WHEELHOUSE")
    return [f"environment.wheelhouse={folder}"] if folder else []


@pytest.fixture(scope="session")
def launch(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Launcher]:
    """A stack on the Docker engine, up for the whole session."""
    yield from _stack(Launcher(tmp_path_factory.mktemp("docker-stack")))


@pytest.fixture(scope="session")
def launch_without_engine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Launcher]:
    """A stack with no engine: jobs are processes."""
    forbidden = {"HEADWAY_NO_ENGINE": "1", "HEADWAY_REQUIRE_DOCKER": "0"}
    yield from _stack(Launcher(tmp_path_factory.mktemp("process-stack"), forbidden))


def _stack(launcher: Launcher) -> Iterator[Launcher]:
    up = launcher("local", "up")
    assert up.returncode == 0, up.stdout + up.stderr
    try:
        yield launcher
    finally:
        down = launcher("local", "down")
        assert down.returncode == 0, down.stdout + down.stderr


@pytest.fixture
def digits(tmp_path: Path) -> Path:
    """The digits example in a folder of its own, with its data and its DVC cache."""
    source, copy = ROOT / "examples" / "digits", tmp_path / "digits"
    shutil.copytree(source, copy, ignore=shutil.ignore_patterns("__pycache__", "lightning_logs", "tmp"))
    # outside of the project's git repository DVC must be told that there is none
    (copy / ".dvc" / "config").write_text("[core]\n    no_scm = True\n    analytics = false\n")
    return copy


@pytest.fixture
def tiny(tmp_path: Path) -> Path:
    """A project whose script a test writes: no data, the digits' environment (so its image is shared)."""
    folder = tmp_path / "tiny"
    folder.mkdir()
    shutil.copy(ROOT / "examples" / "digits" / "requirements.txt", folder)
    (folder / "config.yaml").write_text(
        "name: tiny\nentrypoint: train.py\nlimits: {timeout: 10m}\n", encoding="utf-8"
    )
    (folder / "train.py").write_text("print('hello from the job')\n", encoding="utf-8")
    return folder
