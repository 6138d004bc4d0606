"""`pl.Trainer(**kit())`: tracker, checkpoints and resume in a run; nothing at all outside of one."""

from __future__ import annotations

import os
from typing import Any

from headway.lightning.framework import folder, is_run
from headway.spec.layout import TrainingVariables


def kit(
    *, monitor: str | None = None, mode: str = "min", every_n_train_steps: int | None = None, **trainer: Any
) -> dict[str, Any]:
    """Arguments for a Lightning Trainer: yours, completed with the run's.

    `monitor` and `mode` choose the checkpoint that becomes the model; without them it is the newest. In a run
    a logger, a ModelCheckpoint, the default root folder and the number of nodes are added, and one line an
    epoch takes the progress bar's place; your callbacks and loggers are kept, and each argument that you give
    wins. Outside of a run it gives back what you gave.
    """
    if not is_run():
        return trainer
    from headway.lightning import callbacks
    from headway.lightning.logger import logger

    ours = [callbacks.final_model()]
    given = _listed(trainer.pop("callbacks", None))
    if trainer.get("enable_checkpointing", True):
        ours.append(
            callbacks.run_checkpoint(monitor=monitor, mode=mode, every_n_train_steps=every_n_train_steps)
        )
    if not trainer.setdefault("enable_progress_bar", False):
        ours.append(callbacks.epoch_line())
    if checkpoint := os.environ.get(TrainingVariables.RESUME):
        ours.append(callbacks.resume(checkpoint))
    loggers = trainer.pop("logger", None)
    if loggers is not False:
        # yours come first: `self.logger` in a module is the first
        trainer["logger"] = [*_listed(None if loggers is True else loggers), logger()]
    else:
        trainer["logger"] = False
    defaults = {
        "default_root_dir": str(folder(TrainingVariables.OUTPUTS)),
        "num_nodes": int(os.environ.get(TrainingVariables.NODES, "1")),
    }
    return {**defaults, **trainer, "callbacks": [*given, *ours]}


def _listed(value: Any) -> list[Any]:
    if value is None:
        return []
    return list(value) if isinstance(value, list | tuple) else [value]
