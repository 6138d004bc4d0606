"""GPUs as people name them, and the one machine shape that each becomes; the facts are in machines.toml."""

from __future__ import annotations

import difflib
import tomllib
from dataclasses import dataclass
from functools import cache
from importlib.resources import files

from headway.errors import InputError

NO_GPU = ("none", "")


@dataclass(frozen=True)
class Shape:
    """A machine type with its accelerators: what a Vertex AI worker pool's `machineSpec` says.

    `accelerator` is Google's enum name, None on a CPU machine; `count` is a node's.
    """

    machine: str
    accelerator: str | None = None
    count: int = 0

    def __str__(self) -> str:
        return f"{self.machine} with {self.count} x {self.accelerator}" if self.accelerator else self.machine


@dataclass(frozen=True)
class Gpu:
    """One GPU of the catalogue: its names, the machines that carry it and the regions that train on it."""

    name: str
    accelerator: str
    aliases: tuple[str, ...]
    shapes: tuple[tuple[str, tuple[int, ...]], ...]
    regions: tuple[str, ...]
    flex_start: bool = False
    reservation: bool = False
    """It is had from a shared reservation only."""

    @property
    def counts(self) -> tuple[int, ...]:
        """Counts a node that some machine has, ascending."""
        return tuple(sorted({count for _, counts in self.shapes for count in counts}))

    def machine_for(self, count: int) -> str | None:
        """The first machine that carries so many, or None."""
        return next((machine for machine, counts in self.shapes if count in counts), None)


@dataclass(frozen=True)
class Catalogue:
    """All that machines.toml says."""

    date: str
    cpu_machine: str
    gpus: dict[str, Gpu]

    def find(self, name: str) -> Gpu:
        """The GPU of that name or alias. Raises InputError naming the nearest ones."""
        wanted = name.strip().lower().replace("_", "-")
        known = {alias: gpu for gpu in self.gpus.values() for alias in (gpu.name, *gpu.aliases)}
        if wanted in known:
            return known[wanted]
        near = difflib.get_close_matches(wanted, known, n=2, cutoff=0.5)
        guess = f"did you mean {' or '.join(near)}? " if near else ""
        raise InputError(
            f"there is no GPU named {name!r}",
            hint=f"{guess}Vertex AI trains on: {', '.join(self.gpus)}, or none",
        )


@cache
def catalogue() -> Catalogue:
    """The facts of machines.toml (dated there)."""
    table = tomllib.loads((files(__package__) / "machines.toml").read_text(encoding="utf-8"))
    gpus = {
        name: Gpu(
            name=name,
            accelerator=row["accelerator"],
            aliases=tuple(row["aliases"]),
            shapes=tuple((shape["machine"], tuple(shape["counts"])) for shape in row["shapes"]),
            regions=tuple(row["regions"]),
            flex_start=row.get("flex_start", False),
            reservation=row.get("reservation", False),
        )
        for name, row in table["gpu"].items()
    }
    return Catalogue(table["date"], table["cpu_machine"], gpus)


def wishes(gpu: str | None) -> list[str]:
    """The GPUs of an ordered wish, `h100:8,a100-80gb:8`; one that is `none` where no GPU is asked for."""
    return [wish.strip() for wish in gpu.split(",") if wish.strip()] or ["none"] if gpu else ["none"]


def resolve(gpu: str | None, machine: str | None = None) -> Shape:
    """The one machine shape for `a100`, `a100:4`, `none` or None, on `machine` where that is given.

    Raises InputError naming the nearest valid shapes where no machine has that GPU or that count.
    """
    facts = catalogue()
    if gpu is None or gpu.strip().lower() in NO_GPU:
        return Shape(machine or facts.cpu_machine)
    name, _, number = gpu.partition(":")
    found = facts.find(name)
    if number and not (number.isascii() and number.isdigit() and int(number) > 0):
        raise InputError(
            f"{gpu!r} is no GPU: {number!r} is not a count", hint=f"write for example {found.name}:1"
        )
    count = int(number or 1) if number or 1 in found.counts else min(found.counts)
    if machine is not None:
        return _on_machine(found, count, machine)
    if (chosen := found.machine_for(count)) is None:
        raise InputError(f"{found.name}:{count} does not exist on Vertex AI", hint=_nearest(found, count))
    return Shape(chosen, found.accelerator, count)


def _on_machine(gpu: Gpu, count: int, machine: str) -> Shape:
    counts = dict(gpu.shapes).get(machine)
    if counts and count in counts:
        return Shape(machine, gpu.accelerator, count)
    if counts:
        choice = " or ".join(f"{gpu.name}:{n}" for n in counts)
        raise InputError(f"{machine} does not carry {gpu.name}:{count}", hint=f"it carries {choice}")
    fitting = [name for name, carried in gpu.shapes if count in carried]
    hint = f"{gpu.name}:{count} is on {', '.join(fitting)}" if fitting else _nearest(gpu, count)
    raise InputError(f"{machine} does not carry {gpu.name}", hint=hint)


def _nearest(gpu: Gpu, count: int) -> str:
    below = [n for n in gpu.counts if n < count][-1:]
    above = [n for n in gpu.counts if n > count][:1]
    return "there is " + " or ".join(f"{gpu.name}:{n} on {gpu.machine_for(n)}" for n in below + above)
