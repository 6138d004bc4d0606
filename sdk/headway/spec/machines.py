"""GPUs as people name them, and the one machine shape that each becomes; the facts are in machines.toml."""

from __future__ import annotations

import difflib
import math
import re
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import Any

from headway.errors import InputError
from headway.spec.prices import Prices, Strategy, packaged

NO_GPU = ("none", "")


@dataclass(frozen=True)
class Shape:
    """A machine type with its accelerators: what a Vertex AI worker pool's `machineSpec` says.

    `accelerator` is Google's enum name, None on a CPU machine and where a TPU is told by its `topology`;
    `count` is a node's.
    """

    machine: str
    accelerator: str | None = None
    count: int = 0
    topology: str | None = None

    def __str__(self) -> str:
        return f"{self.machine} with {self.count} x {self.accelerator}" if self.accelerator else self.machine


@dataclass(frozen=True)
class Gpu:
    """One GPU (or TPU) of the catalogue: its names, the machines that carry it, the regions that train on it.

    `topologies` gives a TPU's by machine and count. `multiple`: any multiple of it is a count too.
    `reservation`: it is had from a shared reservation only. `regions` is empty where they are not known.
    """

    name: str
    accelerator: str | None
    aliases: tuple[str, ...]
    shapes: tuple[tuple[str, tuple[int, ...]], ...]
    regions: tuple[str, ...]
    memory_gb: int | None = None
    flex_start: bool = False
    reservation: bool = False
    topologies: tuple[tuple[tuple[str, int], str], ...] = ()
    multiple: int = 0

    architecture: str = "amd64"
    """Of the processors of its machines, as images name it."""

    @property
    def is_tpu(self) -> bool:
        return self.name.startswith("tpu-")

    @property
    def counts(self) -> tuple[int, ...]:
        """Counts a node that some machine has, ascending."""
        return tuple(sorted({count for _, counts in self.shapes for count in counts}))

    def carries(self, machine: str, count: int) -> bool:
        counts = dict(self.shapes).get(machine, ())
        return count in counts or bool(counts and self.multiple and count > 0 and count % self.multiple == 0)

    def machine_for(self, count: int) -> str | None:
        """The first machine that carries so many, or None."""
        return next((machine for machine, _ in self.shapes if self.carries(machine, count)), None)

    def is_pod(self, shape: Shape) -> bool:
        """Whether a TPU spans several hosts: the number in the machine's name is a host's chips."""
        return self.is_tpu and shape.count > _chips(shape.machine)


def _chips(machine: str) -> int:
    """Of one TPU host: the number in the machine's name."""
    chips = re.search(r"-(\d+)t$", machine)
    return int(chips[1]) if chips else 8


@dataclass(frozen=True)
class Catalogue:
    """All that machines.toml says, and what a user's own file lays over it."""

    date: str
    cpu_machine: str
    gpus: dict[str, Gpu]
    cpu: Mapping[str, Any]
    table: Mapping[str, Any]
    prices: Prices

    def overlaid(self, own: Mapping[str, Any]) -> Catalogue:
        """With the tables of `own` laid over. Raises as `read` does."""
        return read(_overlaid(self.table, own), self.prices)

    def usd_hour(self, shape: Shape, region: str, strategy: Strategy, nodes: int = 1) -> float | None:
        """USD an hour of so many machines of a shape; None where no price is known.

        Of a TPU told by its topology, the price is its machine's, for as many hosts as have its chips.
        """
        hosts = 1 if shape.topology is None else math.ceil(shape.count / _chips(shape.machine))
        return self.prices.usd_hour(
            shape.machine,
            shape.accelerator,
            shape.count,
            region=region,
            strategy=strategy,
            nodes=nodes * hosts,
        )

    @property
    def regions(self) -> frozenset[str]:
        """All that some GPU is in."""
        return frozenset(region for gpu in self.gpus.values() for region in gpu.regions)

    def architecture(self, wish: str | None) -> str:
        """Of the machines that carry a GPU, named as in a wish; amd64 where that is not known."""
        gpu = self.gpus.get((wish or "").partition(":")[0])
        return gpu.architecture if gpu else "amd64"

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

    @property
    def machines(self) -> dict[str, Gpu]:
        """Each machine type that carries GPUs, and the first GPU that it does."""
        return {machine: gpu for gpu in reversed(self.gpus.values()) for machine, _ in gpu.shapes}


@cache
def catalogue() -> Catalogue:
    """The facts of the package's machines.toml and prices.csv (dated there)."""
    text = (files(__package__) / "machines.toml").read_text(encoding="utf-8")
    return read(tomllib.loads(text), packaged())


def read(table: Mapping[str, Any], prices: Prices) -> Catalogue:
    """A catalogue from its tables. Raises KeyError, TypeError or ValueError where they are none."""
    gpus = {name: _gpu(name, row) for name, row in table["gpu"].items()}
    for family, kinds in table["cpu"].items():
        for kind, sizes in kinds.items():
            _check(sizes, int, f"cpu.{family}.{kind}")
    if not _CPU_MACHINE.fullmatch(table["cpu_machine"]):
        raise ValueError(f"cpu_machine {table['cpu_machine']!r} is no machine type")
    return Catalogue(str(table["date"]), table["cpu_machine"], gpus, table["cpu"], table, prices)


def _overlaid(table: Mapping[str, Any], own: Mapping[str, Any]) -> dict[str, Any]:
    """Key by key; a list, such as a GPU's `shapes` or `regions`, is replaced as a whole."""
    merged = dict(table)
    for key, value in own.items():
        below = merged.get(key)
        if isinstance(below, dict) and isinstance(value, dict):
            merged[key] = _overlaid(below, value)
        else:
            merged[key] = value
    return merged


def _check(value: object, kind: type, what: str) -> None:
    """Raises ValueError where it is no list of that kind."""
    if not isinstance(value, list) or not all(type(item) is kind for item in value):
        raise ValueError(f"{what} is no list of {'whole numbers' if kind is int else 'texts'}: {value!r}")


def _gpu(name: str, row: Mapping[str, Any]) -> Gpu:
    """Raises KeyError, TypeError or ValueError where the row is none."""
    for key in ("aliases", "regions"):
        _check(row.get(key, []), str, f"gpu.{name}.{key}")
    for shape in row["shapes"]:
        _check(shape.get("counts", []), int, f"counts of gpu.{name} on {shape['machine']}")
    topologies = {
        (shape["machine"], math.prod(map(int, topology.split("x")))): topology
        for shape in row["shapes"]
        for topology in shape.get("topologies", ())
    }
    carried: dict[str, tuple[int, ...]] = {
        shape["machine"]: tuple(shape.get("counts", ())) for shape in row["shapes"]
    }
    for machine, chips in topologies:
        carried[machine] = (*carried[machine], chips)
    return Gpu(
        name=name,
        accelerator=row.get("accelerator"),
        aliases=tuple(row.get("aliases", ())),
        shapes=tuple(carried.items()),
        regions=tuple(row.get("regions", ())),
        memory_gb=row.get("memory_gb"),
        flex_start=row.get("flex_start", False),
        reservation=row.get("reservation", False),
        topologies=tuple(topologies.items()),
        architecture=row.get("architecture", "amd64"),
        multiple=max(shape.get("multiple", 0) for shape in row["shapes"]),
    )


def wishes(gpu: str | None) -> list[str]:
    """The GPUs of an ordered wish, `h100:8,a100-80gb:8`; one that is `none` where no GPU is asked for."""
    return [wish.strip() for wish in (gpu or "").split(",") if wish.strip()] or ["none"]


def resolve(gpu: str | None, machine: str | None = None, facts: Catalogue | None = None) -> Shape:
    """The one machine shape for `a100`, `a100:4`, `none` or None, on `machine` where that is given.

    Raises InputError naming the nearest valid shapes where no machine has that GPU or that count.
    """
    facts = facts or catalogue()
    if gpu is None or gpu.strip().lower() in NO_GPU:
        return Shape(_without_gpu(machine, facts) if machine else facts.cpu_machine)
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
    return _shape(found, count, chosen)


def _shape(gpu: Gpu, count: int, machine: str) -> Shape:
    return Shape(machine, gpu.accelerator, count, dict(gpu.topologies).get((machine, count)))


def _without_gpu(machine: str, facts: Catalogue) -> str:
    """A machine by hand that is to carry no GPU."""
    carrier = facts.machines.get(machine)
    family = machine.partition("-")[0]
    if carrier and family != "n1":  # the one family whose GPUs are attached as wished
        choice = " or ".join(f"{carrier.name}:{count}" for count in dict(carrier.shapes)[machine])
        raise InputError(f"{machine} always has GPUs", hint=f"say so: resources.gpu: {choice}")
    if _is_cpu_machine(machine, facts):
        return machine
    raise InputError(f"{machine} is no machine type of Vertex AI training", hint=_near_cpu(machine, facts))


_CPU_MACHINE = re.compile(r"([a-z0-9]+)-([a-z]+)-([1-9]\d*)(-lssd)?")


def _is_cpu_machine(machine: str, facts: Catalogue) -> bool:
    if (found := _CPU_MACHINE.fullmatch(machine)) is None:
        return False
    sizes = facts.cpu.get(found[1], {}).get(found[2])
    return sizes == [] or (sizes is not None and int(found[3]) in sizes and not found[4])


def _near_cpu(machine: str, facts: Catalogue) -> str:
    """Its nearest sizes, or names that look like it."""
    if found := _CPU_MACHINE.fullmatch(machine):
        sizes, wanted = facts.cpu.get(found[1], {}).get(found[2], ()), int(found[3])
        near = sorted(sorted(sizes, key=lambda size: abs(size - wanted))[:2])
        if near:
            return "there is " + " or ".join(f"{found[1]}-{found[2]}-{size}" for size in near)
    common = [
        f"{family}-{kind}-{size}"
        for family, kinds in facts.cpu.items()
        for kind, sizes in kinds.items()
        for size in sizes or (4, 8, 16, 32)
    ]
    known = dict.fromkeys([*facts.machines, *common])
    if alike := difflib.get_close_matches(machine, known, n=2, cutoff=0.5):
        return f"did you mean {' or '.join(alike)}?"
    return f"write for example {facts.cpu_machine}"


def _on_machine(gpu: Gpu, count: int, machine: str) -> Shape:
    if gpu.carries(machine, count):
        return _shape(gpu, count, machine)
    if counts := dict(gpu.shapes).get(machine):
        choice = " or ".join(f"{gpu.name}:{n}" for n in counts)
        raise InputError(f"{machine} does not carry {gpu.name}:{count}", hint=f"it carries {choice}")
    fitting = [name for name, carried in gpu.shapes if count in carried]
    hint = f"{gpu.name}:{count} is on {', '.join(fitting)}" if fitting else _nearest(gpu, count)
    raise InputError(f"{machine} does not carry {gpu.name}", hint=hint)


def _nearest(gpu: Gpu, count: int) -> str:
    step = gpu.multiple
    known = {*gpu.counts, *((count // step * step, (count // step + 1) * step) if step else ())} - {0}
    near = [
        max((n for n in known if n < count), default=None),
        min((n for n in known if n > count), default=None),
    ]
    return "there is " + " or ".join(f"{gpu.name}:{n} on {gpu.machine_for(n)}" for n in near if n)
