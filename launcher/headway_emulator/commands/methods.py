"""`headway-emulator methods`: the tables of the documentation come from here."""

from __future__ import annotations

import argparse
import json
from pathlib import Path

from headway_emulator.commands import target

BEGIN = "<!-- methods: written by `headway-emulator methods --write docs/emulator.md` -->"
END = "<!-- end of methods -->"


def add_flags(parser: argparse.ArgumentParser) -> None:
    how = parser.add_mutually_exclusive_group()
    how.add_argument("--json", action="store_true", help="as GET / gives them")
    how.add_argument("--markdown", action="store_true", help="as tables")
    how.add_argument(
        "--write", type=Path, metavar="FILE", help="put the tables between their marks in a page"
    )


def run(flags: argparse.Namespace) -> int:
    from headway_emulator import catalogue

    found = catalogue.of_this_version()
    if flags.write:
        page = flags.write.read_text(encoding="utf-8")
        flags.write.write_text(replaced(page, catalogue.markdown(found)), encoding="utf-8")
    elif flags.json:
        target.say(json.dumps(found, indent=2))
    else:
        target.say(catalogue.markdown(found) if flags.markdown else catalogue.text(found))
    return 0


def replaced(page: str, tables: str) -> str:
    """The page with these tables between its marks; ValueError where it has none."""
    before, begin, rest = page.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not begin or not end:
        raise ValueError(f"the page has no lines {BEGIN!r} and {END!r}")
    return f"{before}{BEGIN}\n\n{tables}\n{END}{after}"
