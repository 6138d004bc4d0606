"""The command `launch`; the only place that exits, and where every error becomes words and an exit code."""

from __future__ import annotations

import sys
from io import TextIOWrapper
from typing import NoReturn


def main() -> NoReturn:
    """Run the command line of this process."""
    if isinstance(sys.stdout, TextIOWrapper):  # a log may hold what the terminal's encoding lacks
        sys.stdout.reconfigure(errors="backslashreplace")
    sys.exit(run(sys.argv[1:]))


def run(arguments: list[str]) -> int:
    """Run one command line; returns its exit code. The version is told before anything is imported."""
    if arguments in (["--version"], ["version"]):
        from headway_launcher.version import version

        sys.stdout.write(f"headway {version()}\n")
        return 0
    from headway_launcher import failures

    with failures.reported(as_json="--json" in arguments) as outcome:
        from headway_launcher.app import command

        outcome.code = command(arguments)(arguments, prog_name="launch", standalone_mode=False) or 0
    return outcome.code
