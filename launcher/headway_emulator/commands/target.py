"""Which running emulator a command is about."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Callable
from pathlib import Path

from headway_emulator import record
from headway_emulator.asking import Refused
from headway_emulator.variables import URL


def add_flags(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--url", help=f"address of the emulator (${URL}, else the one that runs on --state)")
    parser.add_argument("--state", type=Path, help="its state folder (the same default as serve's)")


def url(flags: argparse.Namespace) -> str:
    """Raises Refused where none is known."""
    if not flags.state and (given := flags.url or os.environ.get(URL)):
        return str(given).rstrip("/")
    state = flags.state or record.default_state()
    found = record.read(state)
    if found is None:
        raise Refused(f"No emulator runs on {state}. Start one (headway-emulator serve), or give its --url.")
    return found.url


def answered(command: Callable[[], None]) -> int:
    """The exit code; an emulator's refusal is told in its own words."""
    try:
        command()
    except Refused as error:
        sys.stderr.write(f"headway-emulator: {error}\n")
        return 3
    except BrokenPipeError:  # the reader has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    return 0


def say(text: str) -> None:
    sys.stdout.write(text if text.endswith("\n") else f"{text}\n")
