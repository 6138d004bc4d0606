"""`headway-emulator faults`: list them, arm one, disarm."""

from __future__ import annotations

import argparse
import json
from typing import Any

from headway_emulator.asking import Refused, ask
from headway_emulator.commands import target

PATH = "/emulator/faults"


def add_flags(parser: argparse.ArgumentParser) -> None:
    target.add_flags(parser)
    parser.add_argument(
        "--add",
        nargs="+",
        metavar="FIELD=VALUE",
        help='such as kind=preempt "job=*" after=30; times=1 unless told',
    )
    parser.add_argument("--remove", metavar="ID", help="disarm one")
    parser.add_argument("--clear", action="store_true", help="disarm all")
    parser.add_argument("--fired", action="store_true", help="only those that fired, each time")
    parser.add_argument("--json", action="store_true", help="one JSON document")


def run(flags: argparse.Namespace) -> int:
    return target.answered(lambda: _run(flags, target.url(flags)))


def _run(flags: argparse.Namespace, url: str) -> None:
    if flags.add:
        target.say(ask(url, "POST", PATH, fault(flags.add))["id"])
        return
    if flags.remove or flags.clear:
        ask(url, "DELETE", f"{PATH}/{flags.remove}" if flags.remove else PATH)
        return
    found = ask(url, "GET", PATH)
    shown = found["fired"] if flags.fired else found["faults"]
    if flags.json:
        target.say(json.dumps(shown, indent=2))
        return
    for one in shown:
        target.say(_fired(one) if flags.fired else _armed(one))


def fault(words: list[str]) -> dict[str, Any]:
    """FIELD=VALUE as a document; numbers, true and false are what they look like, all else is text."""
    found: dict[str, Any] = {}
    for word in words:
        name, equals, value = word.partition("=")
        if not equals:
            raise Refused(f"{word!r} is no FIELD=VALUE.")
        try:
            read = json.loads(value)
        except ValueError:
            read = value
        found[name] = read if isinstance(read, bool | int | float) else value
    return found


def _armed(one: dict[str, Any]) -> str:
    said = {k: v for k, v in one.items() if k not in ("id", "kind", "times", "chances", "fired")}
    words = " ".join(f"{name}={value}" for name, value in said.items())
    return f"{one['id']} {one['kind']} fired {one['fired']} of {one['times'] or 'any'} {words}".rstrip()


def _fired(one: dict[str, Any]) -> str:
    words = " ".join(f"{name}={value}" for name, value in one["on"].items())
    return f"{one['time']} {one['fault']} {one['kind']} {words}".rstrip()
