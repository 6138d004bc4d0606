"""How far the newest month is from those before it: an Evidently report, and the numbers of it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pandas as pd
import pandas.core.dtypes.common
from forecast import COLUMNS

FAR = 3.0
"""A column has drifted where its Wasserstein distance is so many standard deviations of the reference.

Over the four years honest months reach 1.9 in the first year, which has no same season before it, and 1.4
after it; months in the wrong unit begin at 5.1 (tests/unit/test_weather_example.py).
"""

if not hasattr(pandas.core.dtypes.common, "infer_dtype_from_object"):
    # Evidently 0.7.23 imports a name that pandas 3.1 no longer has, for a test that is not used here
    pandas.core.dtypes.common.infer_dtype_from_object = None  # type: ignore[attr-defined]


def reference(before: pd.DataFrame, month: pd.DataFrame) -> tuple[pd.DataFrame, str]:
    """What a month is compared with, and that in words.

    The same month and its neighbours in the years before; in the first year all there is.
    """
    number = month["date"].dt.month.iloc[0]
    near = before[before["date"].dt.month.map(lambda other: (other - number) % 12 in (11, 0, 1))]
    season = near[near["date"] < month["date"].iloc[0] - pd.DateOffset(months=10)]
    if len(season):
        return season, f"{len(season)} days of the same season"
    return before, f"{len(before)} days, all before: no same season yet"


def compared(before: pd.DataFrame, month: pd.DataFrame) -> tuple[dict[str, Any], Any]:
    """The numbers, and Evidently's report that they are of."""
    from evidently import Report
    from evidently.presets import DataDriftPreset

    known, words = reference(before, month)
    preset = DataDriftPreset(columns=COLUMNS, num_method="wasserstein", num_threshold=FAR)
    report = Report([preset]).run(reference_data=known[COLUMNS], current_data=month[COLUMNS])
    metrics = report.dict()["metrics"]
    share = next(one["value"]["share"] for one in metrics if "DriftedColumns" in one["config"]["type"])
    distances = {
        one["config"]["column"]: one["value"] for one in metrics if "ValueDrift" in one["config"]["type"]
    }
    told = {
        "month": f"{month['date'].iloc[0]:%Y-%m}",
        "compared_with": words,
        "share_of_drifted_columns": float(share),
        "distances": {name: round(float(value), 2) for name, value in distances.items()},
        "a_column_drifts_at": FAR,
    }
    return told, report


def write(before: pd.DataFrame, month: pd.DataFrame, into: Path) -> dict[str, Any]:
    """Write drift.html and drift.json; what is in the latter."""
    told, report = compared(before, month)
    into.mkdir(parents=True, exist_ok=True)
    report.save_html(str(into / "drift.html"))
    (into / "drift.json").write_text(json.dumps(told, indent=1) + "\n", encoding="utf-8")
    return told
