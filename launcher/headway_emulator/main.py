"""The command `headway-emulator`: which subcommand is meant; plain flags mean `serve`."""

from __future__ import annotations

import argparse
import importlib
import sys
from collections.abc import Sequence

COMMANDS = {
    "serve": "start an emulator and keep it until a signal",
    "env": "variables that point gcloud and Google's Python clients at it",
    "requests": "what was asked of it, with the permission that each request needs",
    "faults": "what is to go wrong, and what went wrong already",
    "clock": "what time it is there; step a virtual clock",
    "reset": "forget everything: jobs, builds, objects, secrets, faults",
    "methods": "every method that is emulated",
    "version": "which version this is",
}


def main(arguments: Sequence[str] | None = None) -> None:
    """Exit code 0 when all went well, 2 for a bad flag or file, 3 where machine or emulator says no."""
    words = list(sys.argv[1:] if arguments is None else arguments)
    if words and words[0].startswith("-") and words[0] not in ("-h", "--help", "--version"):
        words = ["serve", *words]
    parser = argparse.ArgumentParser(
        prog="headway-emulator",
        description="A fake Google Cloud for training jobs: what it runs, it runs for real.",
    )
    parser.add_argument("--version", action="store_const", const="version", dest="command")
    commands = parser.add_subparsers(dest="command", metavar="COMMAND")
    wanted = words[0] if words else ""
    for name, does in COMMANDS.items():
        below = commands.add_parser(name, help=does, description=f"{does[0].upper()}{does[1:]}.")
        if name == wanted:
            module = importlib.import_module(f"headway_emulator.commands.{name}")
            module.add_flags(below)
    flags = parser.parse_args(words)
    if flags.command is None:
        parser.print_help()
        return
    sys.exit(importlib.import_module(f"headway_emulator.commands.{flags.command}").run(flags))


if __name__ == "__main__":
    main()
