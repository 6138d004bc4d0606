"""What sinks say of a run: parameters by their names, and the tags that identify it."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from headway.spec.plan import DataPin
from headway.tracking import mlflow_sink, models
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


@pytest.mark.parametrize(
    ("given", "taken"),
    [
        ("val/loss", "val/loss"),
        ("café: 1.5-x_y", "café: 1.5-x_y"),
        ("acc@5", "acc_5"),
        ("/train//loss/", "train/loss"),
        ("a/../b/./c", "a/b/c"),
        ("..loss", "loss"),
        ("./", "_"),
        ("", "_"),
        ("x" * 249 + "/y", "x" * 249),
    ],
)
def test_a_name_that_mlflow_refuses_is_brought_to_one_it_takes(given: str, taken: str) -> None:
    assert mlflow_sink._name(given) == taken


class Artifacts:
    """MLflow's client as far as uploads go; it fails so often."""

    def __init__(self, failures: int = 0) -> None:
        self.sent: list[tuple[str, str]] = []
        self.timeouts: list[str] = []
        self.failures = failures

    def log_artifact(self, _: str, path: str, folder: str) -> None:
        self.timeouts.append(os.environ["MLFLOW_HTTP_REQUEST_TIMEOUT"])
        if self.failures and path.endswith("b"):
            self.failures -= 1
            raise OSError("no answer")
        self.sent.append((Path(path).name, folder))


def test_each_file_of_a_model_is_sent_once_though_one_failed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_TIMEOUT", "10")
    for name in ("model/a", "model/deep/b"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text("x")
    client, sent = Artifacts(failures=1), set[Path]()
    with pytest.raises(OSError, match="no answer"):
        models.upload(client, "1", tmp_path / "model", sent)
    models.upload(client, "1", tmp_path / "model", sent)
    assert client.sent == [("a", "model/model"), ("b", "model/model/deep")]


def test_a_large_model_is_given_time_to_arrive(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_TIMEOUT", "10")
    with (tmp_path / "model.ckpt").open("wb") as file:
        file.truncate(1_000_000_000)
    client = Artifacts()
    models.upload(client, "1", tmp_path / "model.ckpt", set())
    assert client.timeouts == ["210"]
    assert os.environ["MLFLOW_HTTP_REQUEST_TIMEOUT"] == "10"


def test_the_sinks_import_no_tracking_library_before_they_open() -> None:
    code = (
        "import sys, headway.tracking.mlflow_sink, headway.tracking.wandb_sink, headway.runtime.job;"
        "print([name for name in ('mlflow', 'wandb', 'torch', 'dvc', 'psutil') if name in sys.modules])"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, env=dict(os.environ)
    )
    assert done.stdout.strip() == "[]"
