"""What commands print: rich on a terminal, plain lines in a pipe, one JSON document with --json."""

from __future__ import annotations

import json
import os
import re
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, TextIO

if TYPE_CHECKING:
    from rich.console import Console
    from rich.status import Status

Row = Sequence[str]

_OTHER_THAN_COLOUR = re.compile(r"\x1b\[[0-9;?]*[A-Za-ln-z]|\x1b[^\[]|[\x00-\x08\x0b-\x1a\x1c-\x1f\x7f]")
_CONTROL = re.compile(rf"\x1b\[[0-9;]*m|{_OTHER_THAN_COLOUR.pattern}")


class Screen:
    """Plain lines: values to standard output, all else to standard error. It is a `headway.jobs.Progress`.

    With `as_json` even the values' lines go to standard error: standard output is the document's.
    """

    shows_progress = False

    def __init__(self, *, as_json: bool) -> None:
        self.as_json = as_json

    def document(self, value: object) -> None:
        """The one JSON document of a command with --json."""
        sys.stdout.write(json.dumps(value, indent=2, default=str) + "\n")
        sys.stdout.flush()

    def say(self, text: str) -> None:
        """A remark beside the values."""
        _write(sys.stderr, text)

    def step(self, name: str, detail: str) -> None:
        self.say(f"{name}: {detail}")

    def line(self, text: str) -> None:
        """A line of a log, without the control sequences that a program may have written to it."""
        _write(self._values, _CONTROL.sub("", _as_seen(text)))

    def facts(self, rows: Sequence[tuple[str, str]]) -> None:
        """Names and values, one pair a line."""
        width = max((len(name) for name, _ in rows), default=0)
        for name, value in rows:
            _write(self._values, f"{name:<{width}}  {value}".rstrip())

    def table(self, header: Row, rows: Sequence[Row]) -> None:
        """Columns, aligned."""
        widths = [max(len(row[n]) for row in (header, *rows)) for n in range(len(header))]
        for row in (header, *rows):
            cells = (f"{cell:<{width}}" for cell, width in zip(row, widths, strict=True))
            _write(self._values, "  ".join(cells).rstrip())

    @contextmanager
    def progress(self, _text: str) -> Iterator[None]:
        """While in it, `update` shows what goes on; nothing in a pipe."""
        yield

    def update(self, _text: str) -> None:
        """A new text for the progress line."""

    @property
    def _values(self) -> TextIO:
        return sys.stderr if self.as_json else sys.stdout


class RichScreen(Screen):
    """The same on a terminal, with a progress line below what is printed."""

    shows_progress = True

    def __init__(self, *, as_json: bool) -> None:
        from rich.console import Console

        super().__init__(as_json=as_json)
        self._console: Console = Console(stderr=as_json, highlight=False, markup=False, emoji=False)
        self._status: Status | None = None

    def say(self, text: str) -> None:
        self._console.print(text, style="dim", soft_wrap=True)

    def step(self, name: str, detail: str) -> None:
        from rich.text import Text

        self._console.print(Text.assemble((f"{name:<7}", "bold cyan"), " ", detail), soft_wrap=True)
        self.update(f"{name}: {detail}")

    def line(self, text: str) -> None:
        from rich.text import Text

        if text.startswith("\r") and self._status is not None:
            return  # a progress bar is drawn anew: our own progress line stands for it
        self._console.print(Text.from_ansi(_OTHER_THAN_COLOUR.sub("", _as_seen(text))), soft_wrap=True)

    def facts(self, rows: Sequence[tuple[str, str]]) -> None:
        from rich.text import Text

        width = max((len(name) for name, _ in rows), default=0)
        for name, value in rows:  # soft wrap: an address stays one that can be clicked and copied
            parts = (f"{name:<{width}}", "bold"), "  ", (value, _COLOURS.get(value, ""))
            self._console.print(Text.assemble(*parts), soft_wrap=True)

    def table(self, header: Row, rows: Sequence[Row]) -> None:
        from rich import box
        from rich.table import Table
        from rich.text import Text

        grid = Table(box=box.SIMPLE_HEAD, pad_edge=False)
        for n, name in enumerate(header):
            # the first column is what one copies, a run's id: others are folded where the terminal is narrow
            grid.add_column(name, style="bold" if n == 0 else None, overflow="fold", no_wrap=n == 0)
        for row in rows:
            grid.add_row(*(Text(cell, style=_COLOURS.get(cell, "")) for cell in row))
        self._console.print(grid)

    @contextmanager
    def progress(self, text: str) -> Iterator[None]:
        with self._console.status(text, spinner="dots", refresh_per_second=8) as self._status:
            try:
                yield
            finally:
                self._status = None

    def update(self, text: str) -> None:
        if self._status is not None:
            self._status.update(text)


_COLOURS = {
    "succeeded": "green",
    "healthy": "green",
    "running": "cyan",
    "unhealthy": "bold yellow",
    "failed": "bold red",
    "crashed": "bold red",
    "cancelled": "yellow",
    "ok": "green",
    "warning": "yellow",
    "failure": "bold red",
    "not checked": "dim",
}


def screen(*, as_json: bool = False) -> Screen:
    """The screen that fits where the output goes."""
    stream = sys.stderr if as_json else sys.stdout
    if stream.isatty() and os.environ.get("TERM") != "dumb":
        return RichScreen(as_json=as_json)
    return Screen(as_json=as_json)


def _as_seen(text: str) -> str:
    """What a terminal would show of a line that returns to its beginning to overwrite itself."""
    return text.rstrip("\r").rpartition("\r")[2]


def _write(stream: TextIO, text: str) -> None:
    stream.write(text + "\n")
    stream.flush()
