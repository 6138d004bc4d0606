"""A plan is computed from its inputs alone: equal inputs are one run."""

from __future__ import annotations

from typing import Any

import pytest

from headway.errors import InputError
from headway.spec.job import JobSpec
from headway.spec.place import Place
from headway.spec.plan import CodePin, DataPin, ImagePin, Plan, image_uri, make_plan

PLACE = Place(
    profile="prod",
    project="my-project",
    region="europe-west4",
    bucket="my-bucket",
    dvc_remote="gs://my-bucket/dvc",
    tracking_uri="https://mlflow",
    service_account="trainer@my-project",
)
CODE = CodePin(digest="c" * 64, files=3, size=1024)
IMAGE = ImagePin(digest="e" * 64, base="python:3.11-slim", uri="trainer:e")
DATA = (DataPin(path="data/x", md5="abc.dir", size=10, files=2),)
CONFIG: dict[str, Any] = {"name": "digits", "entrypoint": "train.py", "args": {"lr": 0.1}}


def plan(
    config: dict[str, Any] | None = None,
    *,
    place: Place = PLACE,
    code: CodePin = CODE,
    image: ImagePin = IMAGE,
    data: tuple[DataPin, ...] = DATA,
    again: int = 1,
) -> Plan:
    spec = JobSpec.model_validate({**CONFIG, **(config or {})})
    return make_plan(spec, place, code=code, image=image, data=data, again=again)


def test_equal_inputs_are_one_run() -> None:
    assert plan() == plan()
    assert plan().run_id == f"digits-{plan().claim[:8]}"


@pytest.mark.parametrize(
    "changed",
    [
        {"code": CODE.model_copy(update={"digest": "d" * 64})},
        {"image": IMAGE.model_copy(update={"digest": "d" * 64})},
        {"data": (DATA[0].model_copy(update={"md5": "abd.dir"}),)},
        {"data": (*DATA, DATA[0].model_copy(update={"path": "data/y"}))},
        {"config": {"args": {"lr": 0.2}}},
        {"config": {"resources": {"gpu": "a100"}}},
        {"config": {"environment": {"env": {"A": "1"}}}},
        {"config": {"name": "letters"}},
    ],
)
def test_code_image_data_and_config_make_another_run(changed: dict[str, Any]) -> None:
    assert plan(**changed).run_id != plan().run_id


@pytest.mark.parametrize(
    "changed",
    [
        {"config": {"environment": {"wheelhouse": "wheels"}}},
        {"place": PLACE.model_copy(update={"tracking_uri": "https://other", "profile": "dev"})},
        {"code": CODE.model_copy(update={"files": 4})},
    ],
)
def test_where_wheels_come_from_and_the_place_make_no_other_run(changed: dict[str, Any]) -> None:
    assert plan(**changed).claim == plan().claim


def test_an_equal_run_asked_for_again_has_a_name_of_its_own() -> None:
    assert plan(again=2).run_id == f"{plan().run_id}-2"
    assert plan(again=2).claim == plan().claim


def test_a_plan_is_read_back_from_its_own_json() -> None:
    assert Plan.model_validate_json(plan().model_dump_json()) == plan()


def test_labels_are_such_as_google_allows() -> None:
    labels = plan({"name": "a" * 40}, again=12).labels
    for value in (*labels, *labels.values()):
        assert len(value) <= 63
        assert value == value.lower()
        assert all(letter.isalnum() or letter in "-_" for letter in value)


def test_everything_about_the_run_is_in_its_plan() -> None:
    made = plan({"resources": {"gpu": "a100:2", "nodes": 2, "spot": True}, "limits": {"timeout": "90m"}})
    assert (made.machine.type, made.machine.accelerator_count, made.machine.nodes) == ("a2-highgpu-2g", 2, 2)
    assert made.machine.accelerator == "NVIDIA_TESLA_A100"
    assert made.timeout_s == 5400
    assert made.regions == ("europe-west4",)
    assert made.argv == ("--lr", "0.1")
    assert made.tracking.experiment == "digits"
    assert made.plan_uri == f"gs://my-bucket/headway/runs/{made.run_id}/plan.json"
    assert made.base_output_uri == f"gs://my-bucket/headway/runs/{made.run_id}"


def test_the_regions_of_the_config_come_before_the_places() -> None:
    assert plan({"resources": {"regions": ["us-east4", "us-central1"]}}).regions == (
        "us-east4",
        "us-central1",
    )


def test_an_image_is_named_by_region_project_and_digest() -> None:
    assert image_uri(PLACE, "abc" * 20) == (
        "europe-west4-docker.pkg.dev/my-project/headway/trainer:abcabcabcabcabcabcab"
    )


def test_a_machine_that_does_not_exist_stops_the_plan() -> None:
    with pytest.raises(InputError, match="a100:3 does not exist"):
        plan({"resources": {"gpu": "a100:3"}})
