"""A disk that is full, said so that one knows which, and by how much."""

from __future__ import annotations

import errno
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from headway.errors import MachineError

_FULL = (errno.ENOSPC, errno.EDQUOT)


def free_bytes(folder: Path) -> int:
    return shutil.disk_usage(folder).free


def require_space(folder: Path, needed: int) -> None:
    """Raise MachineError where so many bytes do not fit the folder's disk."""
    folder.mkdir(parents=True, exist_ok=True)
    if needed > free_bytes(folder):
        raise _full(folder, needed)


@contextmanager
def full_disk_told(folder: Path, needed: int) -> Iterator[None]:
    """Turn the system's `no space left` into a MachineError that names the folder and the bytes needed."""
    try:
        yield
    except OSError as error:
        if error.errno not in _FULL:
            raise
        raise _full(folder, needed) from error


def megabytes(size: int) -> str:
    return f"{size / 1e6:,.1f} MB"


def _full(folder: Path, needed: int) -> MachineError:
    free = free_bytes(folder)
    return MachineError(
        f"the disk of {folder} is full: {megabytes(needed)} are needed, {megabytes(free)} are free",
        hint="raise resources.disk_gb, or free space there",
    )
