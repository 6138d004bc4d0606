"""The requests we send, as golden files: a change of one is reviewed as a change of a file."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import yaml

from headway.cloud import build, vertex
from headway.source import assets
from headway.spec.job import JobSpec
from headway.spec.place import Place
from headway.spec.plan import CodePin, DataPin, ImagePin, Plan, make_plan

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


def plan_of(**resources: Any) -> Plan:
    spec = JobSpec.model_validate(
        {
            "name": "digits",
            "entrypoint": "train.py",
            "args": {"max_epochs": 5, "lr": 0.001},
            "resources": resources,
            "data": ["data/digits"],
            "limits": {"timeout": "2h"},
        }
    )
    return make_plan(
        spec,
        PLACE,
        code=CodePin(digest="c" * 64, files=3, size=4096),
        image=ImagePin(
            digest="e" * 64,
            base="python:3.11-slim",
            uri=f"us-central1-docker.pkg.dev/acme/headway/trainer:{'e' * 20}",
        ),
        data=[DataPin(path="data/digits", md5="d" * 32 + ".dir", size=1000, files=10)],
    )


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


def test_labels_are_what_google_allows() -> None:
    for key, value in plan_of().labels.items():
        assert len(key) <= 63
        assert len(value) <= 63
        assert set(value) <= set("abcdefghijklmnopqrstuvwxyz0123456789_-")
