"""`eval "$(headway-emulator env)"`: gcloud and Google's Python clients are pointed at an emulator."""

from __future__ import annotations

import argparse
import json
import shlex
from collections.abc import Mapping
from pathlib import Path

from headway_emulator.asking import ask
from headway_emulator.commands import target
from headway_emulator.hosts import SERVICES
from headway_emulator.variables import HIDDEN, variables


def add_flags(parser: argparse.ArgumentParser) -> None:
    target.add_flags(parser)
    how = parser.add_mutually_exclusive_group()
    how.add_argument("--unset", action="store_true", help="lines that take them away again")
    how.add_argument("--json", action="store_true", help="one JSON document instead of lines for a shell")


def run(flags: argparse.Namespace) -> int:
    if flags.unset:  # no emulator is needed for it
        names = variables("", "", Path(), tuple(SERVICES))
        target.say("\n".join(f"unset {name}" for name in names))
        return 0
    return target.answered(lambda: _show(of(target.url(flags)), as_json=flags.json))


def of(url: str) -> Mapping[str, str]:
    """The variables of the emulator at this address."""
    page = ask(url, "GET", "/")
    return variables(url, page["project"], Path(page.get("state", "")), tuple(page["services"]))


def _show(found: Mapping[str, str], *, as_json: bool) -> None:
    if as_json:
        target.say(json.dumps(found, indent=2))
        return
    lines = [f"export {name}={shlex.quote(value)}" for name, value in found.items()]
    target.say("\n".join([*(f"unset {name}" for name in HIDDEN), *lines]))
