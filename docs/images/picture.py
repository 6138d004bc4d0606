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

LINES, COLUMNS = 25, 120
_TOKEN = re.compile(r"\x1b\[([0-9;?]*)([A-Za-z])|\x1b\][^\x07]*\x07|([\r\n])|([^\x1b\r\n]+)")


def run(command: list[str]) -> str:
    """What a command writes to its terminal; a command that fails ends this one too."""
    heard = bytearray()

    def read(descriptor: int) -> bytes:
        data = os.read(descriptor, 4096)
        heard.extend(data)
        return data

    os.environ.update(COLUMNS=str(COLUMNS), TERM="xterm-256color")
    if code := os.waitstatus_to_exitcode(pty.spawn(command, read)):
        sys.exit(code)
    return heard.decode(errors="replace")


def shown(text: str) -> list[str]:
    """The lines that are left on the screen, with their colours. A line that is written anew is replaced."""
    lines, row, anew = [""], 0, False
    for match in _TOKEN.finditer(text):
        number, letter, move, plain = match.groups()
        if move == "\n":
            row += 1
            lines += [""] * (row + 1 - len(lines))
            anew = True
        elif move == "\r":
            anew = True
        elif letter == "A":
            row = max(0, row - int(number or 1))
        elif letter == "K":
            lines[row] = ""
        elif letter == "m" or plain:
            lines[row] = ("" if anew else lines[row]) + match[0]
            anew = False
    while lines and not lines[-1].strip():
        lines.pop()
    return lines


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
    draw(shown(run(command)), title, Path(target))
