"""`eval "$(headway-emulator env)"`: gcloud and Google's Python clients are pointed at an emulator."""

from __future__ import annotations

import argparse
import json
import shlex
from collections.abc import Mapping
from typing import Any

from headway_emulator.asking import ask
from headway_emulator.commands import target

WAYS = ("transparent", "explicit")


def add_flags(parser: argparse.ArgumentParser) -> None:
    target.add_flags(parser)
    parser.add_argument(
        "--way",
        choices=WAYS,
        default=WAYS[0],
        help="transparent (the default): a proxy for default addresses; explicit: an address for each",
    )
    how = parser.add_mutually_exclusive_group()
    how.add_argument("--unset", action="store_true", help="lines that take away what either way sets")
    how.add_argument("--json", action="store_true", help="one JSON document instead of lines for a shell")


def run(flags: argparse.Namespace) -> int:
    return target.answered(lambda: _show(flags, of(target.url(flags), flags.way)))


def of(url: str, way: str) -> Mapping[str, Any]:
    """`set`: variables with their values, and `unset`: those that would lead past the emulator."""
    found: Mapping[str, Any] = ask(url, "GET", f"/emulator/env?way={way}")
    return found


def _show(flags: argparse.Namespace, found: Mapping[str, Any]) -> None:
    if flags.json:
        target.say(json.dumps({"set": found["set"], "unset": found["unset"]}, indent=2))
    elif flags.unset:
        target.say("\n".join(f"unset {name}" for name in _of_either_way(found)))
    else:
        lines = [f"export {name}={shlex.quote(value)}" for name, value in found["set"].items()]
        target.say("\n".join([*(f"unset {name}" for name in found["unset"]), *lines]))


def _of_either_way(found: Mapping[str, Any]) -> list[str]:
    from headway_emulator.variables import HIDDEN

    return [name for name in (*found["set"], *found["unset"]) if name not in HIDDEN]
