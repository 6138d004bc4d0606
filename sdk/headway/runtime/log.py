"""The runtime's own lines in the job's log."""

from __future__ import annotations

import sys


def say(text: str) -> None:
    """A line of information."""
    sys.stdout.write(f"headway: {text}\n")
    sys.stdout.flush()


def warn(text: str) -> None:
    """A line that needs attention; on stderr, which the platform logs as an error."""
    sys.stderr.write(f"headway: warning: {text}\n")
    sys.stderr.flush()


def fail(text: str) -> None:
    """The line that says why the run ends."""
    sys.stderr.write(f"headway: error: {text}\n")
    sys.stderr.flush()
