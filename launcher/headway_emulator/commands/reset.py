"""`headway-emulator reset`."""

from __future__ import annotations

import argparse

from headway_emulator.asking import ask
from headway_emulator.commands import target


def add_flags(parser: argparse.ArgumentParser) -> None:
    target.add_flags(parser)


def run(flags: argparse.Namespace) -> int:
    return target.answered(lambda: ask(target.url(flags), "POST", "/emulator/reset") and None)
