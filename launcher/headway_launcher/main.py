"""The command `launch`; the only place that exits, and where every error becomes words and an exit code."""

from __future__ import annotations

import gc
import os
import sys
from io import TextIOWrapper
from typing import NoReturn


def main() -> NoReturn:
    """Run the command line of this process."""
    _start_lightly()
    if isinstance(sys.stdout, TextIOWrapper):  # a log may hold what the terminal's encoding lacks
        sys.stdout.reconfigure(errors="backslashreplace")
    code = run(sys.argv[1:])
    gc.freeze()  # the interpreter's end would look through all of it for garbage, twice
    sys.exit(code)


def _start_lightly() -> None:
    """Leave out of a start what none of our commands needs: a tenth of `launch plan`."""
    # what is loaded stays: looking for garbage after every 700 new objects finds none
    gc.set_threshold(100_000)
    # pydantic would look for plugins in every distribution that is installed
    os.environ.setdefault("PYDANTIC_DISABLE_PLUGINS", "__all__")


def run(arguments: list[str]) -> int:
    """Run one command line; returns its exit code. The version is told before anything is imported."""
    if arguments in (["--version"], ["version"]):
        from headway import __version__

        sys.stdout.write(f"headway {__version__}\n")
        return 0
    from headway_launcher import failures

    with failures.reported(as_json="--json" in arguments) as outcome:
        from headway_launcher.app import command

        outcome.code = command(arguments)(arguments, prog_name="launch", standalone_mode=False) or 0
    return outcome.code
