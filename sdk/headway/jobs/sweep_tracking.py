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
from headway.tracking.registry import login

_TIMEOUT_S = 10.0
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
    try:
        found = _find(plan, make=True)
    except RemoteError:
        return None
    assert plan.sweep is not None
    space = {f"headway.space.{each.name}": str(each) for each in plan.sweep.parameters}
    tags = {TAG_SWEEP: plan.run_id, "headway.name": plan.name, "headway.metric": plan.sweep.metric, **space}
    with suppress(RemoteError):
        _post(plan, "runs/log-batch", {"run_id": found[1], "tags": _pairs(tags)})
        _post(plan, "runs/update", {"run_id": found[1], "status": "RUNNING"})
    return _address(plan, *found)


def url(plan: Plan) -> str | None:
    """The address of the sweep's run; None where there is none, or nobody answers."""
    with suppress(RemoteError):
        if found := _find(plan, make=False):
            return _address(plan, *found)
    return None


def close(plan: Plan, state: str, told: Told) -> None:
    """End the sweep's run with the best trial's values. Done once more it changes nothing."""
    with suppress(RemoteError):
        _, run = _find(plan, make=True)
        status = _ENDED.get(state, "FAILED")
        if _ask(plan, "GET", "runs/get", params={"run_id": run})["run"]["info"]["status"] == status:
            return
        batch: dict[str, Any] = {"run_id": run}
        if told.value is not None:
            now = int(time.time() * 1000)
            batch["metrics"] = [{"key": told.metric, "value": told.value, "timestamp": now, "step": 0}]
            batch["tags"] = _pairs({"headway.best": told.trial or ""})
            if state == "succeeded":  # a parameter is for good: of a sweep that goes on the best may change
                batch["params"] = _pairs({name: text_of(value) for name, value in told.values.items()})
        _post(plan, "runs/log-batch", batch)
        _post(plan, "runs/update", {"run_id": run, "status": status, "end_time": int(time.time() * 1000)})


def _find(plan: Plan, *, make: bool) -> Any:
    """(experiment, run) of the sweep; None where it is not there and not to be made."""
    experiment = _experiment(plan, make)
    if experiment is None:
        return None
    if run := _first(plan, experiment):
        return experiment, run
    if not make:
        return None
    tags = _pairs({TAG_RUN: plan.run_id, TAG_SWEEP: plan.run_id})
    made = _post(
        plan,
        "runs/create",
        {
            "experiment_id": experiment,
            "run_name": plan.run_id,
            "start_time": int(time.time() * 1000),
            "tags": tags,
        },
    )["run"]["info"]["run_id"]
    run = _first(plan, experiment) or made  # a trial may have made one meanwhile: the first is the one
    if run != made:
        _post(plan, "runs/delete", {"run_id": made})
    return experiment, run


def _first(plan: Plan, experiment: str) -> str | None:
    reply = _post(
        plan,
        "runs/search",
        {
            "experiment_ids": [experiment],
            "filter": f"tags.`{TAG_RUN}` = '{plan.run_id}'",
            "max_results": 1,
            "order_by": ["attributes.start_time ASC", "attributes.run_id ASC"],
        },
    )
    runs = reply.get("runs") or []
    return str(runs[0]["info"]["run_id"]) if runs else None


def _experiment(plan: Plan, make: bool) -> str | None:
    name = plan.tracking.experiment
    for _ in range(2):  # a trial may make it between the two questions
        with suppress(NotFound):
            found = _ask(plan, "GET", "experiments/get-by-name", params={"experiment_name": name})
            return str(found["experiment"]["experiment_id"])
        if not make:
            return None
        with suppress(RemoteError):
            return str(_post(plan, "experiments/create", {"name": name})["experiment_id"])
    raise RemoteError(f"the experiment {name} can be neither found nor made")


def _post(plan: Plan, path: str, body: Mapping[str, Any]) -> dict[str, Any]:
    return _ask(plan, "POST", path, json=body)


def _ask(plan: Plan, method: str, path: str, **arguments: Any) -> dict[str, Any]:
    import requests

    uri = plan.tracking.uri.rstrip("/")
    try:
        reply = requests.request(
            method,
            f"{uri}/api/2.0/mlflow/{path}",
            timeout=_TIMEOUT_S,
            **login(os.environ),
            **arguments,
        )
        if reply.status_code == 404:
            raise NotFound(f"the tracking server {uri} has no such thing")
        reply.raise_for_status()
        document: dict[str, Any] = reply.json()
    except requests.RequestException as error:
        raise RemoteError(f"the tracking server {uri} does not answer: {error}") from error
    return document


def _pairs(values: Mapping[str, str]) -> list[dict[str, str]]:
    return [{"key": key, "value": value} for key, value in values.items()]


def _address(plan: Plan, experiment: str, run: str) -> str:
    return f"{plan.tracking.uri}/#/experiments/{experiment}/runs/{run}"
