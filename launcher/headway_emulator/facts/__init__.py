"""Dated facts about Google's services, as tables; each file names its source."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from headway_emulator.once import once


@once
def table(name: str) -> Mapping[str, Any]:
    """One of the files beside this one, such as machines.toml; read once."""
    return tomllib.loads((Path(__file__).parent / name).read_text())
