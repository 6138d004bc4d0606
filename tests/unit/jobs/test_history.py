"""Metric histories, asked of a server that speaks MLflow's REST API."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, HTTPServer
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest

from headway.errors import RemoteError
from headway.jobs.history import metric_history
from headway.spec.place import Place
from headway.spec.status import RunStatus
from tests.unit.jobs.fakes import PLACE

HISTORY: dict[str, list[Any]] = {
    "val_loss": [(0, 0.5), (10, 0.25)],
    "train_loss": [(5, 0.4)],
    "system/cpu": [(0, 9.0)],
}


class Server(HTTPServer):
    """MLflow with one run; `logins` holds each request's Authorization."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.logins: list[str | None] = []


class Handler(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        assert isinstance(self.server, Server)
        self.server.logins.append(self.headers.get("Authorization"))
        parts = urlsplit(self.path)
        if parts.path.endswith("runs/get"):
            body: object = {"run": {"data": {"metrics": [{"key": name} for name in HISTORY]}}}
        else:
            points = HISTORY[parse_qs(parts.query)["metric_key"][0]]
            body = {"metrics": [{"step": str(step), "value": value} for step, value in points]}
        data = json.dumps(body).encode()
        self.send_response(200)
        self.send_header("content-length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, format: str, *args: object) -> None:
        pass


@pytest.fixture
def server() -> Iterator[Server]:
    with Server() as served:
        thread = threading.Thread(target=served.serve_forever)
        thread.start()
        yield served
        served.shutdown()
        thread.join(10)


@pytest.fixture
def place(server: Server) -> Place:
    return PLACE.model_copy(update={"tracking_uri": f"http://127.0.0.1:{server.server_port}"})


@pytest.fixture
def status() -> RunStatus:
    now = datetime.now(UTC)
    return RunStatus(run_id="tiny-1", phase="done", started=now, updated=now, tracking_run_id="abc")


def test_the_history_has_a_row_a_step_and_a_column_a_metric(place: Place, status: RunStatus) -> None:
    table = metric_history(place, status)
    assert list(table.columns) == ["train_loss", "val_loss"]
    assert list(table.index) == [0, 5, 10]
    assert table.loc[10, "val_loss"] == 0.25
    assert table["train_loss"].isna().sum() == 2


def test_before_a_run_is_tracked_its_history_is_empty() -> None:
    assert metric_history(PLACE, None).empty


@pytest.mark.parametrize(
    ("variables", "login"),
    [
        ({}, None),
        ({"MLFLOW_TRACKING_TOKEN": "t"}, "Bearer t"),
        ({"MLFLOW_TRACKING_USERNAME": "a", "MLFLOW_TRACKING_PASSWORD": "b"}, "Basic YTpi"),
    ],
)
def test_the_login_is_that_of_mlflows_own_client(
    place: Place,
    status: RunStatus,
    server: Server,
    monkeypatch: pytest.MonkeyPatch,
    variables: dict[str, str],
    login: str | None,
) -> None:
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    metric_history(place, status)
    assert set(server.logins) == {login}


def test_a_server_that_answers_oddly_is_named(
    place: Place, status: RunStatus, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(HISTORY, "val_loss", [(0, "a")])
    with pytest.raises(RemoteError, match=r"did not give the metrics: .*metrics/get-history otherwise than"):
        metric_history(place, status)


def test_a_server_that_is_down_is_named(status: RunStatus) -> None:
    with pytest.raises(RemoteError, match=r"the tracking server http://127\.0\.0\.1:1 did not give"):
        metric_history(PLACE, status)
