"""A study's parameters: which of them a trial has, their values by scale, and how a program gets them."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

Spec = Mapping[str, Any]
Value = float | int | str
LOG, REVERSE_LOG = "UNIT_LOG_SCALE", "UNIT_REVERSE_LOG_SCALE"
UNSCALED = ("", "SCALE_TYPE_UNSPECIFIED")


@dataclass(frozen=True)
class Tried:
    """An earlier trial: its values, whether it is over, and how good it was (more is better).

    One that is over without an objective has failed.
    """

    values: Mapping[str, Value]
    over: bool = False
    objective: float | None = None


def filled(parameters: Sequence[Spec], choose: Callable[[str, Spec], Value]) -> dict[str, Value]:
    """A value of every parameter, and of those that their parents' values bring in.

    `choose` gets each with its place in the study, such as "0" and below it "0.1": two branches may have
    parameters of one name.
    """
    values: dict[str, Value] = {}
    pending = [(str(place), spec) for place, spec in enumerate(parameters)]
    while pending:
        place, spec = pending.pop(0)
        value = values[spec["parameterId"]] = choose(place, spec)
        pending += [(f"{place}.{child}", below) for child, below in _active(spec, value)]
    return values


def active(spec: Spec, value: Value) -> list[Spec]:
    """The conditional parameters that this value of their parent brings in."""
    return [below for _, below in _active(spec, value)]


def conditions(spec: Spec) -> list[Value]:
    """The values of a parameter that bring in others."""
    return [value for child in spec.get("conditionalParameterSpecs", []) for value in _wanted(child)]


def _active(spec: Spec, value: Value) -> Iterator[tuple[int, Spec]]:
    for number, child in enumerate(spec.get("conditionalParameterSpecs", [])):
        if any(_same(value, other) for other in _wanted(child)):
            yield number, child["parameterSpec"]


def _wanted(child: Spec) -> list[Value]:
    given: Sequence[Any] = next((child[key]["values"] for key in child if key.startswith("parent")), [])
    return [int(value) if "parentIntValues" in child else value for value in given]


def _same(value: Value, other: Value) -> bool:
    """Numbers within 1e-10 of each other are the same (the description of DiscreteValueCondition)."""
    if isinstance(value, str) or isinstance(other, str):
        return value == other
    return abs(float(value) - float(other)) <= 1e-10


def whole_bounds(spec: Spec) -> tuple[int, int]:
    """Of an integer parameter."""
    given = spec["integerValueSpec"]
    return int(given.get("minValue", 0)), int(given.get("maxValue", 0))


def discrete_values(spec: Spec) -> list[float]:
    return [float(value) for value in spec["discreteValueSpec"]["values"]]


def bounds(spec: Spec) -> tuple[float, float]:
    """Between which a value lies, before an integer is rounded down."""
    if "discreteValueSpec" in spec:
        values = discrete_values(spec)
        return values[0], values[-1]
    if "integerValueSpec" in spec:
        low, high = whole_bounds(spec)
        return float(low), float(high + 1)
    given = spec["doubleValueSpec"]
    return float(given.get("minValue", 0)), float(given.get("maxValue", 0))


def at(spec: Spec, unit: float) -> float | int:
    """The value of a parameter of numbers at a place from 0 to 1 of its scaled range."""
    low, high = bounds(spec)
    found = min(high, max(low, _scaled(low, high, unit, spec.get("scaleType", ""))))
    if "discreteValueSpec" in spec:
        return min(discrete_values(spec), key=lambda value: abs(value - found))
    if "integerValueSpec" in spec:
        least, most = whole_bounds(spec)
        return min(most, max(least, math.floor(found)))
    return found


def unit(spec: Spec, value: float) -> float:
    """The place of a value, from 0 to 1: the other way round than `at`."""
    low, high = bounds(spec)
    if low == high:
        return 0.0
    if "integerValueSpec" in spec:
        value += 0.5
    match spec.get("scaleType", ""):
        case "UNIT_LOG_SCALE":
            found = _logarithmic(low, high, value)
        case "UNIT_REVERSE_LOG_SCALE":
            found = 1 - _logarithmic(low, high, high + low - value)
        case _:
            found = (value / 2 - low / 2) / (high / 2 - low / 2)  # halves, for the range may exceed a float
    return min(1.0, max(0.0, found))


def _logarithmic(low: float, high: float, value: float) -> float:
    return (math.log(max(low, value)) - math.log(low)) / (math.log(high) - math.log(low))


def _scaled(low: float, high: float, unit: float, scale: str) -> float:
    match scale:
        case "UNIT_LOG_SCALE":
            return math.exp(math.log(low) + unit * (math.log(high) - math.log(low)))
        case "UNIT_REVERSE_LOG_SCALE":
            return high + low - _scaled(low, high, 1 - unit, LOG)
    return low * (1 - unit) + high * unit


def arguments(values: Mapping[str, Value]) -> list[str]:
    """How a trial's program gets them: --name=value, whole numbers without a decimal point."""
    return [f"--{name}={written(value)}" for name, value in values.items()]


def written(value: Value) -> str:
    if isinstance(value, float):
        return str(int(value)) if value.is_integer() and abs(value) < 1e15 else repr(value)
    return str(value)
