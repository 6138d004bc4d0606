"""A sweep's run in the tracking server, the parent of its trials' runs. Asked over REST, as histories are.

Nothing here fails a sweep: where the server does not answer its page is incomplete; trials make the parent.
"""

from __future__ import annotations

import os
import time
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from headway.errors import NotFound, RemoteError
from headway.spec.layout import TAG_RUN, TAG_SWEEP
from headway.spec.parameter import Value, text_of
from headway.spec.plan import Plan
from headway.tracking.mlflow_server import Document, MlflowServer, as_it_is

_ENDED = {"succeeded": "FINISHED", "cancelled": "KILLED"}


@dataclass(frozen=True)
class Told:
    """What the parent gets at the end: the best trial's metric, values and run id, where there is one."""

    metric: str
    value: float | None
    values: Mapping[str, Value]
    trial: str | None


def open_parent(plan: Plan) -> str | None:
    """Make the sweep's run, or find it; its address. None where the server does not answer."""
    server = _server(plan)
    try:
        found = _find(server, plan, make=True)
    except RemoteError:
        return None
    assert plan.sweep is not None
    assert found is not None
    space = {f"headway.space.{each.name}": str(each) for each in plan.sweep.parameters}
    tags = {TAG_SWEEP: plan.run_id, "headway.name": plan.name, "headway.metric": plan.sweep.metric, **space}
    with suppress(RemoteError):
        server.post("runs/log-batch", {"run_id": found.run, "tags": _pairs(tags)}, as_it_is)
        server.post("runs/update", {"run_id": found.run, "status": "RUNNING"}, as_it_is)
    return found.address(server)


def url(plan: Plan) -> str | None:
    """The address of the sweep's run; None where there is none, or nobody answers."""
    server = _server(plan)
    with suppress(RemoteError):
        if found := _find(server, plan, make=False):
            return found.address(server)
    return None


def close(plan: Plan, state: str, told: Told) -> None:
    """End the sweep's run with the best trial's values. Done once more it changes nothing."""
    server = _server(plan)
    with suppress(RemoteError):
        found = _find(server, plan, make=True)
        assert found is not None
        status = _ENDED.get(state, "FAILED")
        if server.get("runs/get", {"run_id": found.run}, _status) == status:
            return
        batch: dict[str, Any] = {"run_id": found.run}
        if told.value is not None:
            now = int(time.time() * 1000)
            batch["metrics"] = [{"key": told.metric, "value": told.value, "timestamp": now, "step": 0}]
            batch["tags"] = _pairs({"headway.best": told.trial or ""})
            if state == "succeeded":  # a parameter is for good: of a sweep that goes on the best may change
                batch["params"] = _pairs({name: text_of(value) for name, value in told.values.items()})
        server.post("runs/log-batch", batch, as_it_is)
        ended = {"run_id": found.run, "status": status, "end_time": int(time.time() * 1000)}
        server.post("runs/update", ended, as_it_is)


@dataclass(frozen=True)
class _Parent:
    experiment: str
    run: str

    def address(self, server: MlflowServer) -> str:
        return f"{server.uri}/#/experiments/{self.experiment}/runs/{self.run}"


def _server(plan: Plan) -> MlflowServer:
    return MlflowServer(plan.tracking.uri, os.environ)


def _find(server: MlflowServer, plan: Plan, *, make: bool) -> _Parent | None:
    """The sweep's run; None where it is not there and not to be made."""
    experiment = _experiment(server, plan.tracking.experiment, make=make)
    if experiment is None:
        return None
    if run := _first(server, plan, experiment):
        return _Parent(experiment, run)
    if not make:
        return None
    tags = _pairs({TAG_RUN: plan.run_id, TAG_SWEEP: plan.run_id})
    now = int(time.time() * 1000)
    made = server.post(
        "runs/create",
        {"experiment_id": experiment, "run_name": plan.run_id, "start_time": now, "tags": tags},
        _run_id,
    )
    run = (
        _first(server, plan, experiment) or made
    )  # a trial may have made one meanwhile: the first is the one
    if run != made:
        server.post("runs/delete", {"run_id": made}, as_it_is)
    return _Parent(experiment, run)


def _first(server: MlflowServer, plan: Plan, experiment: str) -> str | None:
    asked = {
        "experiment_ids": [experiment],
        "filter": f"tags.`{TAG_RUN}` = '{plan.run_id}'",
        "max_results": 1,
        "order_by": ["attributes.start_time ASC", "attributes.run_id ASC"],
    }
    return server.post("runs/search", asked, _first_of)


def _experiment(server: MlflowServer, name: str, *, make: bool) -> str | None:
    for _ in range(2):  # a trial may make it between the two questions
        with suppress(NotFound):
            return server.get("experiments/get-by-name", {"experiment_name": name}, _experiment_id)
        if not make:
            return None
        with suppress(RemoteError):
            return server.post("experiments/create", {"name": name}, lambda made: str(made["experiment_id"]))
    raise RemoteError(f"the experiment {name} can be neither found nor made")


def _experiment_id(reply: Document) -> str:
    return str(reply["experiment"]["experiment_id"])


def _run_id(reply: Document) -> str:
    return str(reply["run"]["info"]["run_id"])


def _status(reply: Document) -> str:
    return str(reply["run"]["info"]["status"])


def _first_of(reply: Document) -> str | None:
    runs = reply.get("runs") or []
    return str(runs[0]["info"]["run_id"]) if runs else None


def _pairs(values: Mapping[str, str]) -> list[dict[str, str]]:
    return [{"key": key, "value": value} for key, value in values.items()]
