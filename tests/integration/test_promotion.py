"""Promotion with real servers: runs in processes of their own, gates, and the way back in one command."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from mlflow import MlflowClient

from headway.errors import InputError, NotFound
from headway.jobs import models
from headway.spec.place import Place
from headway.spec.plan import Plan
from headway.spec.promotion import Promoted, Promotion
from headway.spec.status import RunStatus
from headway_launcher import main as launcher
from tests.integration.storage_server import BUCKET, StorageServer
from tests.integration.tracking_server import TrackingServer
from tests.unit.runtime.world import MemoryStore, make_plan, put_folder, tar

TRAIN = """
import json, os, pathlib, sys

def evaluate(model, data):
    weights = json.loads(model.read_text())
    cases = json.loads((data / "cases.json").read_text())
    return {name: weights.get(name, 0.0) * scale for name, scale in cases.items()}

if __name__ == "__main__":
    pathlib.Path(os.environ["HEADWAY_MODEL"], "model.json").write_text(sys.argv[1])
"""
GATES = {
    "metric": "acc",
    "min": 0.5,
    "better_than": "champion",
    "on": "data/holdout",
    "evaluate": "train:evaluate",
    "max_regression": {"slice/*": 0.02},
}


@pytest.fixture(scope="module")
def storage(tmp_path_factory: pytest.TempPathFactory) -> Iterator[StorageServer]:
    server = StorageServer(tmp_path_factory.mktemp("storage"))
    try:
        server.wait_until_it_answers()
        yield server
    finally:
        server.end()


@pytest.fixture(scope="module")
def tracking(tmp_path_factory: pytest.TempPathFactory) -> Iterator[TrackingServer]:
    server = TrackingServer(tmp_path_factory.mktemp("mlflow"))
    try:
        server.wait_until_it_answers()
        yield server
    finally:
        server.end()


@pytest.fixture(scope="module")
def place(tracking: TrackingServer) -> Place:
    return Place(
        profile="local",
        project="p",
        region="us-central1",
        bucket=BUCKET,
        dvc_remote=f"gs://{BUCKET}/dvc",
        tracking_uri=tracking.uri,
    )


def trained(
    storage: StorageServer, place: Place, home: Path, run_id: str, metrics: dict[str, float]
) -> Promoted:
    """What became of the model of a run that was trained in a process of its own."""
    remote = MemoryStore(BUCKET)
    holdout = put_folder(remote, "data/holdout", {"cases.json": json.dumps(dict.fromkeys(metrics, 1.0))})
    for name, data in remote.objects.items():
        storage.store.write(name, data)
    bundle = tar({"train.py": TRAIN})
    made = make_plan(
        bundle,
        argv=[json.dumps(metrics)],
        data=[holdout],
        tracking_uri=place.tracking_uri,
        register="line",
        promote=Promotion.model_validate(GATES).pin(),
    )
    values: dict[str, Any] = {**made.model_dump(), "bucket": BUCKET, "run_id": run_id}
    plan = Plan.model_validate({**values, "data_remote": place.dvc_remote})
    storage.store.write(plan.layout.bundle(plan.code.digest), bundle)
    storage.store.write(plan.layout.plan(run_id), plan.model_dump_json().encode())
    home.mkdir()
    done = subprocess.run(
        [sys.executable, "-m", "headway.runtime"],
        env={
            **os.environ,
            "HOME": str(home),
            "HEADWAY_PLAN": plan.plan_uri,
            "STORAGE_EMULATOR_HOST": storage.url,
            "CLOUD_ML_PROJECT_ID": "p",
        },
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    status = RunStatus.model_validate_json(storage.store.read(plan.layout.status(run_id)))
    assert (status.phase, status.warnings) == ("done", ())
    assert status.promotion is not None
    table = storage.store.read(f"{plan.layout.outputs(run_id)}/promotion.md").decode()
    assert table.startswith(f"# line version {status.promotion.version}: {status.promotion.outcome}")
    artifacts = MlflowClient(place.tracking_uri).list_artifacts(status.tracking_run_id, "promotion")
    assert [item.path for item in artifacts] == ["promotion/promotion.json", "promotion/promotion.md"]
    return status.promotion


@pytest.mark.slow
def test_only_a_better_model_takes_over_and_one_command_goes_back(
    storage: StorageServer, place: Place, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def one(run_id: str, **metrics: float) -> Promoted:
        named = {name.replace("_", "/"): value for name, value in metrics.items()}
        return trained(storage, place, tmp_path / run_id, run_id, named)

    assert one("first", acc=0.8, slice_a=0.8).reason == "version 1 is champion now, the first one"
    better = one("better", acc=0.9, slice_a=0.79)
    assert (better.outcome, better.champion) == ("promoted", "1")
    worse = one("worse", acc=0.85, slice_a=0.79)
    assert (worse.outcome, worse.champion) == ("refused", "2")
    bad_slice = one("bad-slice", acc=0.95, slice_a=0.5)
    assert bad_slice.reason == "max_regression of slice/a: 0.5, the champion has 0.79"

    shown = models.model("line", place)
    assert shown.aliases == {"champion": "2"}
    told = [(one.version, one.run_id, one.replaced, one.promoted_by) for one in shown.versions]
    assert told == [
        ("4", "bad-slice", None, None),
        ("3", "worse", None, None),
        ("2", "better", "1", "better"),
        ("1", "first", None, "first"),
    ]
    assert shown.versions[1].promotion == "refused: better_than of acc: 0.85, the champion has 0.9"
    assert shown.versions[2].aliases == ("champion",)
    assert shown.versions[2].comparison == better.table

    monkeypatch.setattr("headway.config.profile.find_place", lambda **_: place)
    assert launcher.run(["models", "rollback", "--local", "line"]) == 0
    assert models.model("line", place).aliases == {"champion": "1"}
    assert (models.model("line", place).versions[2].rolled_back or "").startswith("to version 1, by ")
    with pytest.raises(InputError, match="version 1 of line replaced none"):
        models.rollback("line", place)

    moved = models.promote("line", "4", place)
    assert (moved.before, models.model("line", place).aliases) == ("1", {"champion": "4"})
    assert models.promote("line", "4", place).before == "4"
    assert models.rollback("line", place).version == "1"


def test_what_is_not_there_is_said_with_the_command_that_lists_what_is(place: Place) -> None:
    with pytest.raises(NotFound) as caught:
        models.model("nothing", place)
    assert caught.value.hint == "see what there is: launch models list --local"
    with pytest.raises(NotFound) as caught:
        models.promote("nothing", "1", place)
    assert caught.value.hint == "see what there is: launch models show --local nothing"
