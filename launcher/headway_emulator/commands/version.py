"""`headway-emulator version`."""

from __future__ import annotations

import argparse

from headway_emulator import record
from headway_emulator.commands import target


def add_flags(parser: argparse.ArgumentParser) -> None:
    """None."""


def run(_: argparse.Namespace) -> int:
    target.say(f"headway-emulator {record.version()}")
    return 0
