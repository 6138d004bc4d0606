"""A local stack of the benchmark's own, gone afterwards."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]
LAUNCH = str(Path(sys.executable).parent / "launch")
UP_SECONDS = 180
IMAGE_SECONDS = 1800
"""For a submit that may have to build the image first."""


@dataclass(frozen=True)
class Stack:
    """The stack's record, and the environment in which `launch` finds it."""

    record: dict[str, Any]
    environment: dict[str, str]

    @property
    def has_engine(self) -> bool:
        return bool(self.record["executor"] == "docker")

    def launch(self, *words: str, cwd: Path, deadline: float = 60) -> str:
        """Standard output of a command, which must succeed."""
        return subprocess.run(
            [LAUNCH, *words],
            cwd=cwd,
            env=self.environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            text=True,
            timeout=deadline,
            check=True,
        ).stdout

    def submit(self, project: Path) -> dict[str, Any]:
        """A first run, which builds the image where it is missing and uploads the code; the run's document.

        The image is built from the wheels of HEADWAY_TEST_WHEELHOUSE where that is set, as the tests' are.
        """
        wheels = os.environ.get("HEADWAY_TEST_WHEELHOUSE")
        words = [f"environment.wheelhouse={wheels}"] if wheels else []
        run = self.launch("submit", "--local", "--json", ".", *words, cwd=project, deadline=IMAGE_SECONDS)
        document: dict[str, Any] = json.loads(run)
        return document


@contextmanager
def stack() -> Iterator[Stack]:
    """Bring one up in a folder of its own; at the end it is taken down with its data."""
    with tempfile.TemporaryDirectory(prefix="headway-bench-") as state:
        environment = {**os.environ, "HEADWAY_STATE": state}
        try:
            up = subprocess.run(
                [LAUNCH, "local", "up", "--json"],
                env=environment,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                timeout=UP_SECONDS,
                check=True,
            )
            yield Stack(json.loads(up.stdout), environment)
        finally:
            reset = [LAUNCH, "local", "reset", "--yes"]
            subprocess.run(reset, env=environment, stderr=subprocess.DEVNULL, timeout=60, check=True)
