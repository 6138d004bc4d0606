"""Makes a picture of a terminal: runs a command in one, and draws the last lines that it showed.

python docs/images/picture.py docs/images/demo.svg "make demo" make demo
"""

from __future__ import annotations

import io
import os
import pty
import re
import sys
from pathlib import Path

LINES, COLUMNS = 26, 120
_CONTROL = re.compile(r"\x1b\[[0-9;?]*[A-HJKSTfhlsu]|\x1b\][^\x07]*\x07")
"""Cursor movements and the like; colours (…m) are kept."""


def shown(command: list[str]) -> list[str]:
    """The lines that a command leaves on a terminal; of a line that was overwritten, its last state."""
    heard = bytearray()

    def read(descriptor: int) -> bytes:
        data = os.read(descriptor, 4096)
        heard.extend(data)
        return data

    os.environ.update(COLUMNS=str(COLUMNS), TERM="xterm-256color")
    if code := os.waitstatus_to_exitcode(pty.spawn(command, read)):
        sys.exit(code)
    text = _CONTROL.sub("", heard.decode(errors="replace")).replace("\r\n", "\n")
    return [line.rpartition("\r")[2] for line in text.rstrip().split("\n")]


def draw(lines: list[str], title: str, target: Path) -> None:
    """Write the lines as an SVG."""
    from rich.console import Console
    from rich.text import Text

    console = Console(record=True, file=io.StringIO(), width=COLUMNS, force_terminal=True)
    for line in lines[-LINES:]:
        console.print(Text.from_ansi(line), soft_wrap=False)
    console.save_svg(str(target), title=title)


if __name__ == "__main__":
    target, title, *command = sys.argv[1:]
    draw(shown(command), title, Path(target))
