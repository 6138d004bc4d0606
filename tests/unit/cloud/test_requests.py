"""The requests we send, as golden files: a change of one is reviewed as a change of a file."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import yaml

from headway.cloud import build, functions, scheduler, tuning, vertex
from headway.source import assets
from headway.spec.job import JobSpec
from headway.spec.place import Place
from headway.spec.plan import CodePin, DataPin, ImagePin, Plan, make_plan, make_sweep_plan
from headway.spec.retries import retries
from headway.spec.schedule import Overlap

GOLDEN = Path(__file__).parent / "golden"

PLACE = Place(
    profile="prod",
    project="acme",
    region="us-central1",
    bucket="acme-training",
    dvc_remote="gs://acme-training/dvc",
    tracking_uri="https://mlflow.acme.example",
    service_account="training@acme.iam.gserviceaccount.com",
)


def spec_of(sweep: dict[str, Any] | None = None, **resources: Any) -> JobSpec:
    return JobSpec.model_validate(
        {
            "name": "digits",
            "entrypoint": "train.py",
            "args": {"max_epochs": 5, "lr": 0.001},
            "resources": resources,
            "data": ["data/digits"],
            "limits": {"timeout": "2h"},
            "sweep": sweep,
        }
    )


PINS: dict[str, Any] = {
    "code": CodePin(digest="c" * 64, files=3, size=4096),
    "image": ImagePin(
        digest="e" * 64,
        base="python:3.11-slim",
        uri=f"us-central1-docker.pkg.dev/acme/headway/trainer:{'e' * 20}",
    ),
    "data": [DataPin(path="data/digits", md5="d" * 32 + ".dir", size=1000, files=10)],
}


def plan_of(**resources: Any) -> Plan:
    return make_plan(spec_of(**resources), PLACE, **PINS)


def sweep_of(sweep: dict[str, Any], **resources: Any) -> Plan:
    return make_sweep_plan(spec_of(sweep, **resources), PLACE, **PINS)


SWEEP: dict[str, Any] = {
    "parameters": {
        "lr": "1e-4..1e-2:log",
        "dropout": "0.5..0.99:reverse_log",
        "layers": "1..4",
        "width": "64,128,256",
        "optimizer": "adam,sgd",
        "momentum": "0.5..0.99 if optimizer=sgd",
        "nesterov": "true,false if optimizer=sgd",
        "second": "32,64 if layers=2|3|4",
        "shape": "[64,64],[32,32] if width=64",
    },
    "metric": "val_loss:min",
    "trials": 30,
    "parallel": 4,
}


def agrees_with(name: str, document: dict[str, Any]) -> None:
    text = json.dumps(document, indent=2) + "\n"
    path = GOLDEN / f"{name}.json"
    if not path.exists():
        path.write_text(text)
        pytest.fail(f"{path.name} was not there and is written now: review it, then run again")
    assert text == path.read_text()


@pytest.mark.parametrize(
    ("name", "resources"),
    [
        ("job-cpu", {}),
        ("job-a100", {"gpu": "a100"}),
        ("job-a100x4-spot", {"gpu": "a100:4", "spot": True}),
        ("job-h100-two-nodes", {"gpu": "h100:8", "nodes": 2, "disk_gb": 500}),
        ("job-h100-flex-start", {"gpu": "h100:8", "flex_start": {"max_wait": "6h"}}),
        ("job-tpu-v5e", {"gpu": "tpu-v5e:8"}),
        (
            "job-gb200-reserved",
            {"gpu": "gb200", "reservation": "projects/acme/zones/us-central1-a/reservations/night"},
        ),
    ],
)
def test_a_plan_becomes_this_custom_job(name: str, resources: dict[str, Any]) -> None:
    agrees_with(name, vertex.render(plan_of(**resources)))


@pytest.mark.parametrize(
    ("name", "sweep", "resources"),
    [
        ("sweep-conditional", SWEEP, {}),
        (
            "sweep-random-a100-spot",
            {
                "parameters": {"lr": "1e-4..1e-2:log"},
                "metric": "val_acc:max",
                "trials": 8,
                "algorithm": "random",
                "early_stopping": "median",
                "max_failed": 3,
            },
            {"gpu": "a100", "spot": True},
        ),
        (
            "sweep-grid",
            {
                "parameters": {"lr": "0.1,0.01", "layers": "1..3"},
                "metric": "val_loss:min",
                "algorithm": "grid",
            },
            {},
        ),
    ],
)
def test_a_sweeps_plan_becomes_this_tuning_job(
    name: str, sweep: dict[str, Any], resources: dict[str, Any]
) -> None:
    agrees_with(name, tuning.render(sweep_of(sweep, **resources)))


def test_a_sweep_that_goes_on_is_another_tuning_job() -> None:
    plan = sweep_of(SWEEP)
    assert plan.sweep is not None
    pin = plan.sweep.model_copy(update={"attempt": 2, "trials": 7})
    one, two = tuning.render(plan), tuning.render(plan.model_copy(update={"sweep": pin}))
    assert two["displayName"] == f"{one['displayName']}-2"
    assert two["labels"] == {**one["labels"], "headway-sweep": "2"}
    assert two["maxTrialCount"] == 7
    assert two["trialJobSpec"]["baseOutputDirectory"]["outputUriPrefix"].endswith(f"{plan.run_id}/2")
    assert two["studySpec"] == one["studySpec"]


def test_a_run_is_no_tuning_job() -> None:
    with pytest.raises(ValueError, match="is no sweep"):
        tuning.render(plan_of())


def test_the_build_spec_becomes_this_build() -> None:
    plan = plan_of()
    agrees_with(
        "build-trainer",
        build.render(
            yaml.safe_load(assets.read("trainer.yaml")),
            substitutions={"_IMAGE": plan.image.uri, "_BASE": plan.image.base},
            bucket=plan.bucket,
            context=plan.layout.build_context(plan.image.digest),
            logs=plan.layout.build_logs,
            tags=["headway"],
            project=plan.project,
            service_account="build@acme.iam.gserviceaccount.com",
        ),
    )


def test_every_rendered_job_is_a_message_of_googles_client() -> None:
    from google.cloud.aiplatform_v1.types import CustomJob
    from google.protobuf import json_format

    for path in GOLDEN.glob("job-*.json"):
        message = CustomJob()
        json_format.ParseDict(json.loads(path.read_text()), CustomJob.pb(message))
        assert message.display_name.startswith("digits-")


def test_every_rendered_sweep_is_a_message_of_googles_client() -> None:
    from google.cloud.aiplatform_v1.types import HyperparameterTuningJob
    from google.protobuf import json_format

    for path in GOLDEN.glob("sweep-*.json"):
        message = HyperparameterTuningJob()
        json_format.ParseDict(json.loads(path.read_text()), HyperparameterTuningJob.pb(message))
        assert message.display_name.startswith("digits-sweep-")


def test_labels_are_what_google_allows() -> None:
    for key, value in plan_of().labels.items():
        assert len(key) <= 63
        assert len(value) <= 63
        assert set(value) <= set("abcdefghijklmnopqrstuvwxyz0123456789_-")


@pytest.mark.parametrize("overlap", ["skip", "queue"])
def test_a_schedule_becomes_this_job_of_cloud_scheduler(overlap: Overlap) -> None:
    body = scheduler.render(
        job_id="headway-digits",
        description="Headway: digits, made by launch schedule create",
        cron="0 3 * * 1",
        zone="Europe/Zurich",
        uri="https://headway-tick-1234abcd-uc.a.run.app",
        body={"schedule": "digits", "source": "cron"},
        account="headway-scheduler@acme.iam.gserviceaccount.com",
        retries=retries(overlap),
    )
    agrees_with(f"schedule-{overlap}", body)


def test_the_function_of_the_ticks_is_this() -> None:
    body = functions.render(
        function_id="headway-tick-1234abcd",
        description="Decides what the ticks of Headway's schedules do (launch schedule)",
        bucket="acme-training",
        source=f"headway/functions/{'f' * 64}.zip",
        digest="f" * 64,
        account="headway-scheduler@acme.iam.gserviceaccount.com",
        build_account="headway-build@acme.iam.gserviceaccount.com",
        project="acme",
        images="projects/acme/locations/us-central1/repositories/headway",
        environment={"HEADWAY_PLACE": "{}"},
    )
    agrees_with("function", body)


def test_google_s_own_messages_take_the_schedule_and_the_function() -> None:
    from google.cloud.functions_v2.types import Function
    from google.cloud.scheduler_v1.types import Job
    from google.protobuf import json_format

    for name, message in (("schedule-skip", Job()), ("function", Function())):
        json_format.Parse((GOLDEN / f"{name}.json").read_text(), type(message).pb(message))
