"""The note of a running emulator in its state folder, by which commands and programs find it."""

from __future__ import annotations

import contextlib
import json
import os
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from importlib import metadata
from pathlib import Path

DEFAULT_PROJECT = "headway-local"
DEFAULT_NUMBER = "123456789012"


def version() -> str:
    """This program's own."""
    try:
        return metadata.version("headway")
    except metadata.PackageNotFoundError:  # a copy of the sources that was never installed
        return "(not installed)"


@dataclass(frozen=True)
class Record:
    """Where an emulator answers, for which project, and who it is."""

    url: str
    project: str
    project_number: str
    executor: str
    clock: str
    state: str
    pid: int
    nonce: str


def default_state() -> Path:
    """$HEADWAY_EMULATOR_STATE, else below the user's folder for state ($XDG_STATE_HOME, ~/.local/state)."""
    if given := os.environ.get("HEADWAY_EMULATOR_STATE"):
        return Path(given)
    home = os.environ.get("XDG_STATE_HOME") or Path.home() / ".local" / "state"
    return Path(home) / "headway-emulator"


@contextlib.contextmanager
def kept(record: Record) -> Iterator[None]:
    """The note, while the block runs."""
    path = _path(Path(record.state))
    partial = path.with_suffix(".partial")
    partial.write_text(json.dumps(asdict(record), indent=2) + "\n")
    partial.replace(path)
    try:
        yield
    finally:
        path.unlink(missing_ok=True)


def read(state: Path) -> Record | None:
    """None where no emulator runs on this folder, as far as the note says."""
    try:
        return Record(**json.loads(_path(state).read_text()))
    except (OSError, ValueError, TypeError):
        return None


def _path(state: Path) -> Path:
    return state / "emulator.json"
