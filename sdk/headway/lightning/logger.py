"""HeadwayLogger: Lightning's metrics and hyperparameters into the spool, some 15 µs a call."""

from __future__ import annotations

import os
from argparse import Namespace
from collections.abc import Mapping
from typing import Any

from headway.lightning.framework import framework, is_first_rank, made, spool
from headway.spec.layout import TrainingVariables


class HeadwayLogger:
    """A Lightning logger that never waits for a server; the runtime delivers what it writes."""

    @property
    def name(self) -> str:
        return os.environ[TrainingVariables.RUN_ID]

    @property
    def version(self) -> str:
        return ""

    @property
    def save_dir(self) -> str:
        return os.environ[TrainingVariables.OUTPUTS]

    def log_metrics(self, metrics: Mapping[str, float], step: int | None = None) -> None:
        if is_first_rank():
            values = dict(metrics)
            epoch = values.pop("epoch", None)
            spool().metrics(values, step=int(step or 0), epoch=None if epoch is None else int(epoch))

    def log_hyperparams(self, params: Mapping[str, Any] | Namespace, *_: Any, **__: Any) -> None:
        if is_first_rank():
            spool().params(vars(params) if isinstance(params, Namespace) else dict(params))


def logger() -> Any:
    """A HeadwayLogger which is a Logger of the Lightning package in use."""
    return made(HeadwayLogger, framework().loggers.Logger)()
