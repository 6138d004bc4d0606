"""`python -m headway.runtime.evaluate module:function MODEL DATA ANSWER`: one evaluation of one model."""

from __future__ import annotations

import atexit
import gc
import importlib
import json
import os
import sys
import threading
import traceback
from collections.abc import Mapping
from pathlib import Path

from headway.errors import ExitCode, InputError


def main(entry: str, model: str, data: str, answer: str) -> int:
    """Call the function with two paths; the answer's file gets `metrics`, or the `error` that there was."""
    try:
        said: dict[str, object] = {"metrics": _metrics(entry, Path(model), Path(data))}
    except InputError as error:
        said = {"error": error.message}
    except Exception as error:  # noqa: BLE001  the user's code may raise anything; its traceback is in the log
        traceback.print_exc()
        said = {"error": f"{type(error).__name__}: {(str(error).splitlines() or [''])[0]}"}
    Path(answer).write_text(json.dumps(said), encoding="utf-8")
    return ExitCode.RUN_FAILED if "error" in said else ExitCode.OK


def _metrics(entry: str, model: Path, data: Path) -> dict[str, float]:
    module_name, _, name = entry.partition(":")
    function = getattr(importlib.import_module(module_name), name, None)
    gc.freeze()
    gc.enable()
    if not callable(function):
        raise InputError(f"{module_name} has no function {name}")
    given = function(model, data)
    if not isinstance(given, Mapping) or not given:
        raise InputError(f"{entry} must return a dict of numbers, not {type(given).__name__} {given!r:.80}")
    metrics: dict[str, float] = {}
    for key, value in given.items():
        try:
            metrics[str(key)] = float(value)
        except (TypeError, ValueError, OverflowError, RuntimeError):
            raise InputError(f"{entry} gave {value!r:.80} for {key}, which is no number") from None
    return metrics


def _left_at_once(code: int) -> None:
    """What the user's code asked to be done at the end is done; to take torch apart takes seconds."""
    threading._shutdown()  # type: ignore[attr-defined]
    atexit._run_exitfuncs()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)


if __name__ == "__main__":
    gc.disable()  # else it looks through all that is imported, again and again
    _left_at_once(main(*sys.argv[1:5]))
