"""`headway-emulator methods`: what is emulated; the tables of the documentation come from here."""

from __future__ import annotations

import argparse
import json
import re
from collections.abc import Mapping
from pathlib import Path

from headway_emulator.commands import target

MARK = "<!-- {name}: written by `headway-emulator methods --write docs/emulator.md` -->"
END = "<!-- end of {name} -->"


def add_flags(parser: argparse.ArgumentParser) -> None:
    how = parser.add_mutually_exclusive_group()
    how.add_argument("--json", action="store_true", help="as GET / gives them")
    how.add_argument("--markdown", action="store_true", help="as tables")
    how.add_argument(
        "--write", type=Path, metavar="FILE", help="put all tables between their marks in a page"
    )


def run(flags: argparse.Namespace) -> int:
    from headway_emulator.api import catalogue
    from headway_emulator.emulation import listing_of_this_version

    found = listing_of_this_version()
    if flags.write:
        page = flags.write.read_text(encoding="utf-8")
        flags.write.write_text(replaced(page, tables(found)), encoding="utf-8")
    elif flags.json:
        target.say(json.dumps(found, indent=2))
    else:
        target.say(catalogue.markdown(found) if flags.markdown else catalogue.text(found))
    return 0


def tables(found: Mapping[str, Mapping[str, object]]) -> Mapping[str, str]:
    """Mark in the page to the tables below it."""
    from headway_emulator.api import catalogue

    return {
        "services": catalogue.services(found),
        "methods": catalogue.methods(found),
        "faults": catalogue.faults(),
    }


def replaced(page: str, tables: Mapping[str, str]) -> str:
    """The page with these tables between their marks; ValueError where it lacks one."""
    for name, table in tables.items():
        begin, end = MARK.format(name=name), END.format(name=name)
        pattern = re.compile(f"{re.escape(begin)}\n.*?{re.escape(end)}", re.DOTALL)
        page, count = pattern.subn(lambda _, new=f"{begin}\n\n{table}\n{end}": new, page)  # type: ignore[misc]
        if count != 1:
            raise ValueError(f"the page has {count} times {begin!r} with {end!r}, not once")
    return page
