"""A sweep's run in a real MLflow server: made once, the parent of its trials, ended with the best values."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any

import pytest
from mlflow import MlflowClient

from headway.jobs import sweep_tracking
from headway.jobs.sweep_tracking import Told
from headway.spec.plan import Plan
from headway.tracking.mlflow_server import MlflowServer
from headway.tracking.mlflow_sink import MLflowSink
from tests.integration.tracking_server import TrackingServer
from tests.unit.jobs.fakes import MemoryPlace
from tests.unit.spec.test_sweep import sweep_plan


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[TrackingServer]:
    made = TrackingServer(tmp_path_factory.mktemp("mlflow"))
    try:
        made.wait_until_it_answers()
        yield made
    finally:
        made.end()


def plan_at(server: TrackingServer, experiment: str) -> Plan:
    made = sweep_plan()
    tracking = made.tracking.model_copy(update={"uri": server.uri, "experiment": experiment})
    return made.model_copy(update={"tracking": tracking})


def runs(server: TrackingServer, experiment: str) -> list[Any]:
    client = MlflowClient(server.uri)
    found = client.get_experiment_by_name(experiment)
    return list(client.search_runs([found.experiment_id])) if found else []


def test_the_parent_is_made_once_and_ended_once_with_the_best_values(server: TrackingServer) -> None:
    place = MemoryPlace()
    plan = plan_at(server, "once")
    assert sweep_tracking.url(plan, place.services) is None
    address = sweep_tracking.open_parent(plan, place.services)
    assert address is not None
    assert sweep_tracking.open_parent(plan, place.services) == address
    assert sweep_tracking.url(plan, place.services) == address
    (parent,) = runs(server, "once")
    assert address.endswith(parent.info.run_id)
    assert parent.data.tags["headway.space.lr"] == "0.0001..0.01:log"
    assert parent.info.status == "RUNNING"

    best = Told("val_loss", 0.25, {"lr": 0.002, "width": 64}, f"{plan.run_id}-t2")
    sweep_tracking.close(plan, place.services, "cancelled", best)
    (parent,) = runs(server, "once")
    assert (parent.info.status, parent.data.params) == ("KILLED", {}), "another may become the best"

    sweep_tracking.open_parent(plan, place.services)  # it goes on
    better = Told("val_loss", 0.125, {"lr": 0.001, "width": 64}, f"{plan.run_id}-2-t1")
    for _ in range(2):
        sweep_tracking.close(plan, place.services, "succeeded", better)
    (parent,) = runs(server, "once")
    assert parent.info.status == "FINISHED"
    assert parent.data.params == {"lr": "0.001", "width": "64"}
    assert parent.data.metrics == {"val_loss": 0.125}
    assert parent.data.tags["headway.best"] == f"{plan.run_id}-2-t1"
    history = MlflowClient(server.uri).get_metric_history(parent.info.run_id, "val_loss")
    assert [point.value for point in history] == [0.25, 0.125]


@pytest.mark.parametrize("first", ["laptop", "trial"])
def test_laptop_and_trials_agree_on_the_parent(server: TrackingServer, first: str) -> None:
    place = MemoryPlace()
    plan = plan_at(server, f"first-{first}")
    if first == "laptop":
        sweep_tracking.open_parent(plan, place.services)
    MLflowSink(plan.trial("1", {"lr": "0.001"}), {}, place.store).open()
    sweep_tracking.open_parent(plan, place.services)
    MLflowSink(plan.trial("2", {"lr": "0.002"}), {}, place.store).open()
    names = {run.info.run_name: run for run in runs(server, f"first-{first}")}
    assert set(names) == {plan.run_id, f"{plan.run_id}-t1", f"{plan.run_id}-t2"}
    parent = names.pop(plan.run_id).info.run_id
    assert {run.data.tags["mlflow.parentRunId"] for run in names.values()} == {parent}


def test_a_laptop_whose_clock_is_behind_agrees_with_a_trial_that_was_quicker(
    server: TrackingServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The laptop finds no parent; a trial makes it; the laptop's own then seems the earlier one."""
    place, plan = MemoryPlace(), plan_at(server, "clocks")
    post, now = MlflowServer.post, time.time

    def overtaken(self: MlflowServer, path: str, body: Any, take: Any) -> Any:
        if path == "runs/create":
            monkeypatch.setattr(MlflowServer, "post", post)
            MLflowSink(plan.trial("1", {"lr": "0.001"}), {}, place.store).open()
            body = {**body, "start_time": int((now() - 60) * 1000)}
        return post(self, path, body, take)

    monkeypatch.setattr(MlflowServer, "post", overtaken)
    address = sweep_tracking.open_parent(plan, place.services)
    names = {run.info.run_name: run for run in runs(server, "clocks")}
    assert len(runs(server, "clocks")) == len(names) == 2
    parent = names[plan.run_id].info.run_id
    assert names[f"{plan.run_id}-t1"].data.tags["mlflow.parentRunId"] == parent
    assert address is not None
    assert address.endswith(parent)
