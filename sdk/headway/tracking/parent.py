"""A sweep's run in MLflow, the parent of its trials' runs: one, whoever makes it.

Laptop and trials make it where it is absent, several at once. Nothing in MLflow tells which was first: a run
begins by its maker's own clock. So the bucket tells, where a record is written once.
"""

from __future__ import annotations

import json
import time
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import Protocol

from headway.errors import NotFound, RemoteError
from headway.spec.layout import TAG_RUN, TAG_SWEEP, BucketLayout
from headway.tracking.mlflow_server import Document, MlflowServer, as_it_is

_MOST = 20
"""Of a sweep's records: one, and one more for each parent that somebody deleted."""


class Records(Protocol):
    """What is asked of the sweep's bucket."""

    def read(self, name: str) -> bytes:
        """Raises NotFound."""
        ...

    def write(
        self, name: str, data: bytes, *, only_if_absent: bool = False, content_type: str = ...
    ) -> bool: ...


@dataclass(frozen=True)
class Parent:
    """The run of a sweep in a tracking server."""

    experiment: str
    run: str


class Parents:
    """The parent of one sweep's trials. Raises RemoteError where MLflow or the bucket does not answer."""

    def __init__(
        self, sweep: str, experiment: str, server: MlflowServer, layout: BucketLayout, records: Records
    ) -> None:
        """`sweep` is its id, `experiment` the name of the experiment that its run belongs to."""
        self._sweep, self._named = sweep, experiment
        self._server, self._layout, self._records = server, layout, records

    def find(self) -> Parent | None:
        """The parent that all agreed on, or one that is about to be; None where there is none yet."""
        for number in range(1, _MOST):
            run = self._recorded(number)
            if run is None:
                experiment = self._experiment(make=False)
                first = experiment and self._first(experiment)
                return Parent(experiment, first) if experiment and first else None
            if there := self._there(run):
                return there
        return None

    def obtain(self) -> Parent:
        """The parent that all agree on, made where there is none."""
        for number in range(1, _MOST):
            run = self._recorded(number)
            if run is None:
                run = self._agreed(number)
            if there := self._there(run):
                return there
        raise RemoteError(f"the run of {self._sweep} was deleted from MLflow each of {_MOST} times")

    def _agreed(self, number: int) -> str:
        """Propose a run, the one that is there or one of our own; the run that was proposed first."""
        experiment = self._experiment(make=True)
        assert experiment is not None
        made = None
        proposed = self._first(experiment)
        if proposed is None:
            proposed = made = self._made(experiment)
        record = json.dumps({"run_id": proposed}).encode()
        name = self._layout.sweep_parent(self._sweep, number)
        if self._records.write(name, record, only_if_absent=True, content_type="application/json"):
            return proposed
        agreed = self._recorded(number) or ""
        if made not in (None, agreed):
            with suppress(RemoteError):  # a run without children that nobody names: it is in nobody's way
                self._server.post("runs/delete", {"run_id": made}, as_it_is)
        return agreed

    def _recorded(self, number: int) -> str | None:
        """None where nobody proposed a run yet, empty where the record cannot be read."""
        try:
            found = json.loads(self._records.read(self._layout.sweep_parent(self._sweep, number)))
            return str(found["run_id"])
        except NotFound:
            return None
        except (ValueError, LookupError, TypeError):
            return ""

    def _there(self, run: str) -> Parent | None:
        """None where it was deleted since."""
        if not run:
            return None
        with suppress(NotFound):
            return self._server.get("runs/get", {"run_id": run}, _unless_deleted)
        return None

    def _made(self, experiment: str) -> str:
        body = {
            "experiment_id": experiment,
            "run_name": self._sweep,
            "start_time": int(time.time() * 1000),
            "tags": pairs({TAG_RUN: self._sweep, TAG_SWEEP: self._sweep}),
        }
        return self._server.post("runs/create", body, _run_id)

    def _first(self, experiment: str) -> str | None:
        asked = {
            "experiment_ids": [experiment],
            "filter": f"tags.`{TAG_RUN}` = '{self._sweep}'",
            "max_results": 1,
            "order_by": ["attributes.start_time ASC", "attributes.run_id ASC"],
        }
        return self._server.post("runs/search", asked, _first_of)

    def _experiment(self, *, make: bool) -> str | None:
        for _ in range(2):  # another one may make it between the two questions
            with suppress(NotFound):
                query = {"experiment_name": self._named}
                return self._server.get("experiments/get-by-name", query, _experiment_id)
            if not make:
                return None
            with suppress(RemoteError):
                return self._server.post("experiments/create", {"name": self._named}, _made_experiment)
        raise RemoteError(f"the experiment {self._named} can be neither found nor made")


def pairs(values: Mapping[str, str]) -> list[dict[str, str]]:
    """Tags or parameters, as MLflow takes them."""
    return [{"key": key, "value": value} for key, value in values.items()]


def _unless_deleted(reply: Document) -> Parent | None:
    told = reply["run"]["info"]
    if told.get("lifecycle_stage") == "deleted":
        return None
    return Parent(str(told["experiment_id"]), str(told["run_id"]))


def _run_id(reply: Document) -> str:
    return str(reply["run"]["info"]["run_id"])


def _first_of(reply: Document) -> str | None:
    runs = reply.get("runs") or []
    return str(runs[0]["info"]["run_id"]) if runs else None


def _experiment_id(reply: Document) -> str:
    return str(reply["experiment"]["experiment_id"])


def _made_experiment(reply: Document) -> str:
    return str(reply["experiment_id"])
