"""docs/emulator.md does what it says: its marked snippets are run, its tests by pytest."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from headway_emulator.testing import Emulator, emulator
from tests.unit.documentation import ROOT, Snippet, snippets_of

PAGE = ROOT / "docs" / "emulator.md"


def marked(note: str) -> list[Snippet]:
    return [snippet for snippet in snippets_of(PAGE) if snippet.note == note]


@pytest.fixture(scope="module")
def running() -> Iterator[Emulator]:
    with emulator(clock="virtual") as gcp:
        yield gcp


@pytest.mark.parametrize("snippet", marked("run: emulator"), ids=str)
def test_a_marked_snippet_runs(snippet: Snippet, running: Emulator, tmp_path: Path) -> None:
    words = [sys.executable, "-"] if snippet.language == "python" else ["bash", "-euo", "pipefail"]
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    done = subprocess.run(
        words,
        input=snippet.text,
        cwd=tmp_path,
        env={**os.environ, "PATH": path, "HEADWAY_EMULATOR_URL": running.url},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr


def test_the_page_s_own_tests_pass(tmp_path: Path) -> None:
    (snippet,) = marked("pytest")
    (tmp_path / "test_page.py").write_text(snippet.text, encoding="utf-8")
    done = subprocess.run(
        [
            sys.executable,
            "-m",
            "pytest",
            "-q",
            "-p",
            "no:cacheprovider",
            "--rootdir",
            str(tmp_path),
            str(tmp_path),
        ],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
