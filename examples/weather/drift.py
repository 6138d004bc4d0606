"""How far the newest month is from those before it: an Evidently report, and the one number of it."""

from __future__ import annotations

import json
from pathlib import Path

import pandas as pd
import pandas.core.dtypes.common
from forecast import COLUMNS

if not hasattr(pandas.core.dtypes.common, "infer_dtype_from_object"):
    # Evidently 0.7.23 imports a name that pandas 3.1 no longer has, for a test that is not used here
    pandas.core.dtypes.common.infer_dtype_from_object = None  # type: ignore[attr-defined]


def report(before: pd.DataFrame, month: pd.DataFrame, into: Path) -> float:
    """Write drift.html and drift.json; the share of the columns that have drifted, 0 to 1.

    A month is compared with the same season of the years before; in the first year with all there is.
    """
    from evidently import Report
    from evidently.presets import DataDriftPreset

    number = month["date"].dt.month.iloc[0]
    near = before[before["date"].dt.month.map(lambda other: (other - number) % 12 in (11, 0, 1))]
    a_year_ago = month["date"].iloc[0] - pd.DateOffset(months=10)
    season = near[near["date"] < a_year_ago]
    reference = season if len(season) else before
    run = Report([DataDriftPreset(columns=COLUMNS)]).run(
        reference_data=reference[COLUMNS], current_data=month[COLUMNS]
    )
    count = next(
        metric["value"] for metric in run.dict()["metrics"] if "DriftedColumns" in metric["metric_name"]
    )
    into.mkdir(parents=True, exist_ok=True)
    run.save_html(str(into / "drift.html"))
    told = {
        "month": f"{month['date'].iloc[0]:%Y-%m}",
        "share_of_drifted_columns": count["share"],
        "compared_with": f"{len(reference)} days, {'the same season' if len(season) else 'all before'}",
    }
    (into / "drift.json").write_text(json.dumps(told, indent=1) + "\n", encoding="utf-8")
    return float(count["share"])
