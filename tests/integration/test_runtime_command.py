"""`python -m headway.runtime` with real servers: storage, tracking, and what happens when one dies."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from mlflow import MlflowClient

from headway.cloud.storage import ObjectStore
from headway.errors import NotFound
from headway.spec.plan import Plan
from headway.spec.status import RunStatus
from tests.integration.storage_server import BUCKET, StorageServer
from tests.integration.tracking_server import TrackingServer
from tests.unit.runtime.world import NOBODY, make_plan, tar

TRAIN = """
import os, pathlib, sys, time
from headway.tracking.spool import Spool
spool = Spool(pathlib.Path(os.environ["HEADWAY_SPOOL"]))
print("first line of the user's code", time.time(), flush=True)
for step in range(int(sys.argv[1])):
    spool.metrics({"loss": 1 / (step + 1)}, step=step, epoch=0)
    time.sleep(0.1)
pathlib.Path(os.environ["HEADWAY_MODEL"], "model.ckpt").write_text("weights")
"""


@pytest.fixture(scope="module")
def storage(tmp_path_factory: pytest.TempPathFactory) -> Iterator[StorageServer]:
    server = StorageServer(tmp_path_factory.mktemp("storage"))
    try:
        server.wait_until_it_answers()
        yield server
    finally:
        server.end()


@pytest.fixture
def tracking(tmp_path: Path) -> Iterator[TrackingServer]:
    server = TrackingServer(tmp_path / "mlflow")
    try:
        server.wait_until_it_answers()
        yield server
    finally:
        server.end()


class Submitted:
    """A run in a real bucket, and its container's process."""

    def __init__(self, storage: StorageServer, home: Path, run_id: str, tracking: str, steps: int) -> None:
        bundle = tar({"train.py": TRAIN})
        made = make_plan(bundle, argv=[str(steps)], tracking_uri=tracking, register="line")
        self.plan = Plan.model_validate({**made.model_dump(), "bucket": BUCKET, "run_id": run_id})
        self.store: ObjectStore = storage.store
        self.store.write(self.plan.layout.bundle(self.plan.code.digest), bundle)
        self.store.write(self.plan.layout.plan(run_id), self.plan.model_dump_json().encode())
        home.mkdir()
        self.started = time.time()
        self.process = subprocess.Popen(
            [sys.executable, "-m", "headway.runtime"],
            env={
                **os.environ,
                "HOME": str(home),
                "HEADWAY_PLAN": self.plan.plan_uri,
                "STORAGE_EMULATOR_HOST": storage.url,
                "CLOUD_ML_PROJECT_ID": "p",
            },
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )

    @property
    def status(self) -> RunStatus | None:
        try:
            data = self.store.read(self.plan.layout.status(self.plan.run_id))
        except NotFound:
            return None
        return RunStatus.model_validate_json(data)

    def wait_for_tracking(self) -> None:
        deadline = time.monotonic() + 60
        while time.monotonic() < deadline:
            if (status := self.status) is not None and status.tracking_url:
                return
            time.sleep(0.1)
        raise AssertionError("the run was not tracked")

    def end(self) -> tuple[int, str]:
        log, _ = self.process.communicate(timeout=120)
        return self.process.returncode, log


def test_a_run_is_in_the_bucket_and_in_the_tracking_server(
    storage: StorageServer, tracking: TrackingServer, tmp_path: Path
) -> None:
    run = Submitted(storage, tmp_path / "home", "whole", tracking.uri, steps=10)
    code, log = run.end()
    assert code == 0, log
    status = run.status
    assert status is not None
    assert (status.phase, status.exit_code, status.error, status.warnings) == ("done", 0, None, ())
    assert status.metrics == {"loss": 0.1}
    assert status.registered is not None
    prefix = f"{run.plan.layout.run('whole')}/"
    names = {item.name.removeprefix(prefix) for item in run.store.list(prefix)}
    assert names == {"plan.json", "status.json", "model/model.ckpt"}
    assert MlflowClient(tracking.uri).get_run(status.tracking_run_id).data.metrics["loss"] == 0.1


def test_the_users_code_starts_soon(storage: StorageServer, tmp_path: Path) -> None:
    run = Submitted(storage, tmp_path / "home", "soon", NOBODY, steps=0)
    assert run.process.stdout is not None
    for line in run.process.stdout:
        if line.startswith("first line"):
            break
    seconds = float(line.split()[-1]) - run.started
    run.process.send_signal(signal.SIGTERM)
    run.end()
    assert seconds < 5, f"{seconds:.1f} s from the container's start to the user's code"


@pytest.mark.slow
def test_a_tracking_server_killed_in_the_middle_costs_a_warning_and_bounded_time(
    storage: StorageServer, tracking: TrackingServer, tmp_path: Path
) -> None:
    run = Submitted(storage, tmp_path / "home", "killed", tracking.uri, steps=80)
    run.wait_for_tracking()
    tracking.end()
    started = time.monotonic()
    code, log = run.end()
    assert code == 0, log
    assert time.monotonic() - started < 10 + 30 + 10
    status = run.status
    assert status is not None
    assert (status.phase, status.error) == ("done", None)
    assert status.step == 79
    assert any("not all of the run is in mlflow" in warning for warning in status.warnings)
    assert "headway: warning: not all of the run is in mlflow" in log
    assert run.store.read(f"{run.plan.layout.model('killed')}/model.ckpt") == b"weights"


@pytest.mark.slow
def test_a_tracking_server_that_hangs_does_not_hang_the_run(
    storage: StorageServer, tracking: TrackingServer, tmp_path: Path
) -> None:
    run = Submitted(storage, tmp_path / "home", "hung", tracking.uri, steps=80)
    run.wait_for_tracking()
    tracking.freeze()
    started = time.monotonic()
    code, log = run.end()
    assert code == 0, log
    assert time.monotonic() - started < 10 + 30 + 10
    assert "not all of the run is in mlflow" in log


def test_sigterm_ends_the_run_within_the_platforms_patience(storage: StorageServer, tmp_path: Path) -> None:
    run = Submitted(storage, tmp_path / "home", "stopped", NOBODY, steps=10_000)
    deadline = time.monotonic() + 30
    while ((status := run.status) is None or status.phase != "training") and time.monotonic() < deadline:
        time.sleep(0.1)
    started = time.monotonic()
    run.process.send_signal(signal.SIGTERM)
    code, log = run.end()
    assert code == 128 + signal.SIGTERM, log
    assert time.monotonic() - started < 25
    status = run.status
    assert status is not None
    assert (status.phase, status.exit_code) == ("done", 143)
