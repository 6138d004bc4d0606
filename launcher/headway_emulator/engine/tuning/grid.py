"""All combinations of a study's parameters, counted and numbered without listing them."""

from __future__ import annotations

import math
from collections.abc import Sequence

from headway_emulator.engine.tuning.space import (
    Spec,
    Value,
    active,
    bounds,
    conditions,
    discrete_values,
    whole_bounds,
)


def size(parameters: Sequence[Spec]) -> float:
    """How many there are; infinite where a parameter is a double."""
    return math.prod(float(_branches(spec)) for spec in parameters)


def point(parameters: Sequence[Spec], index: int) -> dict[str, Value]:
    """The combination with this number from 0, the last parameter fastest; without doubles."""
    found: list[dict[str, Value]] = []
    for spec in reversed(parameters):
        count = _branches(spec)
        index, branch = (0, index) if index < count else divmod(index, int(count))
        found.append(_branch(spec, branch))
    return {name: value for below in reversed(found) for name, value in below.items()}


def _branches(spec: Spec) -> float:
    """The values of a parameter, each as often as there are combinations of what it brings in."""
    if "doubleValueSpec" in spec:
        low, high = bounds(spec)
        return 1 if low == high else math.inf
    special = _special(spec)
    return _count(spec) - len(special) + sum(size(active(spec, value)) for value in special)


def _special(spec: Spec) -> list[Value]:
    """The values that bring in others; a range of integers is not gone through."""
    values = _values(spec)
    if isinstance(values, range):
        return [value for value in dict.fromkeys(conditions(spec)) if value in values]
    return [value for value in values if active(spec, value)]


def _count(spec: Spec) -> float:
    if "integerValueSpec" in spec:
        low, high = whole_bounds(spec)
        return float(high - low + 1)  # the length of a range has a limit that 64 bits exceed
    return len(_values(spec))


def _branch(spec: Spec, index: int) -> dict[str, Value]:
    values = _values(spec)
    if not conditions(spec):
        return {spec["parameterId"]: values[index]}
    for value in values:
        below = active(spec, value)
        count = int(size(below))
        if index < count:
            return {spec["parameterId"]: value, **point(below, index)}
        index -= count
    raise IndexError(index)


def _values(spec: Spec) -> Sequence[Value]:
    if "integerValueSpec" in spec:
        low, high = whole_bounds(spec)
        return range(low, high + 1)
    if "discreteValueSpec" in spec:
        return discrete_values(spec)
    if "doubleValueSpec" in spec:
        return [bounds(spec)[0]]
    return list(spec["categoricalValueSpec"]["values"])
