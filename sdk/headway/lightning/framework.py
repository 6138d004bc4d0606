"""Lightning under either of its names, and classes of ours made from its bases."""

from __future__ import annotations

import importlib
import os
import sys
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any

from headway.spec.layout import TrainingVariables
from headway.tracking.spool import Spool

_NAMES = ("pytorch_lightning", "lightning.pytorch")


def is_run(environment: Mapping[str, str] = os.environ) -> bool:
    """Whether this process was started by headway's runtime."""
    return TrainingVariables.RUN_ID in environment and TrainingVariables.SPOOL in environment


def folder(variable: str) -> Path:
    """A folder of the run, from its variable."""
    return Path(os.environ[variable])


@cache
def spool() -> Spool:
    """The run's spool, one for this process."""
    return Spool(folder(TrainingVariables.SPOOL))


def framework() -> Any:
    """The Lightning package that the training code has imported; else the one that is installed."""
    for name in _NAMES:
        if name in sys.modules:
            return sys.modules[name]
    try:
        return importlib.import_module(_NAMES[0])
    except ImportError:
        return importlib.import_module(_NAMES[1])


def is_first_rank() -> bool:
    """Whether this process has global rank 0. Both packages keep it here."""
    from lightning_utilities.core.rank_zero import rank_zero_only

    return int(getattr(rank_zero_only, "rank", 0)) == 0


def made(behaviour: type, base: type) -> Any:
    """A class with our behaviour and Lightning's base, which is known only when the code runs."""
    return type(behaviour.__name__, (behaviour, base), {"__doc__": behaviour.__doc__})
