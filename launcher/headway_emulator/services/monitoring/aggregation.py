"""Alignment of one time series, and reduction of several to one: pure functions over their points.

Rules by aligner and reducer are those of the Aggregation message in monitoring.v3's discovery document.
Periods are counted back from the end of the interval that was asked for.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from headway_emulator.engine.clock import SECOND, parse_timestamp, timestamp
from headway_emulator.engine.store import Document
from headway_emulator.engine.time_series import end_of
from headway_emulator.errors import invalid, unimplemented

SHORTEST_PERIOD = 60.0
DURATION = re.compile(r"\d+(\.\d{1,9})?s")
FIELD_OF_TYPE = {"BOOL": "boolValue", "INT64": "int64Value", "DOUBLE": "doubleValue", "STRING": "stringValue"}
NUMBERS = ("INT64", "DOUBLE")
Numbers = Sequence[float]
Function = Callable[[Numbers], float]


def _mean(values: Numbers) -> float:
    return math.fsum(values) / len(values)


def _deviation(values: Numbers) -> float:
    mean = _mean(values)
    return math.sqrt(math.fsum((value - mean) ** 2 for value in values) / len(values))


def percentile(part: float) -> Function:
    """Between the two nearest values, linearly."""

    def of(values: Numbers) -> float:
        ordered = sorted(values)
        place = (len(ordered) - 1) * part
        low, high = math.floor(place), math.ceil(place)
        return ordered[low] + (ordered[high] - ordered[low]) * (place - low)

    return of


@dataclass(frozen=True)
class Way:
    """A function over values: which types it takes, and the type it gives (empty for the same)."""

    function: Function
    takes: Sequence[str]
    gives: str = ""


ANY = (*NUMBERS, "BOOL")
COMMON: Mapping[str, Way] = {
    "MEAN": Way(_mean, NUMBERS, "DOUBLE"),
    "MIN": Way(min, NUMBERS),
    "MAX": Way(max, NUMBERS),
    "SUM": Way(math.fsum, NUMBERS),
    "STDDEV": Way(_deviation, NUMBERS, "DOUBLE"),
    "COUNT": Way(len, ANY, "INT64"),
    "COUNT_TRUE": Way(math.fsum, ("BOOL",), "INT64"),
    "COUNT_FALSE": Way(lambda values: len(values) - math.fsum(values), ("BOOL",), "INT64"),
    "FRACTION_TRUE": Way(_mean, ("BOOL",), "DOUBLE"),
}
ALIGNERS = {f"ALIGN_{name}": way for name, way in COMMON.items()} | {
    "ALIGN_NEXT_OLDER": Way(lambda values: values[-1], ANY)
}
REDUCERS = {f"REDUCE_{name}": way for name, way in COMMON.items()} | {
    f"REDUCE_PERCENTILE_{text}": Way(percentile(int(text) / 100), NUMBERS, "DOUBLE")
    for text in ("99", "95", "50", "05")
}


@dataclass(frozen=True)
class Aggregation:
    """What a request asks for; made by `asked`."""

    aligner: str
    reducer: str
    period: int
    """Nanoseconds."""
    group_by: Sequence[str]


def asked(query: Mapping[str, str], group_by: Sequence[str]) -> Aggregation:
    """Of the aggregation.* parameters; ApiError where one is unknown, missing or not implemented."""
    if any(name.startswith("secondaryAggregation.") for name in query):
        raise unimplemented("secondaryAggregation of time series")
    aligner = query.get("aggregation.perSeriesAligner", "") or "ALIGN_NONE"
    reducer = query.get("aggregation.crossSeriesReducer", "") or "REDUCE_NONE"
    if aligner == "ALIGN_NONE":
        if reducer != "REDUCE_NONE":
            raise invalid("A per-series aligner other than ALIGN_NONE is due where a reducer is given.")
        return Aggregation(aligner, reducer, 0, group_by)
    if aligner not in (*ALIGNERS, "ALIGN_DELTA", "ALIGN_RATE"):
        raise unimplemented(f"the aligner {aligner}")
    if reducer not in (*REDUCERS, "REDUCE_NONE"):
        raise unimplemented(f"the reducer {reducer}")
    text = query.get("aggregation.alignmentPeriod", "")
    if not DURATION.fullmatch(text) or float(text.removesuffix("s")) < SHORTEST_PERIOD:
        raise invalid(
            f'Field aggregation.alignmentPeriod had an invalid value of "{text}": '
            "the alignment period must be at least 60 seconds."
        )
    return Aggregation(aligner, reducer, round(float(text.removesuffix("s")) * SECOND), group_by)


def align(series: Document, wanted: Aggregation, start: int, end: int) -> Document:
    """The series with one point at most for each period of (start, end], newest first."""
    if wanted.aligner == "ALIGN_NONE":
        return {**series, "points": [p for p in series["points"] if _inside(p, start, end)]}
    if wanted.aligner in ("ALIGN_DELTA", "ALIGN_RATE"):
        return _changes(series, wanted, start, end)
    way, value_type = ALIGNERS[wanted.aligner], series["valueType"]
    if series["metricKind"] == "CUMULATIVE" or value_type not in way.takes:
        raise _unfit(wanted.aligner, series)
    periods: dict[int, list[float]] = {}
    for point in reversed(series["points"]):
        if _inside(point, start, end):
            periods.setdefault(_period_end(point, wanted.period, end), []).append(_number(point))
    gives = way.gives or value_type
    points = [_point(ends, way.function(values), gives) for ends, values in sorted(periods.items())]
    return {**series, "metricKind": "GAUGE", "valueType": gives, "points": points[::-1]}


def _changes(series: Document, wanted: Aggregation, start: int, end: int) -> Document:
    """ALIGN_DELTA and ALIGN_RATE: how much a counter grew in each period, a reset counted from nothing."""
    if series["metricKind"] == "GAUGE" or series["valueType"] not in NUMBERS:
        raise _unfit(wanted.aligner, series)
    growth: dict[int, float] = {}
    before: Document | None = None
    for point in reversed(series["points"]):
        if series["metricKind"] == "DELTA" or before is None or _began(point) != _began(before):
            grown = _number(point)
        else:
            grown = _number(point) - _number(before)
        before = point
        if _inside(point, start, end):
            ends = _period_end(point, wanted.period, end)
            growth[ends] = growth.get(ends, 0.0) + grown
    rate = wanted.aligner == "ALIGN_RATE"
    gives = "DOUBLE" if rate else series["valueType"]
    divisor = wanted.period / SECOND if rate else 1
    points = [
        _point(ends, grown / divisor, gives, 0 if rate else wanted.period)
        for ends, grown in sorted(growth.items())
    ]
    return {**series, "metricKind": "GAUGE" if rate else "DELTA", "valueType": gives, "points": points[::-1]}


def reduce(all_series: Sequence[Document], wanted: Aggregation) -> list[Document]:
    """One series for each group that has equal values in `group_by` and the same resource type."""
    if wanted.reducer == "REDUCE_NONE":
        return list(all_series)
    groups: dict[tuple[str, ...], list[Document]] = {}
    for series in all_series:
        key = (series["resource"]["type"], *(_grouped(series, field) for field in wanted.group_by))
        groups.setdefault(key, []).append(series)
    return [_reduced(members, wanted) for _, members in sorted(groups.items())]


def _reduced(members: Sequence[Document], wanted: Aggregation) -> Document:
    way, first = REDUCERS[wanted.reducer], members[0]
    if first["valueType"] not in way.takes:
        raise _unfit(wanted.reducer, first)
    values: dict[str, list[float]] = {}
    for point in (point for series in members for point in series["points"]):
        values.setdefault(point["interval"]["endTime"], []).append(_number(point))
    gives = way.gives or first["valueType"]
    points = [
        _point(parse_timestamp(ends), way.function(found), gives)
        for ends, found in sorted(values.items(), reverse=True)
    ]
    metric: Document = {"type": first["metric"]["type"]}
    resource: Document = {"type": first["resource"]["type"], "labels": {}}
    for field in wanted.group_by:
        where, _, name = field.partition(".labels.")
        if name:
            target = metric if where == "metric" else resource
            target.setdefault("labels", {})[name] = _grouped(first, field)
    return {
        "metric": metric,
        "resource": resource,
        "metricKind": "GAUGE",
        "valueType": gives,
        "points": points,
    }


def _grouped(series: Document, field: str) -> str:
    where, _, name = field.replace(".label.", ".labels.").partition(".labels.")
    if where in ("metric", "resource") and name:
        return str(series[where].get("labels", {}).get(name.strip('"'), ""))
    if field == "resource.type":
        return ""
    raise invalid(f'Field aggregation.groupByFields had an invalid value of "{field}".')


def _inside(point: Document, start: int, end: int) -> bool:
    """(start, end], and the end alone where both are the same."""
    moment = end_of(point)
    return moment == end if start == end else start < moment <= end


def _period_end(point: Document, period: int, end: int) -> int:
    return end - (end - end_of(point)) // period * period


def _began(point: Document) -> str:
    return str(point["interval"]["startTime"])


def _number(point: Document) -> float:
    value: Any = next(iter(point["value"].values()))
    return float(value)


def _point(ends: int, value: float, value_type: str, length: int = 0) -> Document:
    typed: Any = value
    if value_type == "INT64":
        typed = str(round(value))
    elif value_type == "BOOL":
        typed = bool(value)
    interval = {"startTime": timestamp(ends - length), "endTime": timestamp(ends)}
    return {"interval": interval, "value": {FIELD_OF_TYPE[value_type]: typed}}


def _unfit(name: str, series: Document) -> Exception:
    kind, value_type = series["metricKind"], series["valueType"]
    if value_type == "DISTRIBUTION":
        return unimplemented(f"{name} of distributions")
    return invalid(
        f"Field aggregation.perSeriesAligner had an invalid value: {name} cannot be applied to metrics "
        f"with kind {kind} and value type {value_type}."
    )
