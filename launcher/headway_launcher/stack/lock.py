"""One `up`, `down` or `reset` of a stack at a time."""

from __future__ import annotations

import fcntl
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from headway.errors import DeadlinePassed


@contextmanager
def held(path: Path, say: Callable[[str], None], *, deadline: float = 120.0) -> Iterator[None]:
    """Hold the lock file, waiting for another holder up to `deadline` seconds. Raises DeadlinePassed.

    The system frees the lock when its holder ends, however it ends.
    """
    until = time.monotonic() + deadline
    with path.open("a") as file:
        waiting = False
        while not _try_lock(file.fileno()):
            if not waiting:
                say("waiting for another `launch local` command to finish")
                waiting = True
            if time.monotonic() > until:
                raise DeadlinePassed(
                    f"another `launch local` command has held {path} for {deadline:.0f} s",
                    hint=f"end it, then try again (`fuser {path}` names it)",
                )
            time.sleep(0.1)
        yield


def _try_lock(descriptor: int) -> bool:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True
