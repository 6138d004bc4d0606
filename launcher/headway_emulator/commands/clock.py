"""`headway-emulator clock`: read it, or step a virtual one."""

from __future__ import annotations

import argparse

from headway_emulator.asking import ask
from headway_emulator.commands import target


def add_flags(parser: argparse.ArgumentParser) -> None:
    target.add_flags(parser)
    how = parser.add_mutually_exclusive_group()
    how.add_argument("--advance", metavar="DURATION", help="step it: 90s, 1h30m, 7d")
    how.add_argument("--to", metavar="TIME", help="step it to a time such as 2026-03-29T03:00:00Z")


def run(flags: argparse.Namespace) -> int:
    def command() -> None:
        url = target.url(flags)
        wanted = {name: value for name in ("advance", "to") if (value := getattr(flags, name))}
        clock = ask(url, "POST" if wanted else "GET", "/emulator/clock", wanted or None)
        target.say(f"{clock['now']} ({clock['kind']})")

    return target.answered(command)
