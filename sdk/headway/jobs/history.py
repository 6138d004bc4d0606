"""Metric histories from the tracking server, as a pandas DataFrame."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from headway.errors import RemoteError
from headway.spec.place import Place
from headway.spec.status import RunStatus
from headway.tracking.mlflow_server import Document, MlflowServer

if TYPE_CHECKING:
    import pandas

_PAGE = 25_000
_TIMEOUT_S = 30.0
"""Of so many points at once."""


def metric_history(place: Place, status: RunStatus | None) -> pandas.DataFrame:
    """One row a step, one column a metric (system metrics left out); empty before the run is tracked.

    Asked over MLflow's REST API: importing its client takes seconds. Raises RemoteError.
    """
    import pandas

    if status is None or status.tracking_run_id is None:
        return pandas.DataFrame(index=pandas.Index([], name="step"))
    server = MlflowServer(place.tracking_uri, os.environ, timeout_s=_TIMEOUT_S)
    try:
        names = server.get("runs/get", {"run_id": status.tracking_run_id}, _names)
        columns = {name: _history(server, status.tracking_run_id, name) for name in names}
    except RemoteError as error:
        raise RemoteError(
            f"the tracking server {server.uri} did not give the metrics: {error.message}", hint=error.hint
        ) from error
    table = pandas.DataFrame(columns).sort_index()
    table.index.name = "step"
    return table


def _names(reply: Document) -> list[str]:
    metrics = reply["run"]["data"].get("metrics", [])
    return sorted(metric["key"] for metric in metrics if not metric["key"].startswith("system/"))


def _history(server: MlflowServer, run: str, name: str) -> dict[int, float]:
    """Step -> value."""
    query = {"run_id": run, "metric_key": name, "max_results": str(_PAGE)}
    return dict(server.pages("metrics/get-history", query, _points))


def _points(page: Document) -> list[tuple[int, float]]:
    return [(int(point["step"]), float(point["value"])) for point in page.get("metrics", [])]
