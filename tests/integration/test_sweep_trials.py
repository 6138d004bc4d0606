"""Trials of a tuning job that run headway.runtime: the emulator with processes, real storage, real MLflow."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
from google.cloud.aiplatform_v1 import HyperparameterTuningJob, JobServiceClient, JobState, Trial
from google.protobuf import json_format
from mlflow import MlflowClient

from headway.cloud import tuning
from headway.cloud.session import Session
from headway.cloud.storage import ObjectStore
from headway.spec import layout
from headway.spec.parameter import parse
from headway.spec.plan import Plan
from headway.spec.status import RunStatus
from headway.spec.sweep import SweepPin
from tests.contract.conftest import job_client, log_lines
from tests.contract.servers import LOCATION, PARENT, PROJECT, Emulator, StorageServer, until
from tests.integration.tracking_server import TrackingServer
from tests.unit.runtime.world import NOBODY, make_plan, tar

BUCKET = "sweeps"
FINAL = (JobState.JOB_STATE_SUCCEEDED, JobState.JOB_STATE_FAILED, JobState.JOB_STATE_CANCELLED)
SPACE = {"lr": "0.25,0.5", "optimizer": "adam,sgd"}
TRAIN = """
import os, pathlib, sys, time
from headway.tracking.spool import Spool
spool = Spool(pathlib.Path(os.environ["HEADWAY_SPOOL"]))
given = dict(zip(sys.argv[1::2], sys.argv[2::2]))
loss = float(given["--lr"]) + (1 if given["--optimizer"] == "sgd" else 0)
print("trains", given, flush=True)
for step in range(3):
    spool.metrics({"val_loss": loss + 2 - step, "train_loss": 9.0}, step=step)
"""


@pytest.fixture(scope="module")
def emulator(storage_server: StorageServer, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Emulator]:
    made = Emulator(tmp_path_factory.mktemp("sweeps") / "state", storage_server.url, grace=10)
    made.start()
    session = Session(PROJECT, anonymous=True)
    url = f"{made.url}/storage/v1/b?project={PROJECT}"
    session.call("POST", url, "cannot make the bucket", json={"name": BUCKET})
    yield made
    assert made.stop() == 0
    assert "Traceback" not in made.log, made.log


@pytest.fixture(scope="module")
def tracking(tmp_path_factory: pytest.TempPathFactory) -> Iterator[TrackingServer]:
    server = TrackingServer(tmp_path_factory.mktemp("mlflow"))
    try:
        server.wait_until_it_answers()
        yield server
    finally:
        server.end()


class Sweeping:
    """A sweep in a real bucket, and its tuning jobs on the emulator, made by Google's own client."""

    def __init__(
        self, emulator: Emulator, sweep_id: str, code: str, tracking: str, *, trials: int = 4
    ) -> None:
        self.emulator, self.id = emulator, sweep_id
        endpoints = {name: f"{emulator.url}/{name}" for name in ("aiplatform", "secretmanager")}
        session = Session(PROJECT, LOCATION, endpoints={"storage": emulator.url}, anonymous=True)
        self.store = ObjectStore(session, BUCKET)
        self._jobs: JobServiceClient = job_client(emulator)
        bundle = tar({"train.py": code})
        made = make_plan(bundle, args={"epochs": 3}, tracking_uri=tracking)
        pin = SweepPin(
            id=sweep_id,
            metric="val_loss",
            goal="min",
            parameters=tuple(parse(name, text) for name, text in SPACE.items()),
            trials=trials,
            parallel=2,
            algorithm="grid",
        )
        place = {"bucket": BUCKET, "project": PROJECT, "run_id": sweep_id, "endpoints": endpoints}
        self.plan = Plan.model_validate({**made.model_dump(), **place, "sweep": pin.model_dump()})
        self.store.write(self.plan.layout.bundle(made.code.digest), bundle)

    def run(self, *, attempt: int = 1, parallel: int = 2) -> HyperparameterTuningJob:
        """One tuning job of it, over."""
        assert self.plan.sweep is not None
        pin = self.plan.sweep.model_copy(update={"attempt": attempt, "parallel": parallel})
        plan = self.plan.model_copy(update={"sweep": pin})
        self.store.write(plan.name_in_bucket, plan.model_dump_json().encode())
        message = HyperparameterTuningJob()
        json_format.ParseDict(tuning.render(plan), HyperparameterTuningJob.pb(message))
        name = self._jobs.create_hyperparameter_tuning_job(
            parent=PARENT, hyperparameter_tuning_job=message
        ).name
        until(lambda: self._jobs.get_hyperparameter_tuning_job(name=name).state in FINAL, seconds=240)
        return self._jobs.get_hyperparameter_tuning_job(name=name)

    def log(self, job: HyperparameterTuningJob) -> str:
        entries = log_lines(self.emulator, job.name)
        return "\n".join(str(entry.get("jsonPayload", {}).get("message", "")) for entry in entries)

    def status(self, trial: str, attempt: int = 1) -> RunStatus:
        folder = self.plan.layout.trial(self.id, attempt, trial)
        return RunStatus.model_validate_json(self.store.read(f"{folder}/status.json"))


def _measured(trial: Trial) -> tuple[float, str, int, float]:
    values = {parameter.parameter_id: parameter.value for parameter in trial.parameters}
    final = trial.final_measurement
    return values["lr"], values["optimizer"], final.step_count, final.metrics[0].value


@pytest.mark.slow
def test_a_tuning_jobs_trials_train_and_are_measured_and_tried_values_are_not_trained_again(
    emulator: Emulator, tracking: TrackingServer
) -> None:
    sweep = Sweeping(emulator, "digits-sweep-11111111", TRAIN, tracking.uri)
    job = sweep.run()
    log = sweep.log(job)
    assert job.state == JobState.JOB_STATE_SUCCEEDED, log
    expected = {(0.25, "adam", 0.25), (0.25, "sgd", 1.25), (0.5, "adam", 0.5), (0.5, "sgd", 1.5)}
    assert [trial.state for trial in job.trials] == [Trial.State.SUCCEEDED] * 4
    assert {(lr, name, loss) for lr, name, _, loss in map(_measured, job.trials)} == expected
    assert {trial.final_measurement.step_count for trial in job.trials} == {2}
    assert log.count("trains {") == 4

    records = [
        json.loads(sweep.store.read(item.name))
        for item in sweep.store.list(sweep.plan.layout.sweep_results(sweep.id))
    ]
    assert {(*record["params"].values(), record["value"]) for record in records} == expected
    status = sweep.status("1")
    assert (status.run_id, status.phase, status.error) == (f"{sweep.id}-t1", "done", None)

    client = MlflowClient(tracking.uri)
    experiment = client.get_experiment_by_name("digits")
    assert experiment is not None
    runs = client.search_runs([experiment.experiment_id], f"tags.`{layout.TAG_SWEEP}` = '{sweep.id}'")
    (parent,) = (run for run in runs if run.data.tags[layout.TAG_RUN] == sweep.id)
    children = [run for run in runs if run is not parent]
    assert {run.data.tags["mlflow.parentRunId"] for run in children} == {parent.info.run_id}
    assert {run.data.tags[layout.TAG_TRIAL] for run in children} == {"1", "2", "3", "4"}
    assert {
        (float(run.data.params["lr"]), run.data.params["optimizer"], run.data.metrics["val_loss"])
        for run in children
    } == expected

    again = sweep.run(attempt=2)
    log = sweep.log(again)
    assert again.state == JobState.JOB_STATE_SUCCEEDED, log
    assert {(lr, name, loss) for lr, name, _, loss in map(_measured, again.trials)} == expected
    assert "trains {" not in log
    assert f"these values were tried as {sweep.id}-t" in log


@pytest.mark.slow
def test_a_metric_that_training_never_logs_stops_the_sweep_after_the_first_trial(emulator: Emulator) -> None:
    code = TRAIN.replace('"val_loss"', '"valid_loss"')
    sweep = Sweeping(emulator, "digits-sweep-22222222", code, NOBODY)
    job = sweep.run(parallel=1)
    log = sweep.log(job)
    assert job.state == JobState.JOB_STATE_CANCELLED, log
    assert len(job.trials) == 1
    error = f"training never logged val_loss, by which the sweep {sweep.id} judges its trials"
    assert f"headway: error: {error}" in log
    assert "it logged train_loss, valid_loss" in log
    assert error in json.loads(sweep.store.read(sweep.plan.layout.sweep_broken(sweep.id)))["error"]
    assert error in (sweep.status("1").error or "")


RESUMES = """
import os, pathlib, time
from headway.tracking.spool import Spool
spool = Spool(pathlib.Path(os.environ["HEADWAY_SPOOL"]))
resumed = os.environ.get("HEADWAY_RESUME")
first = int(pathlib.Path(resumed).read_text()) if resumed else 0
print("begins at", first, flush=True)
for step in range(first, 40):
    spool.metrics({"val_loss": 1 / (step + 1)}, step=step)
    pathlib.Path(os.environ["HEADWAY_CHECKPOINTS"], "last.ckpt").write_text(str(step))
    time.sleep(0.0 if resumed else 1.5 if step == 20 else 0.05)
"""


def _start(sweep: Sweeping, home: Path, variables: Mapping[str, str]) -> subprocess.Popen[str]:
    home.mkdir()
    base = sweep.plan.layout.uri(sweep.plan.layout.trial(sweep.id, 1, "7"))
    return subprocess.Popen(
        [sys.executable, "-m", "headway.runtime", "--lr=0.5", "--optimizer=sgd"],
        env={
            **os.environ,
            "HOME": str(home),
            layout.PLAN_VARIABLE: sweep.plan.plan_uri,
            layout.TRIAL_VARIABLE: "7",
            layout.METRIC_FILE_VARIABLE: str(home / "hypertune" / "output.metrics"),
            "AIP_CHECKPOINT_DIR": f"{base}/checkpoints/",
            "AIP_MODEL_DIR": f"{base}/model/",
            **variables,
        },
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


@pytest.mark.slow
def test_a_trial_whose_machine_is_taken_away_goes_on_elsewhere_and_reports_though_mlflow_is_gone(
    emulator: Emulator, tmp_path: Path
) -> None:
    sweep = Sweeping(emulator, "digits-sweep-33333333", RESUMES, NOBODY)
    sweep.store.write(sweep.plan.name_in_bucket, sweep.plan.model_dump_json().encode())
    variables = {"STORAGE_EMULATOR_HOST": emulator.url, "CLOUD_ML_PROJECT_ID": PROJECT}
    first = _start(sweep, tmp_path / "first", variables)
    prefix = sweep.plan.layout.trial(sweep.id, 1, "7")
    until(lambda: list(sweep.store.list(f"{prefix}/checkpoints/")), seconds=60, every=0.1)
    first.send_signal(signal.SIGKILL)
    first.communicate(timeout=30)

    second = _start(sweep, tmp_path / "second", variables)
    log, _ = second.communicate(timeout=120)
    assert second.returncode == 0, log
    begun = int(next(line for line in log.splitlines() if line.startswith("begins at")).split()[-1])
    assert begun > 0
    lines = (tmp_path / "second" / "hypertune" / "output.metrics").read_text().splitlines()
    reports: list[dict[str, Any]] = [json.loads(line) for line in lines]
    assert [int(report["global_step"]) for report in reports] == list(range(begun, 40))
    assert float(reports[-1]["val_loss"]) == 1 / 40
    assert any("not all of the run is in mlflow" in warning for warning in sweep.status("7").warnings)
