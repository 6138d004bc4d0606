"""Metric histories from the tracking server, as a pandas DataFrame."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

from headway.errors import RemoteError
from headway.spec.place import Place
from headway.spec.status import RunStatus
from headway.tracking.registry import login

if TYPE_CHECKING:
    import pandas

_PAGE = 25_000
_TIMEOUT_S = 30.0


def metric_history(place: Place, status: RunStatus | None) -> pandas.DataFrame:
    """One row a step, one column a metric (system metrics left out); empty before the run is tracked.

    Asked over MLflow's REST API: importing its client takes seconds. Raises RemoteError.
    """
    import pandas

    if status is None or status.tracking_run_id is None:
        return pandas.DataFrame(index=pandas.Index([], name="step"))
    columns: dict[str, dict[int, float]] = {}
    for name in _names(place, status.tracking_run_id):
        points = _points(place, status.tracking_run_id, name)
        columns[name] = {int(point["step"]): float(point["value"]) for point in points}
    table = pandas.DataFrame(columns).sort_index()
    table.index.name = "step"
    return table


def _names(place: Place, run: str) -> list[str]:
    reply = _get(place, "runs/get", {"run_id": run})
    metrics = reply["run"]["data"].get("metrics", [])
    return sorted(metric["key"] for metric in metrics if not metric["key"].startswith("system/"))


def _points(place: Place, run: str, name: str) -> list[dict[str, Any]]:
    points: list[dict[str, Any]] = []
    token = ""
    while True:
        query = {"run_id": run, "metric_key": name, "max_results": str(_PAGE), "page_token": token}
        page = _get(place, "metrics/get-history", {key: value for key, value in query.items() if value})
        points += page.get("metrics", [])
        token = page.get("next_page_token", "")
        if not token:
            return points


def _get(place: Place, path: str, query: dict[str, str]) -> dict[str, Any]:
    import requests

    uri = place.tracking_uri.rstrip("/")
    try:
        reply = requests.get(
            f"{uri}/api/2.0/mlflow/{path}", params=query, timeout=_TIMEOUT_S, **login(os.environ)
        )
        reply.raise_for_status()
        document: dict[str, Any] = reply.json()
    except requests.RequestException as error:  # an answer that is no JSON too: a login page, say
        raise RemoteError(f"the tracking server {uri} did not give the metrics: {error}") from error
    return document
