"""A sweep's run in the tracking server, the parent of its trials' runs: opened, found, and ended.

Nothing here fails a sweep: where the server does not answer its page is incomplete; trials make the parent.
"""

from __future__ import annotations

import os
import time
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from headway.cloud.services import Services
from headway.errors import RemoteError
from headway.spec.layout import TAG_SWEEP
from headway.spec.parameter import Value, text_of
from headway.spec.plan import Plan
from headway.tracking.mlflow_server import Document, MlflowServer, as_it_is
from headway.tracking.parent import Parent, Parents, pairs

_ENDED = {"succeeded": "FINISHED", "cancelled": "KILLED"}


@dataclass(frozen=True)
class Told:
    """What the parent gets at the end: the best trial's metric, values and run id, where there is one."""

    metric: str
    value: float | None
    values: Mapping[str, Value]
    trial: str | None


def open_parent(plan: Plan, services: Services) -> str | None:
    """Make the sweep's run, or find it; its address. None where the server does not answer."""
    server = _server(plan)
    try:
        found = _parents(plan, server, services).obtain()
    except RemoteError:
        return None
    assert plan.sweep is not None
    space = {f"headway.space.{each.name}": str(each) for each in plan.sweep.parameters}
    tags = {TAG_SWEEP: plan.run_id, "headway.name": plan.name, "headway.metric": plan.sweep.metric, **space}
    with suppress(RemoteError):
        server.post("runs/log-batch", {"run_id": found.run, "tags": pairs(tags)}, as_it_is)
        server.post("runs/update", {"run_id": found.run, "status": "RUNNING"}, as_it_is)
    return _address(server, found)


def url(plan: Plan, services: Services) -> str | None:
    """The address of the sweep's run; None where there is none, or nobody answers."""
    server = _server(plan)
    with suppress(RemoteError):
        if found := _parents(plan, server, services).find():
            return _address(server, found)
    return None


def close(plan: Plan, services: Services, state: str, told: Told) -> None:
    """End the sweep's run with the best trial's values. Done once more it changes nothing."""
    server = _server(plan)
    with suppress(RemoteError):
        run = _parents(plan, server, services).obtain().run
        status = _ENDED.get(state, "FAILED")
        if server.get("runs/get", {"run_id": run}, _status) == status:
            return
        batch: dict[str, Any] = {"run_id": run}
        if told.value is not None:
            now = int(time.time() * 1000)
            batch["metrics"] = [{"key": told.metric, "value": told.value, "timestamp": now, "step": 0}]
            batch["tags"] = pairs({"headway.best": told.trial or ""})
            if state == "succeeded":  # a parameter is for good: of a sweep that goes on the best may change
                batch["params"] = pairs({name: text_of(value) for name, value in told.values.items()})
        server.post("runs/log-batch", batch, as_it_is)
        ended = {"run_id": run, "status": status, "end_time": int(time.time() * 1000)}
        server.post("runs/update", ended, as_it_is)


def _server(plan: Plan) -> MlflowServer:
    return MlflowServer(plan.tracking.uri, os.environ)


def _parents(plan: Plan, server: MlflowServer, services: Services) -> Parents:
    return Parents(plan.run_id, plan.tracking.experiment, server, plan.layout, services.store)


def _address(server: MlflowServer, found: Parent) -> str:
    return f"{server.uri}/#/experiments/{found.experiment}/runs/{found.run}"


def _status(reply: Document) -> str:
    return str(reply["run"]["info"]["status"])
