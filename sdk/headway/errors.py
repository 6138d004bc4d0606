"""The error tree: each error says what happened, on what, and what to do next, and carries its exit code.

HeadwayError                70  a bug, unless a subclass says otherwise
├── RunFailed                1  the run ended without success (the user's own code, or a cancel)
├── InputError               2  the command line, config or project is wrong; nothing was sent
│   ├── ConfigError             ... with file, line and column
│   ├── DataNotReady            ... data not tracked, changed since, or not pushed
│   └── CredentialFound         ... a file that looks like a credential would have been packed
├── MachineError             3  this machine lacks something: engine, port, disk, package
├── RemoteError              4  Google or another server refused, or did not answer
│   ├── Refused                 ... it said no, and did nothing: permission, a bad request
│   │   └── Exhausted               ... for now, and here: quota, or no machines left
│   ├── NotFound                ... it has no such thing
│   └── Unreadable              ... what lies there is of another version of headway, or no document at all
├── BuildFailed              5  the environment image could not be built
├── DeadlinePassed           6  a wait came to its end
└── Interrupted            130  Ctrl-C: says what goes on running, and how to stop it
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from enum import IntEnum
from pathlib import Path


class ExitCode(IntEnum):
    """What `launch` exits with; documented in docs/exit-codes.md."""

    OK = 0
    RUN_FAILED = 1
    INPUT = 2
    MACHINE = 3
    REMOTE = 4
    BUILD = 5
    DEADLINE = 6
    BUG = 70
    INTERRUPTED = 130


class HeadwayError(Exception):
    """What happened, on what; `hint` is the next thing to do, `details` are lines worth seeing (a log's end).

    Rendered by `str()` as the message, the details indented, and the hint after an arrow.
    """

    exit_code: ExitCode = ExitCode.BUG

    def __init__(self, message: str, *, hint: str | None = None, details: Iterable[str] = ()) -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint
        self.details = tuple(details)

    def __str__(self) -> str:
        lines = [self.message, *(f"  {line}" for line in self.details)]
        if self.hint:
            lines.append(f"→ {self.hint}")
        return "\n".join(lines)


class RunFailed(HeadwayError):
    """A run ended FAILED, CANCELLED or EXPIRED."""

    exit_code = ExitCode.RUN_FAILED


class InputError(HeadwayError):
    """Something the user gave is wrong; nothing was sent and nothing was changed."""

    exit_code = ExitCode.INPUT


class ConfigError(InputError):
    """A config value is wrong; says file, line and column where they are known (both count from 1)."""

    def __init__(
        self,
        message: str,
        *,
        file: Path | str | None = None,
        line: int | None = None,
        column: int | None = None,
        hint: str | None = None,
        details: Iterable[str] = (),
    ) -> None:
        self.file, self.line, self.column = file, line, column
        place = ":".join(str(part) for part in (file, line, column) if part is not None)
        super().__init__(f"{place}: {message}" if place else message, hint=hint, details=details)


class DataNotReady(InputError):
    """A data path is not tracked by DVC, differs from what is tracked, or is not in the remote."""


class CredentialFound(InputError):
    """A file that looks like a credential is among those to be packed."""


class MachineError(HeadwayError):
    """This machine lacks something that the command needs."""

    exit_code = ExitCode.MACHINE


class RemoteError(HeadwayError):
    """A server refused the request, or did not answer within its deadline."""

    exit_code = ExitCode.REMOTE


class Refused(RemoteError):
    """The server said no (4xx: permission, quota, a bad request); the request changed nothing."""


class Exhausted(Refused):
    """Quota or machines are used up (429): another region, GPU or hour may have them."""


class NotFound(RemoteError):
    """The server has no such thing."""


class Unreadable(RemoteError):
    """What headway left there once cannot be read: of another version, or written in half."""


class BuildFailed(HeadwayError):
    """Cloud Build ended without an image; `details` are the last lines of its log."""

    exit_code = ExitCode.BUILD


class DeadlinePassed(HeadwayError):
    """A wait came to its end; what was waited for goes on."""

    exit_code = ExitCode.DEADLINE


class Interrupted(HeadwayError):
    """The user pressed Ctrl-C; the message says what goes on running and the hint how to stop it."""

    exit_code = ExitCode.INTERRUPTED


@contextmanager
def interruptible(what: str, hint: str) -> Iterator[None]:
    """Within it, Ctrl-C becomes an Interrupted that says what goes on running and how to stop it."""
    try:
        yield
    except KeyboardInterrupt as error:
        raise Interrupted(what, hint=hint) from error
