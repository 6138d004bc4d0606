"""`python -m headway.runtime.call module:function '{"lr": 0.001}'`: an entrypoint that is a function."""

from __future__ import annotations

import importlib
import json
import sys

from headway.errors import ExitCode


def main(entrypoint: str, arguments: str) -> int:
    """Call the function with keyword arguments. An int that it returns is the exit code (a bool is not)."""
    module_name, _, name = entrypoint.partition(":")
    function = getattr(importlib.import_module(module_name), name, None)
    if not callable(function):
        sys.stderr.write(f"headway: error: {module_name} has no function {name} (entrypoint: {entrypoint})\n")
        return ExitCode.INPUT
    result = function(**json.loads(arguments))
    return result if isinstance(result, int) and not isinstance(result, bool) else 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:3]))
