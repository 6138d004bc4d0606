"""The filter of the lists of custom jobs and tuning jobs: the fields that Google documents, and no other.

Source: the parameter `filter` of customJobs.list in Google's discovery document of aiplatform v1.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from headway_emulator import filters
from headway_emulator.errors import invalid
from headway_emulator.filters import Both, Comparison, Condition, Either, Not
from headway_emulator.schema import camel

EQUALITY = ("=", "!=")
OPERATORS: Mapping[str, Sequence[str]] = {
    "display_name": (*EQUALITY, ":"),
    "state": EQUALITY,
    "create_time": (*EQUALITY, "<", "<=", ">", ">="),
    "labels": (*EQUALITY, ":"),
}
FIELDS: Mapping[str, str] = {spelling: name for name in OPERATORS for spelling in (name, camel(name))}


def read(text: str) -> Sequence[Condition]:
    """All of these must hold for a job; ApiError for what is no filter, or asks what a job's list cannot."""
    conditions = filters.parse(text)
    for condition in conditions:
        _check(condition)
    return conditions


def _check(condition: Condition) -> None:
    match condition:
        case Both(parts) | Either(parts):
            for part in parts:
                _check(part)
        case Not(part):
            _check(part)
        case Comparison(field, operator):
            first, *rest = filters.parts(field)
            name = FIELDS.get(first)
            if name is None or (rest and name != "labels"):
                known = ", ".join(OPERATORS)
                raise invalid(f'Invalid filter: "{field}" is not supported. Supported fields: {known}.')
            if operator not in OPERATORS[name]:
                raise invalid(f"Invalid filter: {name} does not support {operator}.")
