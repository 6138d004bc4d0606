"""What an hour of a machine costs on Vertex AI: an estimate from the list prices of prices.csv, dated there.

Vertex AI custom training adds 15% of Compute Engine's on-demand price (its price page of October 2026, and a
bill of August 2025); flex-start is its own price and the same fee. That spot carries 15% is an inference.
"""

from __future__ import annotations

import csv
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from functools import cache
from importlib.resources import files
from typing import Literal

Strategy = Literal["STANDARD", "SPOT", "FLEX_START"]
"""Names of Vertex AI's Scheduling.Strategy; ON_DEMAND and LOW_COST are deprecated there."""

FEE = 0.15
_COLUMNS = ("on_demand", "spot", "flex_start")


@dataclass(frozen=True)
class Row:
    """A machine or one accelerator in a region: USD an hour by list, None where not known."""

    vcpus: int | None
    memory_gib: float | None
    on_demand: float | None
    spot: float | None
    flex_start: float | None


@dataclass(frozen=True)
class Prices:
    """The rows of prices.csv by name and region, and the date that they are of."""

    date: str
    rows: Mapping[tuple[str, str], Row]

    def usd_hour(
        self,
        machine: str,
        accelerator: str | None,
        count: int,
        *,
        region: str,
        strategy: Strategy = "STANDARD",
        nodes: int = 1,
    ) -> float | None:
        """USD an hour of so many machines, boot disks left out; None where a part's price is not known."""
        parts = [(self.rows.get((machine, region)), 1)]
        if accelerator:
            parts.append((self.rows.get((accelerator, region)), count))
        hour = 0.0
        for row, number in parts:
            price = _of_vertex(row, strategy) if row else None
            if price is None:
                return None
            hour += price * number
        return round(hour * nodes, 4) or None

    def size(self, machine: str) -> tuple[int, float] | None:
        """vCPUs and memory in GiB of a machine type, where it is known."""
        for (name, _), row in self.rows.items():
            if name == machine and row.vcpus and row.memory_gib:
                return row.vcpus, row.memory_gib
        return None

    def overlaid(self, own: Prices) -> Prices:
        """With the rows of `own` in the place of those of the same name and region."""
        return replace(self, date=f"{self.date}, own prices {own.date}", rows={**self.rows, **own.rows})


def _of_vertex(row: Row, strategy: Strategy) -> float | None:
    if strategy == "FLEX_START":
        known = row.flex_start is not None and row.on_demand is not None
        return (row.flex_start or 0) + FEE * (row.on_demand or 0) if known else None
    listed = row.spot if strategy == "SPOT" else row.on_demand
    return None if listed is None else listed * (1 + FEE)


@cache
def packaged() -> Prices:
    """The prices that came with the package."""
    return read((files(__package__) / "prices.csv").read_text(encoding="utf-8").splitlines())


def read(lines: Iterable[str]) -> Prices:
    """Prices from the lines of such a file; `# date: ...` is its date.

    Raises KeyError or ValueError where a column is missing or a number is none.
    """
    date, kept = "of no date", []
    for line in lines:
        if line.startswith("# date:"):
            date = line.partition(":")[2].strip()
        elif line.strip() and not line.startswith("#"):
            kept.append(line)
    table = csv.DictReader(kept)
    columns = set(table.fieldnames or ())
    if unknown := columns - {"kind", "name", "region", "vcpus", "memory_gib", *_COLUMNS}:
        raise ValueError(f"there is no column {min(unknown)!r}")
    if lacking := {"name", "region"} - columns:
        raise KeyError(min(lacking))
    return Prices(date, {(row["name"], row["region"]): _row(row) for row in table})


def _row(row: Mapping[str, str]) -> Row:
    if None in row.values():
        raise ValueError(f"the row of {row['name']} in {row['region'] or 'no region'} has too few columns")
    numbers = [float(row[name]) if row.get(name) else None for name in _COLUMNS]
    if any(number is not None and not 0 <= number < 10_000 for number in numbers):
        raise ValueError(f"a price of {row['name']} in {row['region']} is none")
    vcpus, memory = row.get("vcpus"), row.get("memory_gib")
    return Row(int(vcpus) if vcpus else None, float(memory) if memory else None, *numbers)
