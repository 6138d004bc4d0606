"""How fast the command starts, against the smallest Typer program in the same environment."""

from __future__ import annotations

import os
import pty
import sys
import tempfile
import threading
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

from benchmarks.measure import Figure, in_turns, wall

ROUNDS = 11
LAUNCH = str(Path(sys.executable).parent / "launch")
HELLO = """\
import typer


def hello(name: str = "world") -> None:
    typer.echo(f"hello {name}")


typer.run(hello)
"""


def figures() -> list[Figure]:
    """`--help` in a pipe and on a terminal, and `--version` against saying hello."""
    with tempfile.TemporaryDirectory(prefix="headway-bench-") as folder:
        script = Path(folder) / "hello.py"
        script.write_text(HELLO, encoding="utf-8")
        hello = [sys.executable, str(script)]
        taken = in_turns(
            {
                "help": lambda: wall([LAUNCH, "--help"]),
                "hello help": lambda: wall([*hello, "--help"]),
                "terminal": lambda: on_terminal([LAUNCH, "--help"]),
                "hello terminal": lambda: on_terminal([*hello, "--help"]),
                "version": lambda: wall([LAUNCH, "--version"]),
                "hello": lambda: wall(hello),
            },
            ROUNDS,
        )

    def figure(what: str, ours: str, against: str, theirs: str, goal: float) -> Figure:
        ratio = taken[ours] / taken[theirs]
        return Figure(
            what, against, taken[ours], taken[theirs], ROUNDS, f"ratio at most {goal}", ratio <= goal
        )

    return [
        figure("launch --help, in a pipe", "help", "Typer hello --help", "hello help", 1.3),
        figure("launch --help, on a terminal", "terminal", "Typer hello --help", "hello terminal", 1.3),
        figure("launch --version", "version", "Typer hello", "hello", 1.0),
    ]


def on_terminal(words: Sequence[str]) -> float:
    """Seconds that a command takes whose output goes to a terminal."""
    ours, theirs = pty.openpty()
    reader = threading.Thread(target=_drain, args=(ours,), daemon=True)
    reader.start()
    try:
        return wall(words, out=theirs)
    finally:
        os.close(theirs)
        reader.join(5)
        os.close(ours)


def _drain(descriptor: int) -> None:
    with suppress(OSError):  # the other end is closed
        while os.read(descriptor, 65_536):
            pass
