"""What the callbacks do on each rank, with a trainer of our own."""

from __future__ import annotations

from pathlib import Path

import pytest

from headway.lightning import framework
from headway.lightning.callbacks import EpochLine, Mirror
from headway.spec.layout import TrainingVariables


class Trainer:
    """As much of Lightning's as is asked; `asked` counts the reads of metrics, which may be collectives."""

    current_epoch = 0
    global_step = 4
    log_every_n_steps = 2
    sanity_checking = False
    loggers = ()

    def __init__(self, rank: int) -> None:
        self.is_global_zero = rank == 0
        self.asked = 0

    @property
    def callback_metrics(self) -> dict[str, float]:
        self.asked += 1
        return {"loss": 0.5}

    logged_metrics = callback_metrics


@pytest.fixture(autouse=True)
def in_a_run(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv(TrainingVariables.SPOOL, str(tmp_path))
    framework.spool.cache_clear()


def test_an_epochs_line_is_written_by_the_first_rank(capsys: pytest.CaptureFixture[str]) -> None:
    for rank in (0, 1):
        EpochLine().on_train_epoch_end(Trainer(rank))
    assert capsys.readouterr().out == "epoch 0, step 4: loss 0.5\n"


@pytest.mark.parametrize(
    "hook",
    [
        EpochLine().on_train_epoch_end,
        Mirror().on_train_epoch_end,
        Mirror().on_train_batch_end,
        Mirror().on_validation_end,
        Mirror().on_test_end,
    ],
)
def test_metrics_are_read_on_all_ranks_or_on_none(hook: object) -> None:
    first, other = Trainer(0), Trainer(1)
    for trainer in (first, other):
        assert callable(hook)
        hook(trainer)
    assert first.asked == other.asked == 1
