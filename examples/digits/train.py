"""Trains a small convolutional network on the handwritten digits. Runs as it is: `python train.py`."""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
import pytorch_lightning as pl
import torch
from PIL import Image
from torch import Tensor, nn
from torch.utils.data import DataLoader, TensorDataset, random_split

import headway.lightning

TILE = 8


def load(folder: Path) -> TensorDataset:
    """The sheets of `folder`, one a digit -> pictures (n, 1, 8, 8) in 0..1 and labels (n,)."""
    pictures, labels = [], []
    for file in sorted(folder.glob("*.png")):
        sheet = np.array(Image.open(file), dtype=np.float32) / 240
        rows, columns = sheet.shape[0] // TILE, sheet.shape[1] // TILE
        tiles = sheet.reshape(rows, TILE, columns, TILE).swapaxes(1, 2).reshape(-1, 1, TILE, TILE)
        tiles = tiles[tiles.any(axis=(1, 2, 3))]  # the black ones only fill the last row
        pictures.append(torch.from_numpy(tiles))
        labels.append(torch.full((len(tiles),), int(file.stem)))
    if not pictures:
        raise FileNotFoundError(f"no pictures in {folder}: run make_data.py, or `dvc pull`")
    return TensorDataset(torch.cat(pictures), torch.cat(labels))


def loaders(root: Path, batch_size: int = 32) -> tuple[DataLoader, DataLoader, DataLoader]:
    """For training, validation (a tenth of the training pictures) and the test."""
    train, val = random_split(load(root / "train"), [0.9, 0.1], torch.Generator().manual_seed(0))
    return (
        DataLoader(train, batch_size, shuffle=True),
        DataLoader(val, batch_size),
        DataLoader(load(root / "test"), batch_size),
    )


class Classifier(pl.LightningModule):
    def __init__(self, lr: float) -> None:
        super().__init__()
        self.save_hyperparameters()
        self.lr = lr
        self.net = nn.Sequential(
            nn.Conv2d(1, 32, 3, padding=1),
            nn.ReLU(),
            nn.Conv2d(32, 64, 3, padding=1),
            nn.ReLU(),
            nn.MaxPool2d(2),
            nn.Flatten(),
            nn.Dropout(0.25),
            nn.Linear(64 * 4 * 4, 128),
            nn.ReLU(),
            nn.Linear(128, 10),
        )

    def forward(self, pictures: Tensor) -> Tensor:
        return self.net(pictures)

    def training_step(self, batch: list[Tensor], _: int) -> Tensor:
        pictures, labels = batch
        loss = nn.functional.cross_entropy(self(pictures), labels)
        self.log("train_loss", loss)
        return loss

    def validation_step(self, batch: list[Tensor], _: int) -> None:
        self.evaluate("val", batch)

    def test_step(self, batch: list[Tensor], _: int) -> None:
        self.evaluate("test", batch)

    def evaluate(self, stage: str, batch: list[Tensor]) -> None:
        pictures, labels = batch
        logits = self(pictures)
        accuracy = (logits.argmax(dim=1) == labels).float().mean()
        self.log(f"{stage}_loss", nn.functional.cross_entropy(logits, labels), prog_bar=True)
        self.log(f"{stage}_acc", accuracy, prog_bar=True)

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.Adam(self.parameters(), lr=self.lr)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--max_epochs", type=int, default=5)
    parser.add_argument("--lr", type=float, default=0.001)
    parser.add_argument("--data", type=Path, default=Path("data/digits"))
    args = parser.parse_args()

    torch.set_num_threads(1)  # the pictures are so small that more threads only wait for each other
    pl.seed_everything(7)
    train, val, test = loaders(args.data)
    trainer = pl.Trainer(max_epochs=args.max_epochs, log_every_n_steps=10, **headway.lightning.kit())
    model = Classifier(args.lr)
    trainer.fit(model, train, val)
    trainer.test(model, test)


if __name__ == "__main__":
    main()
