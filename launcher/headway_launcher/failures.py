"""Errors as people see them: words on stderr, a document with --json, an exit code; never a traceback."""

from __future__ import annotations

import errno
import json
import os
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from types import FrameType
from typing import Any

from headway.errors import ExitCode, HeadwayError, InputError, Interrupted, MachineError

_OUR_MACHINE = {
    errno.ENOSPC: "the disk is full",
    errno.EDQUOT: "the disk quota is used up",
    errno.EROFS: "the file system is read-only",
    errno.EACCES: "permission denied",
}


@dataclass
class Outcome:
    """How the command ended."""

    code: int = 0


@contextmanager
def reported(*, as_json: bool) -> Iterator[Outcome]:
    """Run a command in it; whatever it raises is shown and becomes the outcome's code."""
    outcome = Outcome()
    before = signal.signal(signal.SIGTERM, _terminated)
    try:
        yield outcome
        sys.stdout.flush()
    except BrokenPipeError:
        outcome.code = _reader_went_away()
    except SystemExit as exit_:
        # typer makes exit code 1 of a broken pipe, which would read as a run that failed
        if isinstance(exit_.__context__, BrokenPipeError):
            outcome.code = _reader_went_away()
        else:
            outcome.code = exit_.code if isinstance(exit_.code, int) else 1
    except KeyboardInterrupt:
        outcome.code = _show(Interrupted("interrupted"), as_json)
    except Exception as error:  # noqa: BLE001  the last resort: nothing is swallowed, all is shown
        outcome.code = _help(error) if _asks_for_help(error) else _show(_as_ours(error), as_json)
    finally:
        signal.signal(signal.SIGTERM, before)


def _reader_went_away() -> int:
    """`launch list | head`: Python's own flush at exit must not complain."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    return 128 + signal.SIGPIPE


def _terminated(_signal: int, _frame: FrameType | None) -> None:
    raise SystemExit(128 + signal.SIGTERM)


def _asks_for_help(error: Exception) -> bool:
    return type(error).__name__ == "NoArgsIsHelpError"


def _help(error: Any) -> int:
    """A group without a command, `launch local`: its help, which rich has printed already on a terminal."""
    sys.stderr.write(f"{error.format_message()}\n".lstrip())
    return int(ExitCode.INPUT)


def _as_ours(error: Exception) -> HeadwayError:
    if isinstance(error, HeadwayError):
        return error
    if hasattr(error, "format_message"):  # the command line's own: an unknown option, a missing argument
        return InputError(error.format_message(), hint=f"{_command_path(error)} --help says more")
    if type(error).__name__ == "Abort":
        return Interrupted("stopped; nothing was changed")
    if isinstance(error, OSError) and error.errno in _OUR_MACHINE:
        where = f": {error.filename}" if error.filename else ""
        return MachineError(_OUR_MACHINE[error.errno] + where)
    return _bug(error)


def _command_path(error: Exception) -> str:
    context = getattr(error, "ctx", None)
    return context.command_path if context is not None else "launch"


def _bug(error: Exception) -> HeadwayError:
    import tempfile
    import traceback

    with tempfile.NamedTemporaryFile(
        "w", prefix="headway-traceback-", suffix=".txt", delete=False, encoding="utf-8"
    ) as file:
        file.write("".join(traceback.format_exception(error)))
    first = (str(error).splitlines() or [""])[0]
    return HeadwayError(
        f"a bug in headway: {type(error).__name__}: {first}",
        hint=f"please report it with the traceback in {file.name}",
    )


def _show(error: HeadwayError, as_json: bool) -> int:
    code = int(error.exit_code)
    if as_json:
        document = {
            "message": error.message,
            "details": list(error.details),
            "hint": error.hint,
            "exit_code": code,
        }
        sys.stdout.write(json.dumps({"error": document}, indent=2) + "\n")
        return code
    colour = sys.stderr.isatty() and "NO_COLOR" not in os.environ
    red, dim, off = ("\x1b[1;31m", "\x1b[2m", "\x1b[0m") if colour else ("", "", "")
    word = "interrupted" if error.exit_code == ExitCode.INTERRUPTED else "error"
    lines = [f"{red}{word}:{off} {error.message}"]
    lines += [f"  {dim}{line}{off}" for line in error.details]
    if error.hint:
        lines.append(f"→ {error.hint}")
    sys.stderr.write("\n".join(lines) + "\n")
    return code
