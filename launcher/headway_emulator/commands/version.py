"""`headway-emulator version`."""

from __future__ import annotations

import argparse
from importlib.metadata import PackageNotFoundError, version

from headway_emulator.commands import target


def add_flags(parser: argparse.ArgumentParser) -> None:
    """None."""


def run(_: argparse.Namespace) -> int:
    try:
        target.say(f"headway-emulator {version('headway')}")
    except PackageNotFoundError:  # a copy of the sources that was never installed
        target.say("headway-emulator (not installed)")
    return 0
