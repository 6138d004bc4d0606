"""The commands as a user types them: words in, output and exit code out; `headway.jobs` is a stand-in."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from headway import jobs
from headway.config import profile
from headway.errors import BuildFailed, ConfigError, Interrupted
from headway.jobs.schedules import ScheduleView
from headway_launcher.main import run
from headway_launcher.stack import lifecycle

from . import fake_jobs
from .fake_jobs import FAILED, FakeJobs, FakeRun, view

Capture = pytest.CaptureFixture[str]


@pytest.fixture
def fake(monkeypatch: pytest.MonkeyPatch) -> FakeJobs:
    fake = FakeJobs()
    for name in ("check", "submit", "runs", "attach", "cancel_build"):
        monkeypatch.setattr(jobs, name, getattr(fake, name))
    monkeypatch.setattr(profile, "find_place", fake_jobs.place)
    return fake


def printed(capsys: Capture) -> Any:
    return json.loads(capsys.readouterr().out)


def test_submit_follows_the_log_and_ends_with_the_table(fake: FakeJobs, capsys: Capture) -> None:
    assert run(["submit", "--local"]) == 0

    out, err = capsys.readouterr()
    assert err == "image: reuse trainer:abc\n"
    lines = out.splitlines()
    assert lines[:2] == ["epoch 0", "epoch 1"]
    table = dict(line.split(maxsplit=1) for line in lines[2:])
    assert table["state"] == "succeeded"
    assert table["test_acc"] == "0.975"
    assert table["MLflow"] == "http://mlflow/run"
    assert table["checkpoint"] == "gs://b/last.ckpt"
    assert table["duration"] == "0:01:23"
    assert "system/cpu" not in table
    assert "\x1b" not in out


def test_submit_hands_over_config_overrides_and_flags(fake: FakeJobs) -> None:
    words = "submit jobs/big.yaml args.lr=0.01 name=x --gpu a100:4 --spot --nodes 2 --region a --region b"
    run([*words.split(), "--timeout", "2h", "--again", "--local", "--detach"])

    (_, given), *_ = fake.calls
    assert given["config"] == Path("jobs/big.yaml")
    assert given["overrides"] == ["args.lr=0.01", "name=x"]
    assert given["again"] is True
    assert given["flags"] == {
        "resources.gpu": "a100:4",
        "resources.spot": True,
        "resources.nodes": 2,
        "resources.regions": ["a", "b"],
        "limits.timeout": "2h",
    }


def test_regions_are_a_list_as_gpus_are(fake: FakeJobs) -> None:
    run(["submit", "--region", "us-central1, us-east4", "--region", "us-west1", "--local"])
    assert fake.calls[0][1]["flags"] == {"resources.regions": ["us-central1", "us-east4", "us-west1"]}


def test_flags_that_were_not_given_override_nothing(fake: FakeJobs) -> None:
    run(["submit", "args.lr=0.01", "--local"])

    (_, given), *_ = fake.calls
    assert given["config"] == Path("config.yaml")
    assert given["flags"] == {}


def test_no_spot_is_a_flag_of_its_own(fake: FakeJobs) -> None:
    run(["submit", "--no-spot", "--local"])
    assert fake.calls[0][1]["flags"] == {"resources.spot": False}


def test_submit_detached_returns_with_the_run_at_once(fake: FakeJobs, capsys: Capture) -> None:
    fake.run = FakeRun(view(state="pending", ended=None, metrics={}))

    assert run(["submit", "--local", "--detach"]) == 0
    out, err = capsys.readouterr()
    assert "epoch 0" not in out
    assert "follow it: launch logs -f --local digits-1a2b3c4d" in err


def test_submit_as_json_prints_one_document_and_all_else_on_stderr(fake: FakeJobs, capsys: Capture) -> None:
    assert run(["submit", "--local", "--json"]) == 0

    out, err = capsys.readouterr()
    document = json.loads(out)
    assert {"run_id", "state", "metrics", "outputs", "tracking_url"} <= document.keys()
    assert "epoch 0" in err


def test_a_run_that_failed_exits_with_1_and_shows_its_error(fake: FakeJobs, capsys: Capture) -> None:
    fake.run = FakeRun(FAILED)

    assert run(["submit", "--local"]) == 1
    out, err = capsys.readouterr()
    assert "error       ValueError: no such layer" in out
    assert "exit code   3" in out
    assert "the whole log: launch logs --local digits-1a2b3c4d" in err


def test_a_failed_run_as_json_is_still_its_document(fake: FakeJobs, capsys: Capture) -> None:
    fake.run = FakeRun(FAILED)
    assert run(["wait", "digits-1a2b3c4d", "--local", "--json"]) == 1
    assert printed(capsys)["error"] == "ValueError: no such layer"


def test_ctrl_c_while_following_says_what_goes_on_and_how_to_stop_it(fake: FakeJobs, capsys: Capture) -> None:
    fake.run = FakeRun(view(state="running"), interrupt=True)

    assert run(["submit", "--local"]) == 130
    _, err = capsys.readouterr()
    assert "interrupted: stopped following digits-1a2b3c4d; the run goes on" in err
    assert "launch logs -f --local digits-1a2b3c4d" in err
    assert "launch cancel --local digits-1a2b3c4d" in err


def test_ctrl_c_in_a_step_of_the_submit_is_told_by_the_library(fake: FakeJobs, capsys: Capture) -> None:
    fake.error = Interrupted("the image build 12 goes on", hint="to stop it: launch cancel --build 12")

    assert run(["submit", "--local"]) == 130
    assert capsys.readouterr().err == (
        "interrupted: the image build 12 goes on\n→ to stop it: launch cancel --build 12\n"
    )


def test_an_error_is_message_details_and_hint_with_its_code(fake: FakeJobs, capsys: Capture) -> None:
    fake.error = BuildFailed("the build 12 ended FAILURE", details=["no such package"], hint="its log is x")

    assert run(["submit", "--local"]) == 5
    assert capsys.readouterr().err == "error: the build 12 ended FAILURE\n  no such package\n→ its log is x\n"


def test_an_error_as_json_is_a_document(fake: FakeJobs, capsys: Capture) -> None:
    assert run(["status", "nope", "--local", "--json"]) == 4
    assert printed(capsys)["error"] == {
        "message": "there is no run nope",
        "details": [],
        "hint": "list them with: launch list",
        "exit_code": 4,
    }


def test_a_bug_is_one_line_and_a_saved_traceback(fake: FakeJobs, capsys: Capture) -> None:
    fake.error = ZeroDivisionError("division by zero")

    assert run(["submit", "--local"]) == 70
    first, hint = capsys.readouterr().err.splitlines()
    assert first == "error: a bug in headway: ZeroDivisionError: division by zero"
    saved = Path(hint.rpartition(" ")[2])
    assert "Traceback" in saved.read_text()
    saved.unlink()


def test_a_full_disk_is_no_bug(fake: FakeJobs, capsys: Capture) -> None:
    fake.error = OSError(28, "No space left on device", "/data/x")
    assert run(["submit", "--local"]) == 3
    assert capsys.readouterr().err == "error: the disk is full: /data/x\n"


def test_list_is_a_table_of_runs(fake: FakeJobs, capsys: Capture) -> None:
    assert run(["list", "--local", "-n", "5"]) == 0
    out, err = capsys.readouterr()
    header, row = out.splitlines()
    assert header.split() == ["run", "state", "created", "duration", "cost", "machine"]
    assert row.startswith("digits-1a2b3c4d  succeeded")
    assert "~$0.10" in row
    assert "an estimate in USD, by list prices of 2025-08" in err
    assert fake.calls == [("runs", {"limit": 5})]


def test_a_run_that_cannot_be_read_is_a_row_and_a_remark(fake: FakeJobs, capsys: Capture) -> None:
    fake.run.seen = view(unreadable="the plan of digits-1a2b3c4d cannot be read", cost=None)
    assert run(["list", "--local"]) == 0
    out, err = capsys.readouterr()
    assert out.splitlines()[1].startswith("digits-1a2b3c4d  succeeded")
    assert err == "digits-1a2b3c4d: the plan of digits-1a2b3c4d cannot be read\n"


def test_a_schedule_that_cannot_be_read_is_a_row_with_the_reason(
    fake: FakeJobs, capsys: Capture, monkeypatch: pytest.MonkeyPatch
) -> None:
    known: dict[str, Any] = {
        "state": "enabled",
        "clock_jobs": (),
        "function": None,
        "last": None,
        "cron": "0 3 * * 1",
    }
    due = datetime(2026, 3, 2, 3, tzinfo=UTC)
    whole = ScheduleView(name="a", tz="UTC", created=due, next=due, **known)
    odd = ScheduleView(name="b", tz="Mars/Olympus", next=due, unreadable="the schedule b cannot...", **known)
    monkeypatch.setattr("headway.jobs.schedules.schedules", lambda place: [whole, odd])
    assert run(["schedule", "list", "--local"]) == 0
    _, first, second = capsys.readouterr().out.splitlines()
    assert second.startswith("b ")
    assert "Mon 2026-03-02 03:00 UTC" in first
    assert second.endswith("the schedule b cannot...")


def test_status_tells_what_is_spent_and_what_is_left_of_the_budget(fake: FakeJobs, capsys: Capture) -> None:
    assert run(["status", "--local", "digits-1a2b3c4d"]) == 0
    spent = "$0.10 of $2.00, $1.90 left (an estimate: $4.22 an hour by prices of 2025-08)"
    assert spent in capsys.readouterr().out


def test_list_as_json_is_a_list_of_run_documents(fake: FakeJobs, capsys: Capture) -> None:
    run(["list", "--local", "--json"])
    assert [document["run_id"] for document in printed(capsys)] == ["digits-1a2b3c4d"]


def test_status_of_a_failed_run_is_no_failure_of_the_command(fake: FakeJobs, capsys: Capture) -> None:
    fake.run = FakeRun(FAILED)
    assert run(["status", "digits-1a2b3c4d", "--local"]) == 0


def test_logs_name_the_replica_where_there_are_several(fake: FakeJobs, capsys: Capture) -> None:
    fake.run = FakeRun(view(), nodes=2)
    run(["logs", "digits-1a2b3c4d", "--local"])
    assert capsys.readouterr().out == "workerpool0-0: epoch 0\nworkerpool1-0: epoch 1\n"


def test_logs_as_json_are_one_document_a_line(fake: FakeJobs, capsys: Capture) -> None:
    run(["logs", "digits-1a2b3c4d", "--local", "--json"])
    first, _ = (json.loads(line) for line in capsys.readouterr().out.splitlines())
    assert first == {
        "time": "2026-11-22T10:00:00+00:00",
        "severity": "INFO",
        "replica": "workerpool0-0",
        "text": "epoch 0",
    }


def test_wait_prints_no_log(fake: FakeJobs, capsys: Capture) -> None:
    assert run(["wait", "digits-1a2b3c4d", "--local"]) == 0
    assert "epoch 0" not in capsys.readouterr().out


def test_wait_refuses_a_timeout_that_is_none(fake: FakeJobs, capsys: Capture) -> None:
    assert run(["wait", "digits-1a2b3c4d", "--timeout", "soon"]) == 2
    assert "--timeout: 'soon' is no duration" in capsys.readouterr().err


def test_cancel_says_that_the_run_ends(fake: FakeJobs, capsys: Capture) -> None:
    fake.run.seen = view(state="running", ended=None)
    assert run(["cancel", "digits-1a2b3c4d", "--local"]) == 0
    assert fake.run.cancelled
    assert "digits-1a2b3c4d: cancelling" in capsys.readouterr().err


def test_cancel_of_a_run_without_a_job_says_that_none_will_come(
    fake: FakeJobs, capsys: Capture, monkeypatch: pytest.MonkeyPatch
) -> None:
    fake.run.seen = view(state="cancelled")
    monkeypatch.setattr(type(fake.run), "cancel", lambda self, progress: True)
    assert run(["cancel", "digits-1a2b3c4d", "--local"]) == 0
    assert "nothing of it runs, and no further job of it is created" in capsys.readouterr().err


def test_cancel_of_a_run_that_has_ended_says_so(fake: FakeJobs, capsys: Capture) -> None:
    assert run(["cancel", "digits-1a2b3c4d", "--local"]) == 0
    assert capsys.readouterr().err == "digits-1a2b3c4d had ended already: succeeded\n"


def test_cancel_takes_a_build_instead(fake: FakeJobs) -> None:
    assert run(["cancel", "--build", "12", "--local"]) == 0
    assert fake.calls == [("cancel_build", {"build_id": "12"})]


@pytest.mark.parametrize("words", [[], ["digits-1a2b3c4d", "--build", "12"]])
def test_cancel_wants_a_run_or_a_build(fake: FakeJobs, capsys: Capture, words: list[str]) -> None:
    assert run(["cancel", *words, "--local"]) == 2
    assert "say what to stop" in capsys.readouterr().err


def test_pull_names_the_files_and_the_folder(fake: FakeJobs, capsys: Capture) -> None:
    assert run(["pull", "digits-1a2b3c4d", "here", "--local"]) == 0
    assert capsys.readouterr() == ("here/model/model.ckpt\n", "1 files in here\n")


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["submit", "--gpus", "a100"], "No such option: --gpus"),
        (["sbmit"], "No such command 'sbmit'"),
        (["status"], "Missing argument 'RUN'"),
        (["submit", "config.yaml", "lr"], "'lr' is neither an option nor an override"),
        (["local", "up", "--executor", "podman"], "Invalid value for '--executor'"),
    ],
)
def test_a_wrong_command_line_exits_with_2(words: list[str], message: str, capsys: Capture) -> None:
    assert run(words) == 2
    assert message in capsys.readouterr().err


def test_a_wrong_command_line_as_json_is_a_document(capsys: Capture) -> None:
    assert run(["submit", "--gpus", "a100", "--json"]) == 2
    assert printed(capsys)["error"]["exit_code"] == 2


def test_config_schema_is_json(capsys: Capture) -> None:
    assert run(["config", "schema"]) == 0
    assert "entrypoint" in printed(capsys)["properties"]


def test_config_show_says_where_each_value_is_from(tmp_path: Path, capsys: Capture) -> None:
    config = tmp_path / "config.yaml"
    config.write_text("name: digits\nentrypoint: train.py\nargs: {lr: 0.1}\n")

    assert run(["config", "show", str(config), "args.lr=0.01", "--gpu", "l4"]) == 0
    rows = [line.split(maxsplit=2) for line in capsys.readouterr().out.splitlines()]
    assert ["args.lr", "0.01", "command line: args.lr=0.01"] in rows
    assert ["resources.gpu", "l4", "--gpu"] in rows
    assert ["name", "digits", "config.yaml:1"] in rows


def test_config_show_as_json_has_values_and_origins(tmp_path: Path, capsys: Capture) -> None:
    config = tmp_path / "config.yaml"
    config.write_text("name: digits\nentrypoint: train.py\n")

    run(["config", "show", str(config), "--json"])
    document = printed(capsys)
    assert document["config"]["name"] == "digits"
    assert document["origins"]["name"] == "config.yaml:1"


def test_version_as_json(capsys: Capture) -> None:
    assert run(["version", "--json"]) == 0
    assert printed(capsys)["version"][0].isdigit()


@pytest.mark.parametrize("words", [[], ["local"]])
def test_a_group_without_a_command_prints_its_help_and_no_error(words: list[str], capsys: Capture) -> None:
    assert run(words) == 2
    assert capsys.readouterr().err.startswith("Usage: launch")


def test_ctrl_c_while_files_are_fetched_says_what_is_kept(
    fake: FakeJobs, monkeypatch: pytest.MonkeyPatch, capsys: Capture
) -> None:
    def interrupt(_: object, folder: Path) -> list[Path]:
        raise KeyboardInterrupt

    monkeypatch.setattr(FakeRun, "pull", interrupt)
    assert run(["pull", "--local", "digits-1a2b3c4d"]) == 130
    assert capsys.readouterr().err == (
        "interrupted: stopped while files were being fetched\n→ those that are there are kept: run it again\n"
    )


@pytest.mark.parametrize("verb", ["up", "down", "reset"])
def test_ctrl_c_during_a_verb_of_the_stack_says_how_to_see_what_runs(
    verb: str, monkeypatch: pytest.MonkeyPatch, capsys: Capture
) -> None:
    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(lifecycle, verb, interrupt)
    assert run(["local", verb, *(["--yes"] if verb == "reset" else [])]) == 130
    assert "→" in capsys.readouterr().err


def test_a_config_that_is_wrong_starts_no_stack(
    fake: FakeJobs, monkeypatch: pytest.MonkeyPatch, capsys: Capture
) -> None:
    found: list[object] = []
    monkeypatch.setattr(profile, "find_place", lambda **given: found.append(given))
    fake.wrong = ConfigError("there is no key 'nmae'", file="config.yaml", line=1, column=1)
    assert run(["submit", "--local"]) == 2
    assert "config.yaml:1:1: there is no key 'nmae'" in capsys.readouterr().err
    assert found == []


def test_what_the_output_cannot_show_is_no_error(tmp_path: Path) -> None:
    (tmp_path / "config.yaml").write_text("name: a\nentrypoint: train.py\nargs: {text: h\u00e9 \u2588}\n")
    done = subprocess.run(
        [sys.executable, "-m", "headway_launcher", "config", "show"],
        cwd=tmp_path,
        env={**os.environ, "PYTHONIOENCODING": "ascii"},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert "h\\xe9 \\u2588" in done.stdout


def test_a_reader_of_the_pipe_that_goes_away_is_no_failed_run(tmp_path: Path) -> None:
    reading, writing = os.pipe()
    os.close(reading)
    try:
        done = subprocess.run(
            [sys.executable, "-m", "headway_launcher", "config", "schema"],
            cwd=tmp_path,
            stdout=writing,
            stderr=subprocess.PIPE,
            text=True,
            timeout=60,
            check=False,
        )
    finally:
        os.close(writing)
    assert (done.returncode, done.stderr) == (141, "")


def test_a_forbidden_engine_is_not_used_by_hand_either(
    monkeypatch: pytest.MonkeyPatch, capsys: Capture
) -> None:
    monkeypatch.setenv("HEADWAY_NO_ENGINE", "1")
    assert run(["local", "up", "--executor", "docker"]) == 2
    assert "HEADWAY_NO_ENGINE=1 forbids" in capsys.readouterr().err
