"""TensorBoard instances and what is written to them, as the SDK, the GAPIC client and gcloud use them."""

from __future__ import annotations

import uuid
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import pytest
import requests
from google.api_core import exceptions
from google.auth.credentials import AnonymousCredentials

from tests.contract.command_line import NEEDS_GCLOUD, REGION, Gcloud
from tests.contract.conftest import custom_job
from tests.contract.servers import BUCKET, NUMBER, PARENT, Emulator

if TYPE_CHECKING:
    from google.cloud.aiplatform_v1 import JobServiceClient, TensorboardServiceClient

LOCATION_NAME = f"projects/{NUMBER}/locations/us-central1"


@pytest.fixture
def boards(emulator: Emulator) -> TensorboardServiceClient:
    from google.cloud.aiplatform_v1 import TensorboardServiceClient

    options = {"api_endpoint": f"{emulator.url}/aiplatform"}
    return TensorboardServiceClient(
        transport="rest", credentials=AnonymousCredentials(), client_options=options
    )


@pytest.fixture
def run(boards: TensorboardServiceClient) -> str:
    """A new run's name, in an instance and an experiment of its own."""
    board = boards.create_tensorboard({"parent": PARENT, "tensorboard": {"display_name": "mine"}}).result()
    experiment = boards.create_tensorboard_experiment(
        {"parent": board.name, "tensorboard_experiment_id": "trials"}
    )
    request = {
        "parent": experiment.name,
        "tensorboard_run_id": "one",
        "tensorboard_run": {"display_name": "one"},
    }
    return str(boards.create_tensorboard_run(request).name)


def series(boards: TensorboardServiceClient, run: str, name: str) -> str:
    new = {"display_name": name, "value_type": "SCALAR", "plugin_name": "scalars"}
    made = boards.create_tensorboard_time_series({"parent": run, "tensorboard_time_series": new})
    return str(made.name)


def points(name: str, values: dict[int, float]) -> dict[str, Any]:
    moment = datetime(2026, 11, 22, tzinfo=UTC)
    return {
        "tensorboard_time_series_id": name.rsplit("/", 1)[1],
        "value_type": "SCALAR",
        "values": [
            {"step": step, "wall_time": moment, "scalar": {"value": value}} for step, value in values.items()
        ],
    }


def test_the_sdk_creates_updates_lists_and_deletes_an_instance(vertex: Any) -> None:
    name = f"sdk-{uuid.uuid4().hex[:8]}"
    made = vertex.Tensorboard.create(display_name=name, labels={"made-by": "sdk"})
    assert made.resource_name.startswith(f"{LOCATION_NAME}/tensorboards/")
    made.update(display_name=f"{name}-2", description="told")
    found = vertex.Tensorboard(made.resource_name)
    assert (found.display_name, found.gca_resource.description) == (f"{name}-2", "told")
    assert found.labels == {"made-by": "sdk"}
    assert [b.name for b in vertex.Tensorboard.list(filter=f'display_name="{name}-2"')] == [made.name]
    made.delete()
    assert vertex.Tensorboard.list(filter=f'display_name="{name}-2"') == []


def test_the_sdk_writes_a_run_and_reads_it_back(vertex: Any) -> None:
    board = vertex.Tensorboard.create(display_name="reading")
    experiment = vertex.TensorboardExperiment.create(
        tensorboard_experiment_id="tuning", tensorboard_name=board.resource_name
    )
    made = vertex.TensorboardRun.create(
        tensorboard_run_id="first", tensorboard_experiment_name=experiment.resource_name
    )
    made.create_tensorboard_time_series("loss")
    for step, loss in enumerate((0.9, 0.5, 0.25), start=1):
        made.write_tensorboard_scalar_data({"loss": loss}, step=step)
    (data,) = made.read_time_series_data().values()
    assert [(point.step, point.scalar.value) for point in data.values] == [(1, 0.9), (2, 0.5), (3, 0.25)]
    assert [other.name for other in vertex.TensorboardRun.list(experiment.resource_name)] == [made.name]


def test_a_value_at_the_same_step_replaces_the_first(boards: TensorboardServiceClient, run: str) -> None:
    loss = series(boards, run, "loss")
    boards.write_tensorboard_run_data(tensorboard_run=run, time_series_data=[points(loss, {1: 1.0, 3: 0.5})])
    boards.write_tensorboard_run_data(
        tensorboard_run=run, time_series_data=[points(loss, {3: 0.25, 2: 0.75})]
    )
    read = boards.read_tensorboard_time_series_data(tensorboard_time_series=loss).time_series_data
    assert [(p.step, p.scalar.value) for p in read.values] == [(1, 1.0), (2, 0.75), (3, 0.25)]
    assert boards.get_tensorboard_time_series(name=loss).metadata.max_step == 3
    request = {"tensorboard_time_series": loss, "max_data_points": 2}
    thinned = boards.read_tensorboard_time_series_data(request).time_series_data
    assert [p.step for p in thinned.values] == [1, 3], "the last point is kept"


def test_several_series_are_written_and_read_at_once(boards: TensorboardServiceClient, run: str) -> None:
    experiment, board = run.rsplit("/", 2)[0], run.rsplit("/", 4)[0]
    new = [
        {"parent": run, "tensorboard_time_series": {"display_name": name, "value_type": "SCALAR"}}
        for name in ("loss", "accuracy")
    ]
    made = boards.batch_create_tensorboard_time_series(
        parent=experiment, requests=new
    ).tensorboard_time_series
    data = [points(one.name, {1: float(i)}) for i, one in enumerate(made)]
    boards.write_tensorboard_experiment_data(
        tensorboard_experiment=experiment,
        write_run_data_requests=[{"tensorboard_run": run, "time_series_data": data}],
    )
    request = {"tensorboard": board, "time_series": [one.name for one in made]}
    read = boards.batch_read_tensorboard_time_series_data(request).time_series_data
    assert [one.values[0].scalar.value for one in read] == [0.0, 1.0]
    assert boards.get_tensorboard(name=board).run_count == 1


def test_a_custom_job_with_a_tensorboard_needs_it_and_a_service_account(
    boards: TensorboardServiceClient, jobs: JobServiceClient, run: str
) -> None:
    board, account = run.rsplit("/", 4)[0], "trainer@demo.iam.gserviceaccount.com"
    output = {"output_uri_prefix": f"gs://{BUCKET}/with-board"}
    spec: dict[str, Any] = {"tensorboard": board, "service_account": account, "base_output_directory": output}
    made = jobs.create_custom_job(parent=PARENT, custom_job=custom_job("pass", **spec))
    assert made.job_spec.tensorboard == board
    with pytest.raises(exceptions.BadRequest, match="service_account"):
        jobs.create_custom_job(parent=PARENT, custom_job=custom_job("pass", tensorboard=board))
    boards.delete_tensorboard(name=board).result(timeout=10)
    with pytest.raises(exceptions.NotFound):
        jobs.create_custom_job(parent=PARENT, custom_job=custom_job("pass", **spec))


def test_a_deletion_takes_all_that_is_below(boards: TensorboardServiceClient, run: str) -> None:
    loss = series(boards, run, "loss")
    boards.write_tensorboard_run_data(tensorboard_run=run, time_series_data=[points(loss, {1: 1.0})])
    boards.delete_tensorboard_experiment(name=run.rsplit("/", 2)[0]).result(timeout=10)
    for read in (boards.get_tensorboard_run, boards.get_tensorboard_time_series):
        with pytest.raises(exceptions.NotFound):
            read({"name": loss if read == boards.get_tensorboard_time_series else run})


def test_only_one_instance_of_a_region_is_its_default(boards: TensorboardServiceClient) -> None:
    made = [
        boards.create_tensorboard(
            {"parent": PARENT, "tensorboard": {"display_name": name, "is_default": True}}
        ).result()
        for name in ("first", "second")
    ]
    assert [boards.get_tensorboard(name=board.name).is_default for board in made] == [False, True]


def test_what_is_wrong_is_refused_with_googles_status(
    emulator: Emulator, boards: TensorboardServiceClient, run: str
) -> None:
    experiment, board = run.rsplit("/", 2)[0], run.rsplit("/", 4)[0]
    loss = series(boards, run, "loss")
    there = {"tensorboardTimeSeriesId": loss.rsplit("/", 1)[1]}
    top = f"{PARENT}/tensorboards"
    rows: list[tuple[str, dict[str, Any], int, str, str]] = [
        # Tensorboard.display_name, TensorboardRun.display_name: "Required."
        (top, {}, 400, "INVALID_ARGUMENT", "tensorboard.display_name"),
        (f"{experiment}/runs?tensorboardRunId=two", {}, 400, "INVALID_ARGUMENT", "display_name"),
        # Tensorboard.labels: "can only contain lowercase letters, numeric characters, ..."
        (top, {"displayName": "a", "labels": {"A": "b"}}, 400, "INVALID_ARGUMENT", "Label keys"),
        # CreateTensorboardExperimentRequest.tensorboard_experiment_id: "Required ... 1-128 characters"
        (f"{board}/experiments", {}, 400, "INVALID_ARGUMENT", "tensorboard_experiment_id"),
        (f"{board}/experiments?tensorboardExperimentId=A_b", {}, 400, "INVALID_ARGUMENT", '"A_b"'),
        # TensorboardRun.display_name: "must be unique among all TensorboardRuns belonging to the same parent"
        (f"{experiment}/runs?tensorboardRunId=two", {"displayName": "one"}, 409, "ALREADY_EXISTS", "one"),
        (f"{experiment}/runs?tensorboardRunId=one", {"displayName": "two"}, 409, "ALREADY_EXISTS", "one"),
        # TensorboardTimeSeries.value_type: "Required. Immutable."
        (f"{run}/timeSeries", {"displayName": "x"}, 400, "INVALID_ARGUMENT", "value_type"),
        # a parent that is not there (google.rpc.Code)
        (f"{board}0/experiments?tensorboardExperimentId=a", {}, 404, "NOT_FOUND", board),
        # WriteTensorboardRunDataRequest.time_series_data: "Required", "limit of data points ... is 5000"
        (f"{run}:write", {}, 400, "INVALID_ARGUMENT", "time_series_data"),
        (
            f"{run}:write",
            {"timeSeriesData": [{**there, "valueType": "SCALAR", "values": [{"scalar": {}}] * 5001}]},
            *(400, "INVALID_ARGUMENT", "5001"),
        ),
        # TimeSeriesData.value_type: "All the values in this time series data must match this value type"
        (
            f"{run}:write",
            {"timeSeriesData": [{**there, "valueType": "TENSOR", "values": [{"tensor": {}}]}]},
            *(400, "INVALID_ARGUMENT", "SCALAR"),
        ),
        # Google's JSON front: a wrong enum
        (f"{run}/timeSeries", {"displayName": "x", "valueType": "NUMBER"}, 400, "INVALID_ARGUMENT", "NUMBER"),
    ]
    for path, body, code, status, message in rows:
        answer = requests.post(f"{emulator.url}/aiplatform/v1/{path}", json=body, timeout=10)
        error = answer.json()["error"]
        assert (answer.status_code, error["status"]) == (code, status), (path, error)
        assert message in error["message"]


@NEEDS_GCLOUD[0]
@NEEDS_GCLOUD[1]
def test_gcloud_creates_describes_updates_lists_and_deletes(gcloud: Gcloud) -> None:
    name = gcloud.json("ai", "tensorboards", "create", "--display-name=by-gcloud", REGION)["name"]
    gcloud("ai", "tensorboards", "update", name, "--description=told", REGION)
    assert gcloud.json("ai", "tensorboards", "describe", name, REGION)["description"] == "told"
    assert name in {board["name"] for board in gcloud.json("ai", "tensorboards", "list", REGION)}
    gcloud("ai", "tensorboards", "delete", name, REGION)
    assert name not in {board["name"] for board in gcloud.json("ai", "tensorboards", "list", REGION)}
