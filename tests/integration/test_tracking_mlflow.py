"""A real MLflow server: one run a run id, all that was recorded, one version a run."""

from __future__ import annotations

import os
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from headway.errors import Refused, RemoteError
from headway.spec.parameter import parse
from headway.spec.plan import DataPin, Plan
from headway.spec.sweep import SweepPin
from headway.tracking.mlflow_sink import MLflowSink
from headway.tracking.sinks import Outcome
from tests.integration.tracking_server import TrackingServer
from tests.unit.jobs.fakes import MemoryStore
from tests.unit.runtime.world import NOBODY, make_plan

BUCKET = MemoryStore()
DATA = DataPin(path="data/digits", md5="ab.dir", size=1, files=1)


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[TrackingServer]:
    server = TrackingServer(tmp_path_factory.mktemp("mlflow"))
    try:
        server.wait_until_it_answers()
        yield server
    finally:
        server.end()


def _plan(server: TrackingServer, run_id: str) -> Plan:
    args = {"lr": 0.001, "note": "x" * 2000}
    plan = make_plan(b"", args=args, data=[DATA], tracking_uri=server.uri, register="digits")
    return plan.model_copy(update={"run_id": run_id})


def _client(server: TrackingServer) -> Any:
    from mlflow import MlflowClient

    return MlflowClient(tracking_uri=server.uri)


def _metrics(step: int, **values: float) -> dict[str, Any]:
    return {"kind": "metrics", "time": 1e9 + step, "step": step, "epoch": 0, "values": values}


def test_a_run_is_recorded_whole(server: TrackingServer) -> None:
    sink = MLflowSink(_plan(server, "whole"), {"CLOUD_ML_JOB_ID": "42"}, BUCKET)
    opened = sink.open()
    sink.deliver([{"kind": "params", "time": 1.0, "values": {"depth": {"blocks": 3}}}])
    sink.deliver([_metrics(step, loss=1 / (step + 1)) for step in range(1500)])
    sink.deliver([{"kind": "system", "time": 2.0, "step": 0, "values": {"system/cpu": 50.0}}])
    sink.finish(Outcome("finished"))

    client = _client(server)
    run = client.get_run(opened.run_id)
    assert run.info.status == "FINISHED"
    assert run.data.params["lr"] == "0.001"
    assert run.data.params["depth.blocks"] == "3"
    assert run.data.params["note"] == "x" * 500
    assert run.data.tags["headway.data.data/digits"] == "ab.dir"
    assert run.data.tags["headway.job_id"] == "42"
    assert run.data.metrics["system/cpu"] == 50.0
    history = client.get_metric_history(opened.run_id, "loss")
    assert [(point.step, point.value) for point in history[:2]] == [(0, 1.0), (1, 0.5)]
    assert len(history) == 1500
    assert [item.path for item in client.list_artifacts(opened.run_id)] == ["plan.json"]
    assert opened.url == f"{server.uri}/#/experiments/{run.info.experiment_id}/runs/{opened.run_id}"


def test_a_container_that_starts_again_goes_on_with_the_same_run(server: TrackingServer) -> None:
    first = MLflowSink(_plan(server, "restarted"), {}, BUCKET).open()
    again = MLflowSink(_plan(server, "restarted"), {}, BUCKET)
    assert again.open() == first
    again.deliver([_metrics(1, loss=1.0)])
    assert _client(server).get_run(first.run_id).data.metrics["loss"] == 1.0


def test_a_parameter_with_another_value_is_kept_apart(server: TrackingServer) -> None:
    sink = MLflowSink(_plan(server, "changed"), {}, BUCKET)
    opened = sink.open()
    sink.deliver([{"kind": "params", "time": 1.0, "values": {"lr": 0.5}}])
    params = _client(server).get_run(opened.run_id).data.params
    assert (params["lr"], params["hparams/lr"]) == ("0.001", "0.5")


def test_values_that_are_no_numbers_and_odd_names_are_taken(server: TrackingServer) -> None:
    sink = MLflowSink(_plan(server, "odd"), {}, BUCKET)
    opened = sink.open()
    sink.deliver([_metrics(0, **{"val@1": 1.0, "loss": float("nan"), "top": float("inf")})])
    metrics = _client(server).get_run(opened.run_id).data.metrics
    assert metrics["val_1"] == 1.0
    assert metrics["loss"] != metrics["loss"]
    assert metrics["top"] > 1e300


def test_odd_data_paths_and_metric_names_do_not_leave_a_run_untracked(server: TrackingServer) -> None:
    pin = DataPin(path="data/my (1) été.csv", md5="cd", size=1, files=1)
    sink = MLflowSink(_plan(server, "paths").model_copy(update={"data": (pin,)}), {}, BUCKET)
    opened = sink.open()
    sink.deliver([_metrics(0, **{"/train//loss": 1.0, "..up": 2.0, "": 3.0})])
    run = _client(server).get_run(opened.run_id)
    assert run.data.tags["headway.data.data/my _1_ été.csv"] == "cd"
    assert {name: run.data.metrics[name] for name in ("train/loss", "up", "_")} == {
        "train/loss": 1.0,
        "up": 2.0,
        "_": 3.0,
    }


def test_a_model_of_a_second_start_replaces_the_first_ones_though_as_large(
    server: TrackingServer, tmp_path: Path
) -> None:
    model = tmp_path / "model.ckpt"
    for content in (b"first", b"later"):
        model.write_bytes(content)
        sink = MLflowSink(_plan(server, "replaced"), {}, BUCKET)
        opened = sink.open()
        sink.finish(Outcome("failed", model))
    (tmp_path / "fetched").mkdir()
    fetched = _client(server).download_artifacts(opened.run_id, "model/model.ckpt", str(tmp_path / "fetched"))
    assert Path(fetched).read_bytes() == b"later"


def test_the_servers_password_may_be_a_secret_of_the_run(
    server: TrackingServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_TOKEN", "")
    MLflowSink(_plan(server, "token"), {"MLFLOW_TRACKING_TOKEN": "s3cret"}, BUCKET).open()
    assert os.environ["MLFLOW_TRACKING_TOKEN"] == "s3cret"


def test_the_model_is_registered_once_with_the_way_back_to_its_run(
    server: TrackingServer, tmp_path: Path
) -> None:
    model = tmp_path / "model.ckpt"
    model.write_bytes(b"weights")
    outcome = Outcome("finished", model, "gs://bucket/headway/runs/registered/model/model.ckpt")
    versions = []
    for _ in range(2):
        sink = MLflowSink(_plan(server, "registered"), {}, BUCKET)
        opened = sink.open()
        versions.append(sink.finish(outcome))
    assert versions[0] == versions[1]
    assert versions[0] is not None

    client = _client(server)
    found = client.search_model_versions("name = 'digits'")
    assert [version.version for version in found] == [versions[0].version]
    assert found[0].run_id == opened.run_id
    assert found[0].tags["headway.run_id"] == "registered"
    assert found[0].tags["headway.model"] == outcome.model_uri
    assert "From run registered: gs://bucket/headway/runs/registered" in found[0].description
    fetched = client.download_artifacts(opened.run_id, "model/model.ckpt", str(tmp_path))
    assert Path(fetched).read_bytes() == b"weights"


def test_a_run_that_failed_registers_nothing(server: TrackingServer, tmp_path: Path) -> None:
    model = tmp_path / "model.ckpt"
    model.write_bytes(b"weights")
    sink = MLflowSink(_plan(server, "failed"), {}, BUCKET)
    opened = sink.open()
    assert sink.finish(Outcome("failed", model)) is None
    assert _client(server).get_run(opened.run_id).info.status == "FAILED"


def _trial(server: TrackingServer, sweep_id: str, number: str) -> Plan:
    space = (parse("lr", "0.25,0.5"),)
    pin = SweepPin(id=sweep_id, metric="val_loss", goal="min", parameters=space, trials=2, parallel=2)
    sweep = _plan(server, sweep_id).model_copy(update={"sweep": pin})
    return sweep.trial(number, {"lr": "0.25"})


def test_trials_that_begin_at_once_are_children_of_one_run(server: TrackingServer) -> None:
    with ThreadPoolExecutor(4) as pool:
        sinks = [MLflowSink(_trial(server, "sweep-1", str(number)), {}, BUCKET) for number in range(1, 5)]
        opened = list(pool.map(MLflowSink.open, sinks))
    client = _client(server)
    runs = [client.get_run(run.run_id) for run in opened]
    (parent,) = {run.data.tags["mlflow.parentRunId"] for run in runs}
    assert client.get_run(parent).data.tags["headway.run_id"] == "sweep-1"
    assert [run.data.tags["headway.trial"] for run in runs] == ["1", "2", "3", "4"]
    assert runs[0].data.params["lr"] == "0.25"
    experiment = runs[0].info.experiment_id
    left = client.search_runs([experiment], "tags.`headway.run_id` = 'sweep-1'")
    assert [run.info.run_id for run in left] == [parent]


def test_a_trial_is_a_child_of_the_run_that_its_sweep_has(server: TrackingServer, tmp_path: Path) -> None:
    client = _client(server)
    experiment = client.create_experiment("with a parent")
    marks = {"headway.run_id": "sweep-2", "headway.sweep": "sweep-2"}
    parent = client.create_run(experiment, run_name="mine", tags=marks)
    plan = _trial(server, "sweep-2", "1")
    plan = plan.model_copy(
        update={"tracking": plan.tracking.model_copy(update={"experiment": "with a parent"})}
    )
    (tmp_path / "model.ckpt").write_bytes(b"weights")
    for _ in range(2):
        sink = MLflowSink(plan, {}, BUCKET)
        opened = sink.open()
        assert sink.finish(Outcome("finished", tmp_path / "model.ckpt")) is None
    run = client.get_run(opened.run_id)
    assert run.data.tags["mlflow.parentRunId"] == parent.info.run_id
    assert len(client.search_runs([experiment])) == 2


def test_a_server_that_is_not_there_is_said_soon() -> None:
    sink = MLflowSink(make_plan(b"", tracking_uri=NOBODY), {}, BUCKET)
    with pytest.raises(RemoteError, match="does not answer") as caught:
        sink.open()
    assert not isinstance(caught.value, Refused)
