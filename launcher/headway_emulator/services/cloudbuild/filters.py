"""The filter of builds.list: Cloud Build's own names of fields, tags one by one, times as times.

Source: Google's page "View build results", section on filtering by queries, November 2026.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from headway_emulator import filters
from headway_emulator.engine.clock import parse_timestamp, timestamp
from headway_emulator.errors import invalid
from headway_emulator.filters import Comparison, Condition

OTHER_NAMES: Mapping[str, str] = {"build_id": "id", "trigger_id": "buildTriggerId"}
LISTS = ("tags", "images")
TIMES = ("create_time", "start_time", "finish_time", "createTime", "startTime", "finishTime")


@dataclass(frozen=True)
class Among:
    """Whether a list of the build's, such as its tags, has the value."""

    field: str
    value: str

    def holds(self, document: Mapping[str, Any]) -> bool:
        return self.value in document.get(self.field, [])


def read(text: str) -> Sequence[Condition]:
    """All of these must hold for a build; ApiError where the text is no filter."""
    return [_known(condition) for condition in filters.parse(text)]


def _known(condition: Condition) -> Condition:
    match condition:
        case filters.Both(parts):
            return filters.Both([_known(part) for part in parts])
        case filters.Either(parts):
            return filters.Either([_known(part) for part in parts])
        case filters.Not(part):
            return filters.Not(_known(part))
        case Comparison(field=field) if field in LISTS:
            return _among(condition)
        case Comparison(field=field, value=value) if field in TIMES:
            return replace(condition, value=_time(value))
        case Comparison(field=field):
            return replace(condition, field=OTHER_NAMES.get(field, field))
    return condition


def _among(comparison: Comparison) -> Condition:
    has = Among(comparison.field, comparison.value)
    if comparison.operator in ("=", ":"):
        return has
    if comparison.operator == "!=":
        return filters.Not(has)
    raise invalid(
        f"Invalid filter: {comparison.field} is a list, which {comparison.operator} does not compare."
    )


def _time(text: str) -> str:
    try:
        return timestamp(parse_timestamp(text))
    except ValueError as error:
        raise invalid(f'Invalid filter: "{text}" is no RFC 3339 time.') from error
