"""Cases from days, the model, and what it is judged by. Torch and NumPy only: an evaluation starts fast."""

from __future__ import annotations

import csv
from datetime import date
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor, nn

COLUMNS = ["temp_max", "temp_min", "precipitation", "wind"]
DAYS, AHEAD = 3, 5
"""So many days are seen, and the warmest temperature so many days after the last of them is foretold."""
HELD_OUT = 24
"""Days from this one of each month on are never trained on."""
SEASONS = ("winter", "spring", "summer", "autumn")


class Days(NamedTuple):
    """Days in order, and their values, one row a day and a column each of COLUMNS."""

    dates: list[date]
    values: np.ndarray


def days(folder: Path) -> Days:
    """All days below a folder of CSV files, one a month."""
    files = sorted(folder.glob("*.csv"))
    if not files:
        raise FileNotFoundError(f"no days in {folder}: run simulate.py, which delivers them")
    rows = [row for file in files for row in csv.DictReader(file.read_text(encoding="utf-8").splitlines())]
    values = np.array([[row[name] for name in COLUMNS] for row in rows], np.float32)
    return Days([date.fromisoformat(row["date"]) for row in rows], values)


def cases(known: Days, *, held_out: bool) -> tuple[Tensor, Tensor, list[str]]:
    """Inputs (n, 14), targets in degrees (n,) and seasons (n) of days that are held out, or that are not."""
    dates, values = known
    inputs, targets, seasons = [], [], []
    span = DAYS + AHEAD - 1
    for row in range(span, len(dates)):
        day = dates[row]
        unbroken = (day - dates[row - span]).days == span  # no month is missing in between
        if unbroken and (day.day >= HELD_OUT) == held_out:
            angle = 2 * np.pi * day.timetuple().tm_yday / 365.25
            season = [np.sin(angle), np.cos(angle)]
            inputs.append(np.concatenate([values[row - span : row - AHEAD + 1].ravel(), season]))
            targets.append(values[row, 0])
            seasons.append(SEASONS[day.month % 12 // 3])
    return torch.tensor(np.array(inputs, np.float32)), torch.tensor(np.array(targets)), seasons


class Forecaster(nn.Module):
    """A linear model over what it saw in training, scaled."""

    def __init__(self) -> None:
        super().__init__()
        size = len(COLUMNS) * DAYS + 2
        self.linear = nn.Linear(size, 1)
        for name, value in (("mean", torch.zeros(size)), ("scale", torch.ones(size))):
            self.register_buffer(name, value)
        self.register_buffer("middle", torch.zeros(2))

    def fit_scale(self, inputs: Tensor, targets: Tensor) -> None:
        self.mean, self.scale = inputs.mean(0), inputs.std(0) + 1e-6
        self.middle = torch.stack([targets.mean(), targets.std()])

    def forward(self, inputs: Tensor) -> Tensor:
        scaled = self.linear((inputs - self.mean) / self.scale)[:, 0]
        return scaled * self.middle[1] + self.middle[0]


def evaluate(model: Path, data: Path) -> dict[str, float]:
    """Mean absolute errors in degrees, of all held-out days and by season: what the gates judge."""
    state = torch.load(model, weights_only=True)["state_dict"]
    forecaster = Forecaster()
    forecaster.load_state_dict({name.removeprefix("forecaster."): value for name, value in state.items()})
    inputs, targets, seasons = cases(days(data), held_out=True)
    with torch.no_grad():
        errors = (forecaster(inputs) - targets).abs().numpy()
    metrics = {"mae": float(errors.mean())}
    for name in sorted(set(seasons)):
        metrics[f"season/{name}"] = float(errors[[season == name for season in seasons]].mean())
    return metrics
