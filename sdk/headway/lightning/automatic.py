"""Lightning calls `callbacks` where a script builds a Trainer (entry points in pyproject.toml)."""

from __future__ import annotations

from typing import Any

from headway.lightning.framework import is_run


def callbacks() -> list[Any]:
    """In a run, callbacks by which a plain script is tracked and leaves its model; else none."""
    if not is_run():
        return []
    from headway.lightning.callbacks import final_model, mirror

    return [mirror(), final_model()]
