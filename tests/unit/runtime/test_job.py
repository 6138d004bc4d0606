"""A run in its container, whole: a real training process, a bucket in memory, a sink in memory."""

from __future__ import annotations

import json
import os
import signal
import threading
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

from headway.errors import RemoteError
from headway.runtime import job, process, publish, supervise
from headway.runtime.status import Heartbeat
from headway.tracking import mlflow_sink
from headway.tracking.spool import SpoolReader
from tests.unit.runtime.world import NOBODY, RUN, World, put_folder
from tests.unit.tracking.memory import MemorySink


@pytest.fixture
def world(tmp_path: Path) -> World:
    return World(tmp_path)


@pytest.fixture(autouse=True)
def sink(monkeypatch: pytest.MonkeyPatch) -> MemorySink:
    memory = MemorySink()
    monkeypatch.setattr(supervise, "sinks", lambda *_: [memory])
    monkeypatch.setattr(publish, "LOOK_S", 0.05)
    return memory


TRAIN = """
import json, os, pathlib, sys
sys.path.insert(0, os.environ["SDK"])
from headway.tracking.spool import Spool
spool = Spool(pathlib.Path(os.environ["HEADWAY_SPOOL"]))
spool.params({"depth": 3})
for step in range(3):
    spool.metrics({"loss": 1 / (step + 1)}, step=step, epoch=step // 2)
pathlib.Path("lightning_logs").mkdir()
pathlib.Path("lightning_logs/metrics.csv").write_text("a")
pathlib.Path(os.environ["HEADWAY_OUTPUTS"], "report.txt").write_text("b")
pathlib.Path(os.environ["HEADWAY_CHECKPOINTS"], "last.ckpt").write_text("c")
pathlib.Path(os.environ["HEADWAY_MODEL"], "model.ckpt").write_text("d")
seen = {"argv": sys.argv[1:], "data": pathlib.Path("data/a.txt").read_text(), "env": dict(os.environ)}
pathlib.Path(os.environ["HEADWAY_OUTPUTS"], "seen.json").write_text(json.dumps(seen))
"""
SDK = {"SDK": str(Path(job.__file__).parents[2])}


def test_a_run_goes_from_the_plan_to_the_bucket(world: World, sink: MemorySink) -> None:
    data = put_folder(world.store, "data", {"a.txt": "pinned"})
    world.secrets = {"token": "s3cret"}
    world.submit({"train.py": TRAIN}, argv=["--lr", "0.1"], data=[data], env=SDK, secrets={"TOKEN": "token"})
    assert job.run(world.container()) == 0

    assert set(world.objects("")) == {
        "plan.json",
        "status.json",
        "checkpoints/last.ckpt",
        "model/model.ckpt",
        "outputs/report.txt",
        "outputs/seen.json",
        "outputs/lightning_logs/metrics.csv",
    }
    seen = json.loads(world.objects("outputs/")["seen.json"])
    assert (seen["argv"], seen["data"]) == (["--lr", "0.1"], "pinned")
    assert seen["env"]["TOKEN"] == "s3cret"
    assert seen["env"]["HEADWAY_RUN_ID"] == RUN
    assert seen["env"]["PYTHONPATH"] == str(world.folders.code)

    status = world.status
    assert (status.phase, status.exit_code, status.error, status.warnings) == ("done", 0, None, ())
    assert (status.metrics, status.step, status.epoch) == ({"loss": 1 / 3}, 2, 1)
    assert status.model_uri == f"gs://bucket/headway/runs/{RUN}/model/model.ckpt"
    assert status.outputs == f"gs://bucket/headway/runs/{RUN}/outputs/"
    assert status.checkpoints == (f"gs://bucket/headway/runs/{RUN}/checkpoints/last.ckpt",)
    assert status.tracking_url == "http://tracking/1"
    assert status.registered is not None

    assert sink.steps == [0, 1, 2]
    assert sink.params == {"depth": 3}
    assert sink.outcome is not None
    assert (sink.outcome.state, sink.outcome.model) == ("finished", world.folders.model / "model.ckpt")


@pytest.mark.parametrize("answers", [True, False])
def test_outputs_that_are_artifacts_are_kept_in_mlflow_too(
    world: World, monkeypatch: pytest.MonkeyPatch, answers: bool
) -> None:
    logged: list[tuple[str, str, list[str], str]] = []

    def log_files(uri: str, run_id: str, files: Sequence[Path], root: Path, folder: str) -> None:
        if not answers:
            raise RemoteError("no answer")
        logged.append((uri, run_id, [file.relative_to(root).as_posix() for file in files], folder))

    monkeypatch.setattr(mlflow_sink, "log_files", log_files)
    plots = (
        TRAIN
        + """
plots = pathlib.Path(os.environ["HEADWAY_OUTPUTS"], "plots")
plots.mkdir()
(plots / "loss.png").write_text("e")
"""
    )
    data = put_folder(world.store, "data", {"a.txt": "pinned"})
    world.submit({"train.py": plots}, data=[data], env=SDK, artifacts=["report.*", "plots/*", "absent.html"])
    assert job.run(world.container()) == 0
    assert set(world.objects("outputs/")) >= {"report.txt", "plots/loss.png", "seen.json"}
    if answers:
        assert logged == [(NOBODY, "1", ["plots/loss.png", "report.txt"], "outputs")]
        assert world.status.warnings == ()
    else:
        assert world.status.warnings == ("not all of tracking.artifacts is in MLflow: no answer",)


def test_no_secret_is_in_the_plan_or_the_status(world: World) -> None:
    world.secrets = {"token": "s3cret"}
    world.submit({"train.py": "raise SystemExit(1)"}, secrets={"TOKEN": "token"})
    job.run(world.container())
    assert all(b"s3cret" not in data for data in world.objects("").values())


def test_the_entrypoints_exit_code_is_kept_and_its_traceback_comes_first(
    world: World, sink: MemorySink, capfd: pytest.CaptureFixture[str]
) -> None:
    world.submit({"train.py": "raise ValueError('broken layer')"})
    assert job.run(world.container()) == 1
    error = capfd.readouterr().err
    ours = error.index("headway: error: training ended with exit code 1")
    assert error.index("ValueError: broken layer") < ours
    assert world.status.exit_code == 1
    assert world.status.error is not None
    assert "exit code 1" in world.status.error
    assert sink.outcome is not None
    assert sink.outcome.state == "failed"


def test_an_exit_code_that_is_a_signals_says_which(world: World) -> None:
    world.submit({"train.py": "import os, signal; os.kill(os.getpid(), signal.SIGKILL)"})
    assert job.run(world.container()) == 137
    assert "exit code 137 (SIGKILL: killed, often for want of memory)" in (world.status.error or "")


def test_outputs_of_a_run_that_failed_are_kept(world: World) -> None:
    world.submit({"train.py": "open('partial.csv', 'w').write('x'); raise SystemExit(7)"})
    assert job.run(world.container()) == 7
    assert world.objects("outputs/") == {"partial.csv": b"x"}


def test_a_signal_that_ends_training_is_counted_as_shells_do(world: World) -> None:
    world.submit({"train.py": "import os; os.kill(os.getpid(), 9)"})
    assert job.run(world.container()) == 137


def test_an_entrypoint_may_be_a_function_with_keyword_arguments(world: World) -> None:
    code = "def main(lr, deep=False): open('out.txt', 'w').write(f'{lr!r} {deep!r}')"
    world.submit({"pkg/train.py": code}, entrypoint="pkg.train:main", args={"lr": 0.5, "deep": True})
    assert job.run(world.container()) == 0
    assert world.objects("outputs/") == {"out.txt": b"0.5 True"}


@pytest.mark.parametrize(("result", "code"), [("3", 3), ("True", 0), ("0.97", 0)])
def test_only_an_int_that_a_function_returns_is_its_exit_code(world: World, result: str, code: int) -> None:
    world.submit({"train.py": f"def main(): return {result}"}, entrypoint="train:main")
    assert job.run(world.container()) == code


def test_a_function_that_is_not_there_is_said(world: World, capfd: pytest.CaptureFixture[str]) -> None:
    world.submit({"train.py": ""}, entrypoint="train:main")
    assert job.run(world.container()) == 2
    assert "train has no function main" in capfd.readouterr().err


def test_a_missing_entrypoint_is_an_error_in_log_and_status(
    world: World, capfd: pytest.CaptureFixture[str]
) -> None:
    world.submit({"other.py": ""}, entrypoint="train.py")
    assert job.run(world.container()) == 2
    assert "headway: error: the entrypoint train.py is not in the code bundle" in capfd.readouterr().err
    assert world.status.phase == "done"
    assert world.status.error is not None
    assert world.status.exit_code is None


def test_data_that_is_not_in_the_remote_ends_the_run_with_the_command_that_helps(
    world: World, capfd: pytest.CaptureFixture[str]
) -> None:
    pin = put_folder(world.store, "data/digits", {"a.txt": "1"})
    world.store.delete(next(name for name in world.store.objects if not name.endswith(".dir")))
    world.submit({"train.py": ""}, data=[pin])
    assert job.run(world.container()) == 2
    assert "dvc push data/digits" in capfd.readouterr().err
    assert "data/digits is not in the remote" in (world.status.error or "")


def test_without_a_plan_the_status_says_so(world: World, capfd: pytest.CaptureFixture[str]) -> None:
    assert job.run(world.container()) == 4
    assert "there is no plan at" in capfd.readouterr().err
    assert "there is no plan at" in (world.status.error or "")


def test_without_its_variable_the_command_says_what_it_is(
    world: World, capfd: pytest.CaptureFixture[str]
) -> None:
    assert job.run(world.container(HEADWAY_PLAN="")) == 2
    assert "HEADWAY_PLAN is not set" in capfd.readouterr().err


def test_a_model_that_cannot_be_uploaded_fails_the_run(world: World, sink: MemorySink) -> None:
    world.submit({"train.py": "import os; open(os.environ['HEADWAY_MODEL'] + '/model.ckpt', 'w').write('m')"})
    world.store.down_for = {"model.ckpt"}
    assert job.run(world.container()) == 4
    assert world.status.exit_code == 0
    assert "model.ckpt" in (world.status.error or "")
    assert sink.outcome is not None
    assert (sink.outcome.state, sink.outcome.model_uri) == ("failed", None)


def test_an_output_that_cannot_be_read_does_not_hide_the_exit_code_of_training(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    def unreadable(name: str, path: Path) -> bool:
        raise PermissionError(13, "Permission denied", str(path))

    monkeypatch.setattr(world.store, "upload", unreadable)
    world.submit({"train.py": "open('out.txt', 'w').write('x'); raise SystemExit(7)"})
    assert job.run(world.container()) == 7
    assert any("Permission denied" in warning for warning in world.status.warnings)


def test_checkpoints_are_uploaded_while_training_runs(world: World) -> None:
    code = (
        "import os, pathlib, time\n"
        "folder = pathlib.Path(os.environ['HEADWAY_CHECKPOINTS'])\n"
        "(folder / 'last.ckpt').write_text('one')\n"
        "while not (folder / 'go').exists(): time.sleep(0.02)\n"
    )
    world.submit({"train.py": code})
    seen: list[bool] = []

    def watch() -> None:
        deadline = time.monotonic() + 10
        while "last.ckpt" not in world.objects("checkpoints/") and time.monotonic() < deadline:
            time.sleep(0.02)
        seen.append("last.ckpt" in world.objects("checkpoints/"))
        (world.folders.checkpoints / "go").write_text("")

    watcher = threading.Thread(target=watch)
    watcher.start()
    assert job.run(world.container()) == 0
    watcher.join()
    assert seen == [True]


def test_a_restarted_run_is_given_its_newest_checkpoint(world: World) -> None:
    world.store.write(f"headway/runs/{RUN}/checkpoints/last.ckpt", b"epoch 3")
    world.submit(
        {"train.py": "import os; open('seen', 'w').write(open(os.environ['HEADWAY_RESUME']).read())"}
    )
    assert job.run(world.container()) == 0
    assert world.objects("outputs/") == {"seen": b"epoch 3"}


WAITS = """
import pathlib, signal, sys, time
def stop(*_):
    pathlib.Path("stopped").write_text("by SIGTERM")
    sys.exit(3)
signal.signal(signal.SIGTERM, stop)
pathlib.Path("ready").write_text("")
time.sleep(60)
"""


def _signal_when_ready(world: World) -> threading.Thread:
    def send() -> None:
        deadline = time.monotonic() + 10
        while not (world.folders.code / "ready").exists() and time.monotonic() < deadline:
            time.sleep(0.02)
        os.kill(os.getpid(), signal.SIGTERM)

    thread = threading.Thread(target=send)
    thread.start()
    return thread


def test_sigterm_reaches_training_which_may_end_by_itself(world: World, sink: MemorySink) -> None:
    world.submit({"train.py": WAITS})
    sender = _signal_when_ready(world)
    assert job.run(world.container()) == 3
    sender.join()
    assert world.objects("outputs/")["stopped"] == b"by SIGTERM"
    assert sink.outcome is not None
    assert sink.outcome.state == "killed"


def test_training_ends_its_own_workers_on_sigterm(world: World) -> None:
    code = (
        "import pathlib, signal, subprocess, sys, time\n"
        "worker = subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(60)'])\n"
        "def stop(*_):\n"
        "    time.sleep(0.3)\n"
        "    pathlib.Path('worker').write_text('alive' if worker.poll() is None else 'dead')\n"
        "    sys.exit(3)\n"
        "signal.signal(signal.SIGTERM, stop)\n"
        "pathlib.Path('ready').write_text('')\n"
        "time.sleep(60)\n"
    )
    world.submit({"train.py": code})
    sender = _signal_when_ready(world)
    assert job.run(world.container()) == 3
    sender.join()
    assert world.objects("outputs/")["worker"] == b"alive"


def test_training_that_ignores_sigterm_is_killed_with_all_its_processes(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(process.TrainingProcess.stop, "__defaults__", (0.3,))
    code = (
        "import os, pathlib, signal, subprocess, sys, time\n"
        "signal.signal(signal.SIGTERM, signal.SIG_IGN)\n"
        "child = subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(60)'])\n"
        "pathlib.Path('child').write_text(str(child.pid))\n"
        "pathlib.Path('ready').write_text('')\n"
        "time.sleep(60)\n"
    )
    world.submit({"train.py": code})
    sender = _signal_when_ready(world)
    started = time.monotonic()
    assert job.run(world.container()) == 137
    sender.join()
    assert time.monotonic() - started < 15
    child = int((world.folders.code / "child").read_text())
    deadline = time.monotonic() + 5
    while _lives(child) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not _lives(child)


def test_a_signal_before_training_ends_the_run_at_once(
    world: World, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    pin = put_folder(world.store, "data", {str(number): "x" * number for number in range(50)})
    stream = world.store.stream

    def slow(name: str) -> Iterator[bytes]:
        os.kill(os.getpid(), signal.SIGTERM)
        time.sleep(0.2)
        return stream(name)

    monkeypatch.setattr(world.store, "stream", slow)
    world.submit({"train.py": "open('trained', 'w')"}, data=[pin])
    started = time.monotonic()
    assert job.run(world.container()) == 143
    assert time.monotonic() - started < 5
    assert "stopped by SIGTERM before training began" in capfd.readouterr().err
    assert world.status.phase == "done"
    assert not (world.folders.code / "trained").exists()


@pytest.mark.parametrize("files", [{"train.py": ""}, {}])
def test_a_signal_at_the_very_end_does_not_keep_the_last_status_from_being_written(
    world: World, monkeypatch: pytest.MonkeyPatch, files: dict[str, str]
) -> None:
    write = Heartbeat._write_last

    def signalled(heartbeat: Heartbeat) -> None:
        os.kill(os.getpid(), signal.SIGTERM)
        write(heartbeat)

    monkeypatch.setattr(Heartbeat, "_write_last", signalled)
    world.submit(files)
    code = job.run(world.container())
    assert (code, world.status.phase) == (0 if files else 2, "done")


def _lives(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


def test_only_the_chief_writes_to_the_bucket(world: World, sink: MemorySink) -> None:
    world.submit({"train.py": "open('x', 'w').write('1'); import os; assert os.environ['NODE_RANK'] == '1'"})
    before = dict(world.store.objects)
    cluster = {"workerpool0": ["a:2222"], "workerpool1": ["b:2222"]}
    spec = json.dumps({"cluster": cluster, "task": {"type": "workerpool1", "index": 0}})
    assert job.run(world.container(CLUSTER_SPEC=spec)) == 0
    assert world.store.objects == before
    assert sink.outcome is None


def test_samples_of_the_machine_are_spooled(world: World) -> None:
    world.submit({"train.py": "import time; time.sleep(1.5)"})
    assert job.run(world.container()) == 0
    kinds = {event["kind"] for event in SpoolReader(world.folders.spool).read()}
    assert kinds == {"system"}
