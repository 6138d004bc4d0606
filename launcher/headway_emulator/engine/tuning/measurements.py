"""A trial's measurements: read from the file that cloudml-hypertune writes, and what is made of them.

The file's form is that of cloudml-hypertune 0.1.0.dev6: a JSON object a line, rewritten whole at each report
and cut to the last hundred, with the metric's name as a key beside timestamp, trial and global_step.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from statistics import median
from typing import Any

from headway_emulator.engine.store import Document

METRIC_FILE = "/var/hypertune/output.metrics"
"""Where CLOUD_ML_HP_METRIC_FILE points to."""
Study = Mapping[str, Any]


def read(text: str, study: Study, began: float) -> list[Document]:
    """The reports of the study's own metrics; `began` is the trial's start in seconds since the epoch.

    A line that is being written, or that is no report, is left out.
    """
    found = []
    for line in text.splitlines():
        try:
            report = json.loads(line)
            reported = _report(report, study, began) if isinstance(report, dict) else None
        except (ValueError, TypeError, OverflowError, RecursionError):
            continue
        if reported is not None:
            found.append(reported)
    return found


def _report(report: Mapping[str, Any], study: Study, began: float) -> Document | None:
    known = [metric["metricId"] for metric in study["metrics"]]
    metrics = [
        {"metricId": name, "value": value}
        for name in known
        if name in report and math.isfinite(value := float(report[name]))
    ]
    if not metrics:
        return None
    elapsed = max(0.0, float(report.get("timestamp", began)) - began)
    if not math.isfinite(elapsed):
        return None
    step = max(0, int(report.get("global_step") or 0))
    return {"stepCount": str(step), "elapsedDuration": f"{elapsed:.6f}s", "metrics": metrics}


def merged(known: Sequence[Document], new: Sequence[Document]) -> list[Document]:
    """Both, ordered by step and time; metrics of one step that were reported apart are one measurement."""
    found = [{**measurement, "metrics": list(measurement["metrics"])} for measurement in known]
    for measurement in new:
        if not any(_holds(other, measurement) for other in found):
            place = next((other for other in found if _completes(measurement, other)), None)
            if place is None:
                found.append({**measurement, "metrics": list(measurement["metrics"])})
            else:
                place["metrics"] += measurement["metrics"]
    return sorted(found, key=_order)


def _holds(known: Document, new: Document) -> bool:
    """Whether it has this report already: the file shows each of them many times."""
    same = known["stepCount"] == new["stepCount"] and _seconds(known) <= _seconds(new)
    return same and all(metric in known["metrics"] for metric in new["metrics"])


def _completes(new: Document, known: Document) -> bool:
    names = {metric["metricId"] for metric in known["metrics"]}
    return known["stepCount"] == new["stepCount"] and names.isdisjoint(
        metric["metricId"] for metric in new["metrics"]
    )


def final(measurements: Sequence[Document], study: Study) -> Document | None:
    """The last one, or, where the study asks for it, the best; only one that has the objective counts."""
    fit = [(value, m) for m in measurements if (value := objective(m, study)) is not None]
    if not fit:
        return None
    if study.get("measurementSelectionType") == "BEST_MEASUREMENT":
        return max(fit, key=lambda pair: pair[0])[1]
    return fit[-1][1]


def objective(measurement: Mapping[str, Any], study: Study) -> float | None:
    """The value of the study's first metric, turned so that more is better."""
    metric = study["metrics"][0]
    values = [m["value"] for m in measurement["metrics"] if m["metricId"] == metric["metricId"]]
    if not values:
        return None
    return float(values[-1]) if metric["goal"] == "MAXIMIZE" else -float(values[-1])


def falls_behind(
    measurements: Sequence[Document], finished: Sequence[Sequence[Document]], study: Study
) -> bool:
    """The median rule: its best is below the median of the others' running averages up to its last report.

    Source: the description of MedianAutomatedStoppingSpec.
    """
    by_time = bool(study["medianAutomatedStoppingSpec"].get("useElapsedDuration"))
    mine = [value for m in measurements if (value := objective(m, study)) is not None]
    if not mine or not finished:
        return False
    until = _place(measurements[-1], by_time)
    averages = []
    for others in finished:
        values = [objective(m, study) for m in others if _place(m, by_time) <= until]
        if known := [value for value in values if value is not None]:
            averages.append(sum(known) / len(known))
    return bool(averages) and max(mine) < median(averages)


def _place(measurement: Document, by_time: bool) -> float:
    return _seconds(measurement) if by_time else float(measurement["stepCount"])


def _seconds(measurement: Document) -> float:
    return float(measurement["elapsedDuration"].removesuffix("s"))


def _order(measurement: Document) -> tuple[int, float]:
    return int(measurement["stepCount"]), _seconds(measurement)
