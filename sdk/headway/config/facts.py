"""The catalogue of machines and prices: the package's, with the user's own files laid over it.

`machines.toml` (the tables of the package's) and `prices.csv` (its columns) are looked for in headway/ of
the XDG config folder and beside headway.toml; the nearer one wins.
"""

from __future__ import annotations

import os
import tomllib
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

from headway.config.profile import find_file
from headway.errors import ConfigError
from headway.spec import machines, prices
from headway.spec.machines import Catalogue

MACHINES, PRICES = "machines.toml", "prices.csv"


def facts(start: Path) -> Catalogue:
    """The catalogue that holds at `start`, a folder or a file in it. Raises ConfigError naming a bad file."""
    found = machines.catalogue()
    for folder in _folders(start):
        if (file := folder / MACHINES).is_file():
            found = _with_machines(found, file)
        if (file := folder / PRICES).is_file():
            found = replace(found, prices=found.prices.overlaid(_prices(file)))
    return found


def _folders(start: Path) -> Iterator[Path]:
    """The farther one first."""
    base = os.environ.get("XDG_CONFIG_HOME")
    yield (Path(base) if base else Path.home() / ".config") / "headway"
    if profiles := find_file(start):
        yield profiles.parent


def _with_machines(below: Catalogue, file: Path) -> Catalogue:
    try:
        own = tomllib.loads(file.read_text(encoding="utf-8"))
        date = f"{below.date}, own facts {own.pop('date', 'of no date')}"
        return replace(below.overlaid(own), date=date)
    except KeyError as error:
        hint = (
            "a GPU of your own needs shapes = [{machine = ..., counts = [...]}], and a name that Google knows"
        )
        raise ConfigError(f"the key {error} is missing", file=file, hint=hint) from error
    except (OSError, TypeError, ValueError, AttributeError) as error:
        hint = "its tables are those of the package's machines.toml: docs/config.md"
        raise ConfigError(f"cannot be read: {error}", file=file, hint=hint) from error


def _prices(file: Path) -> prices.Prices:
    try:
        return prices.read(file.read_text(encoding="utf-8").splitlines())
    except (OSError, KeyError, ValueError) as error:
        hint = "its columns: kind,name,region,on_demand,spot,flex_start; its first line: # date: 2026-11-21"
        raise ConfigError(f"cannot be read: {error}", file=file, hint=hint) from error
