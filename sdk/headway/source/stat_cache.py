"""The digest of a project's code by the state of its files, as git's index tells what is unchanged.

For what only shows it: a plan. What is sent is read.
"""

from __future__ import annotations

import hashlib
import json
import os
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path

from headway.spec.version import __version__

_RULES = "1"
"""To be raised where the archive's form, or what is refused as a credential, changes."""
_RACY_NS = 2_000_000_000
"""A file may change twice within the grain of its file system's clock, at most so long: then it is read."""


class StatCache:
    """A folder with one small file a project. What cannot be read or written there is read from the code."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def get(
        self,
        root: Path,
        files: Mapping[str, os.stat_result],
        read: Callable[[], tuple[str, int]],
        *,
        links: Sequence[str] = (),
    ) -> tuple[str, int]:
        """What `read` gave when path, mode, size, times and inode of all files were these, or gives now.

        `links` is where links lead, which their own state does not tell.
        """
        record = self._folder / hashlib.sha256(os.fsencode(os.path.realpath(root))).hexdigest()
        now, state = time.time_ns(), _state(files, links)
        with suppress(OSError, ValueError, KeyError, TypeError):
            kept = json.loads(record.read_bytes())
            if kept["state"] == state:
                return str(kept["digest"]), int(kept["size"])
        digest, size = read()
        if all(found.st_ctime_ns < now - _RACY_NS for found in files.values()):
            with suppress(OSError):
                self._folder.mkdir(parents=True, exist_ok=True)
                part = record.with_suffix(f".{os.getpid()}")
                part.write_text(json.dumps({"state": state, "digest": digest, "size": size}))
                part.replace(record)
        return digest, size


def _state(files: Mapping[str, os.stat_result], links: Sequence[str]) -> str:
    lines = [
        f"{path}\0{s.st_mode}\0{s.st_size}\0{s.st_mtime_ns}\0{s.st_ctime_ns}\0{s.st_ino}"
        for path, s in files.items()
    ]
    return hashlib.sha256(os.fsencode("\0".join([__version__, _RULES, *links, *lines]))).hexdigest()
