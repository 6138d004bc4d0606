"""A trial in its container: its values, its metric, what it answers without training, what ends a sweep."""

from __future__ import annotations

import importlib
import json
import os
import signal
import threading
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from headway.errors import Refused
from headway.runtime import job, publish, supervise, trials
from headway.runtime.job import Container
from headway.spec.layout import METRIC_FILE_VARIABLE, PLAN_VARIABLE, TRIAL_VARIABLE, ContainerLayout
from headway.spec.parameter import Value, digest, parse
from headway.spec.plan import Plan
from headway.spec.status import RunStatus
from headway.spec.sweep import SweepPin
from tests.unit.runtime.world import BUCKET, World, make_plan, tar
from tests.unit.tracking.memory import MemorySink

SWEEP = "digits-sweep-0123abcd"
PREFIX = f"headway/sweeps/{SWEEP}"
SDK = {"SDK": str(Path(job.__file__).parents[2])}
LOGS = """
import json, os, pathlib, sys
sys.path.insert(0, os.environ["SDK"])
from headway.tracking.spool import Spool
spool = Spool(pathlib.Path(os.environ["HEADWAY_SPOOL"]))
"""
TRAIN = f"""{LOGS}
for step in range(3):
    spool.metrics({{"val_loss": 1 / (step + 1), "train_loss": 2.0}}, step=step)
pathlib.Path("seen.json").write_text(json.dumps([sys.argv[1:], os.environ["HEADWAY_RUN_ID"]]))
pathlib.Path(os.environ["HEADWAY_CHECKPOINTS"], "last.ckpt").write_text("c")
"""


class Sweeping(World):
    """A bucket that holds a sweep's plan, and the container of one of its trials."""

    def submit_sweep(self, files: Mapping[str, str], *, attempt: int = 1, **plan: Any) -> Plan:
        bundle = tar(files)
        texts = {"lr": "1e-4..1e-1:log", "width": "64,128", "optimizer": "adam,sgd"}
        pin = SweepPin(
            id=SWEEP,
            metric="val_loss",
            goal="min",
            parameters=tuple(parse(name, text) for name, text in texts.items()),
            trials=4,
            parallel=1,
            attempt=attempt,
        )
        made = make_plan(bundle, env=SDK, args={"lr": 0.5, "epochs": 3}, **plan)
        made = made.model_copy(update={"run_id": SWEEP, "sweep": pin})
        self.store.write(self.layout.bundle(made.code.digest), bundle)
        self.store.write(made.name_in_bucket, made.model_dump_json().encode())
        return made

    def trial(self, *words: str, number: str = "3", attempt: int = 1, **variables: str) -> Container:
        self.words = list(words or ("--lr=0.01", "--width=64", "--optimizer=sgd"))
        base = f"gs://{BUCKET}/{PREFIX}/{attempt}/{number}"
        variables = {
            PLAN_VARIABLE: f"gs://{BUCKET}/{self.layout.sweep_plan(SWEEP, attempt)}",
            "AIP_CHECKPOINT_DIR": f"{base}/checkpoints/",
            "AIP_MODEL_DIR": f"{base}/model/",
            TRIAL_VARIABLE: number,
            METRIC_FILE_VARIABLE: str(self.metric_file),
            **variables,
        }
        return self.container(**{name: value for name, value in variables.items() if value})

    def on_another_machine(self) -> None:
        self.folders = ContainerLayout(self.folders.root.parent / "another" / "run")

    @property
    def metric_file(self) -> Path:
        return self.folders.root.parent / "hypertune" / "output.metrics"

    @property
    def reported(self) -> list[tuple[int, float]]:
        """Steps and values in the metric file."""
        if not self.metric_file.exists():
            return []
        lines = [json.loads(line) for line in self.metric_file.read_text().splitlines()]
        return [(int(line["global_step"]), float(line["val_loss"])) for line in lines]

    def below(self, folder: str = "1/3/") -> dict[str, bytes]:
        """Objects of the sweep below a folder, by the rest of their names."""
        prefix = f"{PREFIX}/{folder}"
        return {
            name.removeprefix(prefix): data for name, data in self.store.objects.items() if prefix in name
        }

    def told(self, folder: str = "1/3/") -> RunStatus:
        return RunStatus.model_validate_json(self.below(folder)["status.json"])


VALUES: dict[str, Value] = {"lr": 0.01, "width": 64, "optimizer": "sgd"}
RESULT = f"{PREFIX}/results/{digest(VALUES)}.json"
BROKEN = f"{PREFIX}/broken.json"


@pytest.fixture
def world(tmp_path: Path) -> Sweeping:
    return Sweeping(tmp_path)


@pytest.fixture(autouse=True)
def sink(monkeypatch: pytest.MonkeyPatch) -> MemorySink:
    memory = MemorySink()
    monkeypatch.setattr(supervise, "sinks", lambda *_: [memory])
    monkeypatch.setattr(publish, "LOOK_S", 0.05)
    return memory


def test_a_trial_trains_with_its_values_reports_its_metric_and_records_it(
    world: Sweeping, sink: MemorySink
) -> None:
    world.submit_sweep({"train.py": TRAIN})
    assert job.run(world.trial()) == 0

    found = world.below()
    assert set(found) == {"status.json", "checkpoints/last.ckpt", "outputs/seen.json"}
    words, run_id = json.loads(found["outputs/seen.json"])
    assert words == ["--lr", "0.01", "--epochs", "3", "--width", "64", "--optimizer", "sgd"]
    assert run_id == f"{SWEEP}-t3"
    assert world.reported == [(0, 1.0), (1, 0.5), (2, 1 / 3)]
    status = world.told()
    assert (status.run_id, status.phase, status.error, status.warnings) == (run_id, "done", None, ())
    assert status.outputs == f"gs://{BUCKET}/{PREFIX}/1/3/outputs/"
    assert json.loads(world.store.objects[RESULT]) == {
        "trial": "3",
        "run_id": run_id,
        "params": VALUES,
        "metric": "val_loss",
        "value": 1 / 3,
    }
    assert sink.outcome is not None
    assert (sink.steps, sink.outcome.state) == ([0, 1, 2], "finished")
    assert world.cancelled == []


def test_a_later_tuning_job_of_the_sweep_has_folders_and_run_ids_of_its_own(world: Sweeping) -> None:
    world.submit_sweep({"train.py": TRAIN}, attempt=2)
    assert job.run(world.trial(attempt=2)) == 0
    assert world.told("2/3/").run_id == f"{SWEEP}-2-t3"
    assert RESULT in world.store.objects


def test_a_function_gets_values_of_their_types(world: Sweeping) -> None:
    code = f"{LOGS}\nspool.metrics({{'val_loss': 1}}, step=0)\n"
    code += "def main(**given): print(given, file=open('o', 'w'))"
    world.submit_sweep({"train.py": code}, entrypoint="train:main")
    assert job.run(world.trial("--lr=1e-3", "--width=128.0", "--optimizer=adam")) == 0
    given = world.below()["outputs/o"].decode().strip()
    assert given == "{'lr': 0.001, 'epochs': 3, 'width': 128, 'optimizer': 'adam'}"


def test_values_that_were_tried_are_answered_without_training(
    world: Sweeping, capfd: pytest.CaptureFixture[str], sink: MemorySink
) -> None:
    world.submit_sweep({"train.py": TRAIN})
    assert job.run(world.trial()) == 0
    world.on_another_machine()
    assert job.run(world.trial(number="4")) == 0
    assert world.reported == [(0, 1 / 3)]
    assert f"these values were tried as {SWEEP}-t3: val_loss 0.333333" in capfd.readouterr().out
    assert set(world.below("1/4/")) == {"status.json"}
    status = world.told("1/4/")
    assert (status.phase, status.exit_code, status.metrics) == ("done", 0, {"val_loss": 1 / 3})
    assert json.loads(world.store.objects[RESULT])["trial"] == "3"


def test_a_metric_that_is_never_logged_ends_the_sweep_after_the_first_trial(
    world: Sweeping, capfd: pytest.CaptureFixture[str]
) -> None:
    seen: list[bool] = []
    code = f"{LOGS}\nspool.metrics({{'valid_loss': 1.0, 'acc': 0.5}}, step=1)"
    world.submit_sweep({"train.py": code})
    world.cancelled = Watching(lambda _: seen.append(BROKEN in world.store.objects))
    assert job.run(world.trial()) == 2
    error = capfd.readouterr().err
    assert f"headway: error: training never logged val_loss, by which the sweep {SWEEP} judges" in error
    assert "it logged acc, valid_loss" in error
    assert "--metric valid_loss:min" in error
    status = world.told()
    assert status.phase == "done"
    assert "never logged val_loss" in (status.error or "")
    assert "never logged val_loss" in json.loads(world.store.objects[BROKEN])["error"]
    assert [plan.run_id for plan in world.cancelled] == [f"{SWEEP}-t3"]
    assert seen == [True]

    assert job.run(world.trial(number="4")) == 2
    assert f"the sweep {SWEEP} was given up: training never logged val_loss" in capfd.readouterr().err
    assert set(world.below("1/4/")) == {"status.json"}
    assert world.reported == []


class Watching(list[Plan]):
    """A list that tells of what is added."""

    def __init__(self, told: Any) -> None:
        super().__init__()
        self._told = told

    def append(self, plan: Plan) -> None:
        super().append(plan)
        self._told(plan)


def test_code_that_logs_nothing_at_all_is_told_so(world: Sweeping, capfd: pytest.CaptureFixture[str]) -> None:
    world.submit_sweep({"train.py": ""})
    assert job.run(world.trial()) == 2
    assert "it logged no metric at all" in capfd.readouterr().err
    assert len(world.cancelled) == 1


def test_where_other_trials_log_the_metric_only_the_one_that_does_not_fails(world: Sweeping) -> None:
    world.store.write(f"{PREFIX}/results/0123456789abcdef.json", b"{}")
    world.submit_sweep({"train.py": ""})
    assert job.run(world.trial()) == 2
    assert (world.cancelled, BROKEN in world.store.objects) == ([], False)


def test_a_cancel_that_is_refused_is_a_warning(world: Sweeping, capfd: pytest.CaptureFixture[str]) -> None:
    def refuse(_: Plan) -> None:
        raise Refused("cannot cancel the tuning job: permission denied")

    world.submit_sweep({"train.py": ""})
    world.cancelled = Watching(refuse)
    assert job.run(world.trial()) == 2
    assert world.told().warnings == (
        f"cannot cancel the tuning job: permission denied; run: launch sweep cancel {SWEEP}",
    )
    assert "never logged" in capfd.readouterr().err.splitlines()[-3]


def test_a_trial_that_diverged_fails_by_itself(world: Sweeping, capfd: pytest.CaptureFixture[str]) -> None:
    world.submit_sweep({"train.py": f"{LOGS}\nspool.metrics({{'val_loss': float('nan')}}, step=1)"})
    assert job.run(world.trial()) == 1
    assert "val_loss was logged, but never as a finite number" in capfd.readouterr().err
    assert (world.cancelled, world.reported) == ([], [])
    assert RESULT not in world.store.objects


def test_training_that_fails_has_reported_but_records_nothing(world: Sweeping) -> None:
    world.submit_sweep({"train.py": f"{TRAIN}\nsys.exit(7)"})
    assert job.run(world.trial()) == 7
    assert world.reported[-1] == (2, 1 / 3)
    assert (world.cancelled, RESULT in world.store.objects) == ([], False)


def test_training_that_was_stopped_records_nothing_though_it_ended_well(world: Sweeping) -> None:
    code = f"""{LOGS}
import signal, time
signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
spool.metrics({{"val_loss": 0.75}}, step=1)
pathlib.Path("ready").write_text("")
time.sleep(60)
"""
    world.submit_sweep({"train.py": code})

    def stop() -> None:
        deadline = time.monotonic() + 20
        while not (world.folders.code / "ready").exists() and time.monotonic() < deadline:
            time.sleep(0.02)
        os.kill(os.getpid(), signal.SIGTERM)

    thread = threading.Thread(target=stop)
    thread.start()
    assert job.run(world.trial()) == 0
    thread.join()
    assert world.reported == [(1, 0.75)]
    assert (world.cancelled, RESULT in world.store.objects) == ([], False)


def _was(world: Sweeping, **said: Any) -> None:
    """Leave what a trial whose machine was taken away had left."""
    status = {"run_id": f"{SWEEP}-t3", "phase": "training", "started": "2026-01-01T00:00:00Z", **said}
    document = {**status, "updated": "2026-01-01T00:01:00Z"}
    world.store.write(f"{PREFIX}/1/3/status.json", json.dumps(document).encode())
    world.store.write(f"{PREFIX}/1/3/checkpoints/last.ckpt", b"epoch 3")


def test_a_trial_that_starts_again_goes_on_from_its_own_checkpoint(world: Sweeping) -> None:
    code = f"open('from', 'w').write(open(__import__('os').environ['HEADWAY_RESUME']).read())\n{TRAIN}"
    world.submit_sweep({"train.py": code})
    world.store.write(f"{PREFIX}/1/2/checkpoints/last.ckpt", b"another trial's")
    _was(world)
    assert job.run(world.trial()) == 0
    assert world.below()["outputs/from"] == b"epoch 3"


def test_a_trial_that_had_logged_all_before_it_started_again_keeps_its_value(world: Sweeping) -> None:
    world.submit_sweep({"train.py": ""})
    _was(world, metrics={"val_loss": 0.25}, step=40)
    assert job.run(world.trial()) == 0
    assert world.reported == [(40, 0.25)]
    assert json.loads(world.store.objects[RESULT])["value"] == 0.25


def test_a_trial_that_started_again_does_not_end_the_sweep(world: Sweeping) -> None:
    world.submit_sweep({"train.py": ""})
    _was(world)
    assert job.run(world.trial()) == 2
    assert world.cancelled == []


def test_what_the_code_reports_by_itself_counts(world: Sweeping) -> None:
    code = (
        "import hypertune; tune = hypertune.HyperTune()\n"
        "tune.report_hyperparameter_tuning_metric('val_loss', 0.125, 9)"
    )
    assert importlib.util.find_spec("hypertune")
    world.submit_sweep({"train.py": code})
    assert job.run(world.trial()) == 0
    assert world.reported == [(9, 0.125)]


def test_the_last_value_is_in_the_file_though_no_tracking_server_answers(
    world: Sweeping, sink: MemorySink, monkeypatch: pytest.MonkeyPatch
) -> None:
    sink.failures = 10**9
    monkeypatch.setattr(supervise, "TRACKING_DEADLINE_S", 0.2)
    world.submit_sweep({"train.py": TRAIN})
    assert job.run(world.trial()) == 0
    assert world.reported[-1] == (2, 1 / 3)
    assert any("not all of the run is in mlflow" in warning for warning in world.told().warnings)


def test_a_metric_file_that_cannot_be_written_fails_the_trial(
    world: Sweeping, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(supervise, "TRACKING_DEADLINE_S", 0.2)
    world.metric_file.mkdir(parents=True)
    world.submit_sweep({"train.py": TRAIN})
    assert job.run(world.trial()) == 3
    assert (
        f"the trial's metric cannot be written to {world.metric_file}: Is a directory"
        in capfd.readouterr().err
    )


def test_a_result_that_cannot_be_recorded_is_a_warning(world: Sweeping) -> None:
    world.submit_sweep({"train.py": TRAIN})
    world.store.down_for = {"/results/"}
    assert job.run(world.trial()) == 0
    assert any("a resumed sweep will run this trial again" in warning for warning in world.told().warnings)


def test_of_several_nodes_only_the_chief_reports(world: Sweeping, sink: MemorySink) -> None:
    world.submit_sweep({"train.py": TRAIN})
    before = dict(world.store.objects)
    cluster = {"workerpool0": ["a:2222"], "workerpool1": ["b:2222"]}
    spec = json.dumps({"cluster": cluster, "task": {"type": "workerpool1", "index": 0}})
    assert job.run(world.trial(CLUSTER_SPEC=spec)) == 0
    assert world.store.objects == before
    assert (world.reported, sink.outcome) == ([], None)
    words, run_id = json.loads((world.folders.code / "seen.json").read_text())
    assert (words[:2], run_id) == (["--lr", "0.01"], f"{SWEEP}-t3")


@pytest.mark.parametrize(
    ("word", "said"),
    [
        ("--depth=3", "the sweep digits-sweep-0123abcd has no parameter depth"),
        ("--width=65", "width has no value 65"),
        ("lr", "'lr' is no value of a trial's parameter"),
    ],
)
def test_a_word_that_is_no_value_of_the_sweep_is_said(
    world: Sweeping, capfd: pytest.CaptureFixture[str], word: str, said: str
) -> None:
    world.submit_sweep({"train.py": TRAIN})
    assert job.run(world.trial(word)) == 2
    assert said in capfd.readouterr().err
    assert said in (world.told().error or "")


def test_a_sweeps_plan_is_run_by_trials_only(world: Sweeping, capfd: pytest.CaptureFixture[str]) -> None:
    world.submit_sweep({"train.py": TRAIN})
    assert job.run(world.trial(CLOUD_ML_TRIAL_ID="")) == 2
    assert f"CLOUD_ML_TRIAL_ID is not set: {SWEEP} is a sweep" in capfd.readouterr().err


def test_the_variables_of_a_trial_do_not_move_a_runs_status(world: Sweeping) -> None:
    assert trials.folder("headway/runs/r/plan.json", {}) == "headway/runs/r"
    world.submit({"train.py": ""})
    assert job.run(world.container()) == 0
    assert world.status.phase == "done"
