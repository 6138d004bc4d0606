"""What sinks say of a run: parameters by their names, and the tags that identify it."""

from __future__ import annotations

import os
import subprocess
import sys

from headway.spec.plan import DataPin
from headway.tracking.sinks import flat, parameters, tags
from tests.unit.runtime.world import make_plan


def test_arguments_keep_their_names_and_the_rest_of_the_config_is_dotted() -> None:
    plan = make_plan(b"", args={"lr": 0.001, "max_epochs": 5})
    assert parameters(plan) == {"lr": "0.001", "max_epochs": "5", "resources.gpu": "a100:1"}


def test_nested_values_are_flattened_and_empty_ones_left_out() -> None:
    nested = {"a": {"b": {"c": 1}}, "none": None, "list": [1, 2], "empty": []}
    assert flat(nested) == {"a.b.c": "1", "list": "[1, 2]"}


def test_tags_name_code_image_data_and_the_platforms_job() -> None:
    plan = make_plan(b"", data=[DataPin(path="data/digits", md5="ab.dir", size=1, files=1)])
    found = tags(plan, {"CLOUD_ML_JOB_ID": "42"})
    assert found["headway.run_id"] == plan.run_id
    assert found["headway.code"] == plan.code.digest
    assert found["headway.data.data/digits"] == "ab.dir"
    assert found["headway.job_id"] == "42"
    assert found["headway.outputs"] == f"gs://bucket/headway/runs/{plan.run_id}"


def test_the_sinks_import_no_tracking_library_before_they_open() -> None:
    code = (
        "import sys, headway.tracking.mlflow_sink, headway.tracking.wandb_sink, headway.runtime.job;"
        "print([name for name in ('mlflow', 'wandb', 'torch', 'dvc', 'psutil') if name in sys.modules])"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, env=dict(os.environ)
    )
    assert done.stdout.strip() == "[]"
