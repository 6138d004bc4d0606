"""`eval "$(headway-emulator env)"`: gcloud and Google's Python clients are pointed at an emulator."""

from __future__ import annotations

import argparse
import json
import os
import shlex
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from headway_emulator.asking import ask
from headway_emulator.commands import target

WAYS = ("transparent", "explicit")
BEFORE = "HEADWAY_EMULATOR_BEFORE"
"""Set with the others: what they were before, as JSON, by which --unset works when nothing runs any more."""


def add_flags(parser: argparse.ArgumentParser) -> None:
    target.add_flags(parser)
    parser.add_argument(
        "--way",
        choices=WAYS,
        default=WAYS[0],
        help="transparent (the default): a proxy for default addresses; explicit: an address for each",
    )
    how = parser.add_mutually_exclusive_group()
    how.add_argument("--unset", action="store_true", help="lines that make all as it was before")
    how.add_argument("--json", action="store_true", help="one JSON document instead of lines for a shell")


def run(flags: argparse.Namespace) -> int:
    if flags.unset:
        target.say("\n".join(_taken_back(os.environ)))
        return 0
    return target.answered(lambda: _show(flags, of(target.url(flags), flags.way)))


def of(url: str, way: str) -> Mapping[str, Any]:
    """`set`: variables with their values, and `unset`: those that would lead past the emulator."""
    found: Mapping[str, Any] = ask(url, "GET", f"/emulator/env?way={way}")
    return found


def _show(flags: argparse.Namespace, found: Mapping[str, Any]) -> None:
    if flags.json:
        target.say(json.dumps({"set": found["set"], "unset": found["unset"]}, indent=2))
    else:
        here = {name: os.environ.get(name) for name in (*found["set"], *found["unset"])}
        before = {**here, **_before(os.environ)}
        target.say("\n".join(_lines(found["unset"], {**found["set"], BEFORE: json.dumps(before)})))


def _taken_back(environment: Mapping[str, str]) -> Sequence[str]:
    """None where this shell was never pointed at an emulator."""
    if not (before := _before(environment)):
        return ()
    gone = [name for name, value in before.items() if value is None]
    return _lines((*gone, BEFORE), {name: value for name, value in before.items() if value is not None})


def _before(environment: Mapping[str, str]) -> Mapping[str, str | None]:
    found: Mapping[str, str | None] = json.loads(environment.get(BEFORE) or "{}")
    return found


def _lines(gone: Iterable[str], given: Mapping[str, str]) -> Sequence[str]:
    return [
        *(f"unset {name}" for name in gone),
        *(f"export {name}={shlex.quote(value)}" for name, value in given.items()),
    ]
