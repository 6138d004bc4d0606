"""Trains a small forecaster on the days that were delivered so far. Runs as it is: `python train.py`."""

from __future__ import annotations

import argparse
import os
import shutil
from pathlib import Path

import forecast
import pytorch_lightning as pl
import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader, TensorDataset

import headway.lightning


class Weather(pl.LightningModule):
    def __init__(self, lr: float) -> None:
        super().__init__()
        self.lr = lr
        self.forecaster = forecast.Forecaster()

    def training_step(self, batch: list[Tensor], _: int) -> Tensor:
        inputs, targets = batch
        loss = nn.functional.mse_loss(self.forecaster(inputs), targets) / self.forecaster.middle[1] ** 2
        self.log("train_loss", loss, on_step=False, on_epoch=True)
        return loss

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.Adam(self.parameters(), lr=self.lr)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--max_steps", type=int, default=100)
    parser.add_argument("--lr", type=float, default=0.01)
    parser.add_argument("--data", type=Path, default=Path("data"))
    args = parser.parse_args()

    torch.set_num_threads(1)
    pl.seed_everything(7)
    inputs, targets, _ = forecast.cases(forecast.days(args.data / "days"), held_out=False)
    model = Weather(args.lr)
    model.forecaster.fit_scale(inputs, targets)
    trainer = pl.Trainer(
        max_steps=args.max_steps,
        max_epochs=-1,
        accelerator="cpu",
        enable_model_summary=False,
        log_every_n_steps=1000,
        **headway.lightning.kit(),
    )
    trainer.fit(model, DataLoader(TensorDataset(inputs, targets), 64, shuffle=True))
    keep_the_drift_report(args.data / "drift")


def keep_the_drift_report(folder: Path) -> None:
    """The report of the data that this run was trained on belongs to the run."""
    outputs = os.environ.get("HEADWAY_OUTPUTS")
    if outputs is None:
        return
    for file in folder.glob("drift.*"):
        shutil.copy(file, outputs)


if __name__ == "__main__":
    main()
