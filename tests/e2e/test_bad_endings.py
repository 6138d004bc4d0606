"""What a person sees when a job goes wrong, and when they press Ctrl-C."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from pathlib import Path

import pytest

from tests.e2e.conftest import Launcher, wheels

pytestmark = [pytest.mark.docker, pytest.mark.slow]


def edit(project: Path, script: str) -> str:
    (project / "train.py").write_text(script)
    return str(project / "config.yaml")


def read_until(process: subprocess.Popen[str], text: str, deadline: float = 300) -> str:
    """The output up to the line that holds `text`."""
    assert process.stdout is not None
    seen, end = "", time.monotonic() + deadline
    while time.monotonic() < end:
        line = process.stdout.readline()
        seen += line
        if text in line:
            return seen
        if not line:
            break
    raise AssertionError(f"{text!r} never came:\n{seen}")


def press_ctrl_c(process: subprocess.Popen[str]) -> tuple[int, str]:
    """The exit code, and what was said after it."""
    os.killpg(process.pid, signal.SIGINT)
    out, _ = process.communicate(timeout=60)
    return process.returncode, out


def test_an_entrypoint_that_raises_shows_its_traceback_and_keeps_its_exit_code(
    launch: Launcher, tiny: Path
) -> None:
    config = edit(
        tiny, "import sys\nprint('started')\n\ndef lose():\n    raise ValueError('no luck')\n\nlose()\n"
    )
    done = launch("submit", "--local", config, *wheels())
    out = done.stdout + done.stderr
    assert done.returncode == 1, out
    assert out.index("Traceback (most recent call last)") < out.index("ValueError: no luck")
    assert 'train.py", line 5, in lose' in out
    assert "headway_launcher" not in out
    run_id = next(word for word in out.split() if word.startswith("tiny-")).rstrip(":")
    assert launch.json("status", "--local", run_id)["exit_code"] == 1


def test_the_exit_code_of_the_script_is_kept(launch: Launcher, tiny: Path) -> None:
    config = edit(tiny, "raise SystemExit(7)\n")
    view = launch.json("submit", "--local", config, *wheels(), code=1)
    assert (view["state"], view["exit_code"]) == ("failed", 7)


def test_ctrl_c_while_the_job_runs_says_that_it_goes_on_and_how_to_stop_it(
    launch: Launcher, tiny: Path
) -> None:
    config = edit(tiny, "import time\nprint('training', flush=True)\ntime.sleep(300)\n")
    process = launch.start("submit", "--local", config, *wheels())
    seen = read_until(process, "training")
    code, said = press_ctrl_c(process)
    assert code == 130
    run_id = next(word for word in seen.split() if word.startswith("tiny-")).rstrip(":")
    assert "goes on" in said
    assert f"launch cancel --local {run_id}" in said
    assert launch.json("status", "--local", run_id)["state"] == "running"

    cancelled = launch("cancel", "--local", run_id)
    assert cancelled.returncode == 0, cancelled.stderr
    ended = launch.json("wait", "--local", run_id, code=1)
    assert ended["state"] == "cancelled"


def test_the_training_is_told_of_a_cancel_and_may_save_its_work(launch: Launcher, tiny: Path) -> None:
    config = edit(
        tiny,
        "import os, pathlib, signal, sys, time\n"
        "def leave(*_):\n"
        "    pathlib.Path(os.environ['HEADWAY_OUTPUTS'], 'saved.txt').write_text('saved')\n"
        "    sys.exit(0)\n"
        "signal.signal(signal.SIGTERM, leave)\n"
        "print('training', flush=True)\n"
        "time.sleep(300)\n",
    )
    process = launch.start("submit", "--local", config, *wheels())
    seen = read_until(process, "training")
    press_ctrl_c(process)
    run_id = next(word for word in seen.split() if word.startswith("tiny-")).rstrip(":")
    assert launch("cancel", "--local", run_id).returncode == 0
    assert launch.json("wait", "--local", run_id, code=1)["state"] == "cancelled"
    pulled = launch("pull", "--local", run_id, str(tiny / "pulled"))
    assert pulled.returncode == 0, pulled.stderr
    assert (tiny / "pulled" / "outputs" / "saved.txt").read_text() == "saved"


def test_a_timeout_ends_the_job(launch: Launcher, tiny: Path) -> None:
    config = edit(tiny, "import time\ntime.sleep(300)\n")
    view = launch.json("submit", "--local", config, *wheels(), "limits.timeout=8s", code=1)
    assert view["state"] in ("failed", "cancelled", "expired")
    assert "timeout" in view["error"].lower() or "deadline" in view["error"].lower()


def test_a_lockfile_that_cannot_be_installed_shows_the_end_of_the_build_log(
    launch: Launcher, tiny: Path
) -> None:
    (tiny / "requirements.txt").write_text("this-package-does-not-exist==0.0.1\n")
    done = launch("submit", "--local", str(tiny / "config.yaml"), *wheels())
    assert done.returncode == 5
    assert "this-package-does-not-exist" in done.stderr
    assert "→" in done.stderr


def test_a_base_image_that_is_not_there_is_named(launch: Launcher, tiny: Path) -> None:
    done = launch(
        "submit", "--local", str(tiny / "config.yaml"), *wheels(), "environment.base=no-such-base:1"
    )
    assert done.returncode == 5
    assert "no-such-base:1" in done.stderr


def test_a_tracking_server_that_is_down_does_not_fail_the_run(launch: Launcher, tiny: Path) -> None:
    import json

    import psutil

    config = edit(tiny, "print('trained without tracking')\n")
    stack = json.loads((launch.state / "local" / "stack.json").read_text())
    server = next(row for row in stack["servers"] if row["name"] == "mlflow")
    parent = psutil.Process(server["pid"])
    for process in [*parent.children(recursive=True), parent]:
        process.kill()
    try:
        status = launch("local", "status")
        assert "mlflow" in status.stdout
        assert "crashed" in status.stdout
        view = launch.json("submit", "--local", config, *wheels(), "args.x=1")
        assert view["state"] == "succeeded"
        assert view["warnings"]
    finally:
        up = launch("local", "up")
        assert up.returncode == 0, up.stderr


def test_ctrl_c_during_the_image_build_says_that_it_goes_on_and_how_to_stop_it(
    launch: Launcher, tiny: Path
) -> None:
    lockfile = tiny / "requirements.txt"
    lockfile.write_text(lockfile.read_text() + f"# {time.time()}\n")  # an image of its own
    process = launch.start("submit", "--local", str(tiny / "config.yaml"), *wheels())
    read_until(process, "pip install")
    code, said = press_ctrl_c(process)
    assert code == 130
    assert "goes on" in said
    build = said.split("launch cancel --local --build ")[1].split()[0]
    stopped = launch("cancel", "--local", "--build", build)
    assert stopped.returncode == 0, stopped.stderr


def test_ctrl_c_before_anything_is_sent_says_so(launch: Launcher, tiny: Path) -> None:
    process = launch.start("submit", "--local", str(tiny / "config.yaml"), *wheels())
    time.sleep(0.25)
    code, said = press_ctrl_c(process)
    assert code == 130
    assert "Traceback" not in said
