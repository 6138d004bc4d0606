"""Cases from days, the model, and what it is judged by. Torch and pandas only: an evaluation starts fast."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import torch
from torch import Tensor, nn

COLUMNS = ["temp_max", "temp_min", "precipitation", "wind"]
DAYS, AHEAD = 3, 5
"""So many days are seen, and the warmest temperature so many days after the last of them is foretold."""
HELD_OUT = 24
"""Days from this one of each month on are never trained on."""
SEASONS = ("winter", "spring", "summer", "autumn")


def days(folder: Path) -> pd.DataFrame:
    """All days below a folder of CSV files, one a month, in order."""
    files = sorted(folder.glob("*.csv"))
    if not files:
        raise FileNotFoundError(f"no days in {folder}: run simulate.py, which delivers them")
    return pd.concat([pd.read_csv(file, parse_dates=["date"]) for file in files], ignore_index=True)


def cases(table: pd.DataFrame, *, held_out: bool) -> tuple[Tensor, Tensor, list[str]]:
    """Inputs (n, 14), targets in degrees (n,) and seasons (n) of days that are held out, or that are not."""
    dates, values = table["date"], table[COLUMNS].to_numpy(np.float32)
    inputs, targets, seasons = [], [], []
    span = DAYS + AHEAD - 1
    for row in range(span, len(table)):
        day = dates[row]
        unbroken = (day - dates[row - span]).days == span  # no month is missing in between
        if unbroken and (day.day >= HELD_OUT) == held_out:
            angle = 2 * np.pi * day.day_of_year / 365.25
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
