"""A project folder to fill, with git or without."""

from __future__ import annotations

import subprocess
from collections.abc import Callable, Mapping
from pathlib import Path

import pytest

Fill = Callable[[Mapping[str, str | bytes]], Path]


def git(folder: Path, *words: str) -> None:
    who = ("-c", "user.name=test", "-c", "user.email=test@example.org")
    subprocess.run(["git", *who, *words], cwd=folder, check=True, capture_output=True, timeout=30)


@pytest.fixture
def project(tmp_path: Path) -> Fill:
    """Write files below a new folder and return it."""

    def fill(files: Mapping[str, str | bytes]) -> Path:
        root = tmp_path / "project"
        root.mkdir(exist_ok=True)
        for name, content in files.items():
            (root / name).parent.mkdir(parents=True, exist_ok=True)
            (root / name).write_bytes(content if isinstance(content, bytes) else content.encode())
        return root

    return fill


@pytest.fixture
def repository(project: Fill) -> Fill:
    """The same, as a git repository with nothing committed."""

    def fill(files: Mapping[str, str | bytes]) -> Path:
        root = project(files)
        git(root, "init", "-q")
        return root

    return fill
