"""What a tuning job tries next: grid, random, or quasi-random points that move towards the best ones.

The last is the default. It is not Vizier's algorithm: it spreads the first trials evenly, and then tries, in
turn, somewhere new and somewhere near one of the best. All draws follow from the study itself, so that the
same study gets the same trials.
"""

from __future__ import annotations

import hashlib
import json
import math
import random
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import product
from typing import Any, TypeVar

Spec = Mapping[str, Any]
Value = float | int | str
T = TypeVar("T")
PRIMES = (2, 3, 5, 7, 11, 13, 17, 19, 23, 29, 31, 37, 41, 43, 47, 53)
"""Bases of the Halton sequence; parameters beyond them are drawn at random."""
EXPLORATION = 5
"""Trials at least, before any is near another; twice the number of parameters where that is more."""
BEST_SHARE = 0.25
STEP = 0.1
"""Standard deviation of a step away from a good trial, in units of the parameter's scaled range."""


@dataclass(frozen=True)
class Suggestion:
    """Values by parameter, and the same in scaled units from 0 to 1, from which a later trial steps on."""

    values: Mapping[str, Value]
    units: Mapping[str, float]


@dataclass(frozen=True)
class Seen:
    """A finished trial: its units, and its objective, of which more is better."""

    units: Mapping[str, float]
    objective: float


def suggest(study: Spec, number: int, seen: Sequence[Seen]) -> Suggestion | None:
    """What trial `number` (from 1) tries; None where the grid has no more points."""
    parameters: Sequence[Spec] = study["parameters"]
    seed = hashlib.sha256(json.dumps(study, sort_keys=True).encode()).hexdigest()
    match study.get("algorithm", "ALGORITHM_UNSPECIFIED"):
        case "GRID_SEARCH":
            points = (point for i, point in enumerate(_grid(parameters)) if i == number - 1)
            values = next(points, None)
            return None if values is None else Suggestion(values, {})
        case "RANDOM_SEARCH":
            draw = random.Random(f"{seed} {number}")
            return _suggestion(parameters, {name: draw.random() for name in names(parameters)})
    return _suggestion(parameters, _adaptive(parameters, seed, number, seen))


def names(parameters: Sequence[Spec]) -> list[str]:
    """Of all parameters, conditional ones too, in the order of the study."""
    found = {name: None for spec in _flat(parameters) for name in [str(spec["parameterId"])]}
    return list(found)


def _flat(parameters: Sequence[Spec]) -> Iterator[Spec]:
    for spec in parameters:
        yield spec
        yield from _flat([child["parameterSpec"] for child in spec.get("conditionalParameterSpecs", [])])


def _adaptive(parameters: Sequence[Spec], seed: str, number: int, seen: Sequence[Seen]) -> dict[str, float]:
    known = names(parameters)
    draw = random.Random(f"{seed} {number}")
    if len(seen) < max(EXPLORATION, 2 * len(known)) or number % 2:
        shift = random.Random(seed)
        return {
            name: (_halton(number, PRIMES[i]) + shift.random()) % 1.0 if i < len(PRIMES) else draw.random()
            for i, name in enumerate(known)
        }
    ranked = sorted(seen, key=lambda trial: trial.objective, reverse=True)
    good = draw.choice(ranked[: max(1, round(len(ranked) * BEST_SHARE))])
    return {name: _reflected(good.units.get(name, draw.random()) + draw.gauss(0, STEP)) for name in known}


def _halton(index: int, base: int) -> float:
    """The radical inverse of `index`, in (0, 1)."""
    found, fraction = 0.0, 1.0
    while index:
        fraction /= base
        index, digit = divmod(index, base)
        found += digit * fraction
    return found


def _reflected(unit: float) -> float:
    """Back into [0, 1) from beyond its ends."""
    unit = abs(unit) % 2.0
    return min(unit if unit < 1 else 2.0 - unit, math.nextafter(1.0, 0.0))


def _suggestion(parameters: Sequence[Spec], units: Mapping[str, float]) -> Suggestion:
    values: dict[str, Value] = {}
    pending = list(parameters)
    while pending:
        spec = pending.pop(0)
        name = spec["parameterId"]
        values[name] = at(spec, units[name])
        pending += active(spec, values[name])
    return Suggestion(values, {name: units[name] for name in values})


def active(spec: Spec, value: Value) -> list[Spec]:
    """The conditional parameters that this value of their parent brings in."""
    found = []
    for child in spec.get("conditionalParameterSpecs", []):
        wanted: Sequence[Any] = next((child[key]["values"] for key in child if key.startswith("parent")), [])
        if any(_same(value, other) for other in wanted):
            found.append(child["parameterSpec"])
    return found


def _same(value: Value, other: Any) -> bool:
    """Numbers within 1e-10 of each other are the same (the description of DiscreteValueCondition)."""
    return value == other if isinstance(value, str) else abs(float(value) - float(other)) <= 1e-10


def at(spec: Spec, unit: float) -> Value:
    """The value of a parameter at a place from 0 to 1 of its scaled range."""
    scale = spec.get("scaleType", "")
    if "categoricalValueSpec" in spec:
        return str(_pick(spec["categoricalValueSpec"]["values"], unit))
    if "discreteValueSpec" in spec:
        values = [float(value) for value in spec["discreteValueSpec"]["values"]]
        if scale in ("", "SCALE_TYPE_UNSPECIFIED"):
            return _pick(values, unit)
        place = _scaled(values[0], values[-1], unit, scale)
        return min(values, key=lambda value: abs(value - place))
    if "integerValueSpec" in spec:
        low, high = (int(spec["integerValueSpec"].get(end, 0)) for end in ("minValue", "maxValue"))
        return min(high, math.floor(_scaled(low, high + 1, unit, scale)))
    bounds = spec["doubleValueSpec"]
    least, most = float(bounds.get("minValue", 0)), float(bounds.get("maxValue", 0))
    return min(most, max(least, _scaled(least, most, unit, scale)))


def _pick(values: Sequence[T], unit: float) -> T:
    return values[min(len(values) - 1, int(unit * len(values)))]


def _scaled(low: float, high: float, unit: float, scale: str) -> float:
    match scale:
        case "UNIT_LOG_SCALE":
            return math.exp(math.log(low) + unit * (math.log(high) - math.log(low)))
        case "UNIT_REVERSE_LOG_SCALE":
            return high + low - _scaled(low, high, 1 - unit, "UNIT_LOG_SCALE")
    return low + unit * (high - low)


def _grid(parameters: Sequence[Spec]) -> Iterator[dict[str, Value]]:
    """Every combination, the last parameter fastest, with the conditional ones where they are active."""
    for values in product(*(list(_branches(spec)) for spec in parameters)):
        yield {name: value for branch in values for name, value in branch.items()}


def _branches(spec: Spec) -> Iterator[dict[str, Value]]:
    for value in _all_values(spec):
        for below in _grid(active(spec, value)):
            yield {spec["parameterId"]: value, **below}


def _all_values(spec: Spec) -> Sequence[Value]:
    if "integerValueSpec" in spec:
        low, high = (int(spec["integerValueSpec"].get(end, 0)) for end in ("minValue", "maxValue"))
        return range(low, high + 1)
    if "discreteValueSpec" in spec:
        return [float(value) for value in spec["discreteValueSpec"]["values"]]
    return list(spec["categoricalValueSpec"]["values"])


def arguments(values: Mapping[str, Value]) -> list[str]:
    """How a trial's program gets them: --name=value, whole numbers without a decimal point."""
    return [f"--{name}={written(value)}" for name, value in values.items()]


def written(value: Value) -> str:
    if isinstance(value, float):
        return str(int(value)) if value.is_integer() and abs(value) < 1e15 else repr(value)
    return str(value)
