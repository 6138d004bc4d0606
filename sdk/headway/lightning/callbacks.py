"""Our callbacks: the final model at its place, a restarted run resumed, a plain script's metrics mirrored."""

from __future__ import annotations

import os
import shutil
import sys
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from headway.lightning.framework import folder, framework, made, spool
from headway.lightning.logger import HeadwayLogger
from headway.spec.layout import TrainingVariables

MODEL_FILE = "model.ckpt"
_TRUST = "TORCH_FORCE_NO_WEIGHTS_ONLY_LOAD"


class FinalModel:
    """When `fit` ends, puts the best checkpoint, or else the last, into the run's model folder."""

    def on_fit_end(self, trainer: Any, *_: Any) -> None:
        if next(callback for callback in trainer.callbacks if isinstance(callback, FinalModel)) is not self:
            return  # the kit's and the automatic one may both be there
        target = folder(TrainingVariables.MODEL) / MODEL_FILE
        # rank 0 decides for all: its checkpoints lie on its own disk, which other nodes do not see
        if (source := trainer.strategy.broadcast(_chosen(trainer))) is None:
            trainer.save_checkpoint(target)  # on all ranks: sharded strategies need each
        elif trainer.is_global_zero:
            target.parent.mkdir(parents=True, exist_ok=True)
            _copy(source, target)


class RunCheckpoint:
    """The run's own ModelCheckpoint. Lightning tells such callbacks apart by their class and settings: under
    its own name it stands beside one of yours that has the same settings."""


class EpochLine:
    """One line an epoch in the log, which is no terminal: a redrawn bar would be dozens of lines there."""

    def on_train_epoch_end(self, trainer: Any, *_: Any) -> None:
        # read on all ranks: with sync_dist it is a collective, which one rank alone would wait in for ever
        metrics = trainer.callback_metrics
        if not trainer.is_global_zero:
            return
        values = ", ".join(f"{name} {float(value):.4g}" for name, value in metrics.items())
        # Lightning counts epochs from 0
        sys.stdout.write(f"epoch {trainer.current_epoch}, step {trainer.global_step}: {values}\n")
        sys.stdout.flush()


class Resume:
    """Lets the first `fit` of a restarted run go on from its newest checkpoint.

    Lightning goes on by itself from what a checkpoint-on-exception callback left (its fault-tolerant resume);
    this one shows it the checkpoint that the runtime brought, and leaves nothing on an exception.
    """

    ckpt_path: str = ""
    _trusting = False

    def setup(self, *_: Any, **__: Any) -> None:
        # the run's own checkpoint: its hyperparameters may be of any type, which torch refuses by default
        self._trusting = _TRUST not in os.environ
        os.environ.setdefault(_TRUST, "1")

    def on_train_start(self, *_: Any) -> None:
        if self._trusting:
            os.environ.pop(_TRUST, None)
        # a second trainer of the same script begins afresh
        os.environ.pop(TrainingVariables.RESUME, None)

    def on_exception(self, *_: Any, **__: Any) -> None: ...

    def teardown(self, *_: Any, **__: Any) -> None: ...


class Mirror:
    """Writes what a plain script logs into the spool, where it has no HeadwayLogger."""

    def __init__(self) -> None:
        self._last: tuple[int, dict[str, float]] | None = None
        self._validated: dict[str, float] = {}

    def on_fit_start(self, trainer: Any, module: Any) -> None:
        if self._is_needed(trainer) and getattr(module, "hparams", None):
            spool().params(dict(module.hparams))

    def on_train_batch_end(self, trainer: Any, *_: Any) -> None:
        if trainer.global_step % max(trainer.log_every_n_steps, 1) == 0:
            self._write(trainer, trainer.logged_metrics, in_training=True)

    def on_train_epoch_end(self, trainer: Any, *_: Any) -> None:
        self._write(trainer, trainer.callback_metrics, in_training=True)

    def on_validation_end(self, trainer: Any, *_: Any) -> None:
        self._write(trainer, trainer.callback_metrics)

    def on_test_end(self, trainer: Any, *_: Any) -> None:
        self._write(trainer, trainer.callback_metrics)

    def _write(self, trainer: Any, metrics: Mapping[str, Any], *, in_training: bool = False) -> None:
        # the callers read `metrics` on all ranks: see EpochLine
        if trainer.sanity_checking or not self._is_needed(trainer):
            return
        values = {name: float(value) for name, value in metrics.items()}
        if in_training:
            # what validation gave is shown on until the next one: it is no value of these steps
            values = {name: value for name, value in values.items() if self._validated.get(name) != value}
        else:
            self._validated = values
        written = (trainer.global_step, values)
        if values and written != self._last:
            spool().metrics(values, step=trainer.global_step, epoch=trainer.current_epoch)
            self._last = written

    def _is_needed(self, trainer: Any) -> bool:
        mine = any(isinstance(logger, HeadwayLogger) for logger in trainer.loggers)
        return not mine and bool(trainer.is_global_zero)


def final_model() -> Any:
    return made(FinalModel, framework().Callback)()


def epoch_line() -> Any:
    return made(EpochLine, framework().Callback)()


def run_checkpoint(**settings: Any) -> Any:
    """A ModelCheckpoint in the run's checkpoint folder."""
    base = framework().callbacks.ModelCheckpoint
    return made(RunCheckpoint, base)(
        dirpath=folder(TrainingVariables.CHECKPOINTS), save_last=True, **settings
    )


def mirror() -> Any:
    return made(Mirror, framework().Callback)()


def resume(checkpoint: str) -> Any:
    """A callback by which `fit` goes on from that checkpoint."""
    warnings.filterwarnings("ignore", message=r".*ckpt_path=None\)` was called without a model")
    warnings.filterwarnings("ignore", message=r"Checkpoint directory .* exists and is not empty")
    warnings.filterwarnings("ignore", message=rf"Environment variable {_TRUST} detected")
    base = framework().callbacks.OnExceptionCheckpoint
    callback = made(Resume, base)(dirpath=str(Path(checkpoint).parent))
    callback.ckpt_path = checkpoint
    return callback


def _chosen(trainer: Any) -> Path | None:
    callback = trainer.checkpoint_callback
    for name in ("best_model_path", "last_model_path"):
        path = getattr(callback, name, "")
        if path and Path(path).exists():
            return Path(path)
    return None


def _copy(source: Path, target: Path) -> None:
    if source.is_dir():
        shutil.copytree(source, target, dirs_exist_ok=True)
    else:
        part = target.with_name(target.name + ".part")
        shutil.copyfile(source, part)
        part.replace(target)
