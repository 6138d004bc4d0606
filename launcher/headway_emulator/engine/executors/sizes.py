"""How large a machine type is, and what of it this machine can give."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from headway_emulator import facts
from headway_emulator.once import once

GB = 1 << 30
LEFT_FREE = 0.1
"""Of this machine's memory, which no replica is given."""


@dataclass(frozen=True)
class Size:
    """vCPUs and GB of memory."""

    cpus: float
    memory: float


@dataclass(frozen=True)
class Share:
    """What a replica gets: no more than its machine type has, and no more than is there."""

    machine: str
    size: Size
    given: Size

    def __str__(self) -> str:
        has = f"{self.machine} has {self.size.cpus:g} vCPUs and {self.size.memory:g} GB"
        if self.given == self.size:
            return f"{has}; the replica is limited to that."
        cpus, memory = self.given.cpus / self.size.cpus, self.given.memory / self.size.memory
        return (
            f"{has}; here the replica gets {self.given.cpus:g} vCPUs ({cpus:.0%}) "
            f"and {self.given.memory:.1f} GB ({memory:.0%}), which is what this machine can give."
        )


def share(machine: str, here: Size) -> Share | None:
    """None for a machine whose size is not known, such as a TPU host: it is not limited."""
    if (size := size_of(machine)) is None:
        return None
    most = here.memory * (1 - LEFT_FREE)
    return Share(machine, size, Size(min(size.cpus, here.cpus), min(size.memory, most)))


def size_of(machine: str) -> Size | None:
    """From the table of sizes."""
    if (fixed := _table()["machines"].get(machine)) is not None:
        return Size(*fixed)
    family, _, number = machine.rpartition("-")
    each = _table()["gb_per_vcpu"].get(family)
    if each is None or not number.isdecimal():
        return None
    return Size(int(number), int(number) * each)


@once
def _table() -> Mapping[str, Any]:
    return facts.table("sizes.toml")
