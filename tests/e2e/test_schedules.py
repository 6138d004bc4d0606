"""A schedule as a user has one: created, run, skipped, run on new data; Google's tools see and drive it."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import requests

from tests.e2e.conftest import Launcher

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A project with data of its own, whose script needs no package."""
    folder = tmp_path_factory.mktemp("scheduled") / "rain"
    folder.mkdir()
    (folder / "requirements.txt").write_text("six==1.17.0\n")
    (folder / "train.py").write_text("print(sum(map(int, open('days.csv').read().split())))\n")
    (folder / "config.yaml").write_text(
        "name: rain\nentrypoint: train.py\ndata: [days.csv]\nlimits: {timeout: 10m}\n"
        'schedule: {cron: "0 3 1 1 *", tz: Europe/Zurich}\n'
    )
    dvc(folder, "init", "--no-scm")
    return folder


def dvc(folder: Path, *words: str) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "dvc", *words, "-q"], cwd=folder, capture_output=True, text=True, timeout=120
    )
    assert done.returncode == 0, done.stderr


def push(launch: Launcher, project: Path, days: str) -> None:
    (project / "days.csv").write_text(days)
    dvc(project, "add", "days.csv")
    done = launch("data", "push", "--local", str(project / "config.yaml"))
    assert done.returncode == 0, done.stderr


@pytest.fixture(scope="module")
def created(launch_without_engine: Launcher, project: Path) -> Iterator[Launcher]:
    launch = launch_without_engine
    push(launch, project, "1 2 3")
    document = launch.json("schedule", "create", "--local", str(project / "config.yaml"))
    assert (document["name"], document["state"], document["last"]) == ("rain", "enabled", None)
    assert document["clock_jobs"] == ["headway-rain"]
    yield launch
    done = launch("schedule", "delete", "--local", "rain")
    assert done.returncode == 0, done.stderr


def tick(launch: Launcher) -> dict[str, Any]:
    return launch.json("schedule", "run", "--local", "rain")


def history(launch: Launcher) -> list[dict[str, Any]]:
    found: Any = launch.json("schedule", "history", "--local", "rain")
    return list(found)


def test_a_schedule_runs_once_for_each_version_of_the_data_and_says_why(
    created: Launcher, project: Path
) -> None:
    launch = created
    first = tick(launch)
    assert (first["state"], first["reason"]) == ("started", "no run of it has succeeded yet")
    assert launch.json("wait", "--local", first["run_id"])["state"] == "succeeded"
    second = tick(launch)
    assert second["state"] == "skipped"
    assert second["reason"].startswith(f"nothing changed since {first['run_id']}, which ended ")
    assert second["equal"] == ["code", "environment", "data", "config"]
    push(launch, project, "1 2 3 4")
    third = tick(launch)
    assert (third["state"], third["changed"]) == ("started", ["data"])
    assert third["reason"].startswith("new data (days.csv ")
    ended = launch.json("wait", "--local", third["run_id"])
    assert ended["state"] == "succeeded"
    assert "10" in launch("logs", "--local", third["run_id"]).stdout
    told = [(row["state"], row["run_id"], row["run_state"]) for row in history(launch)]
    assert told == [
        ("started", third["run_id"], "succeeded"),
        ("skipped", None, None),
        ("started", first["run_id"], "succeeded"),
    ]
    table = launch("schedule", "history", "--local", "rain").stdout
    assert "nothing changed since" in table
    assert launch("schedule", "list", "--local").stdout.count("rain") >= 1


def test_cloud_scheduler_s_own_client_drives_the_function(created: Launcher, project: Path) -> None:
    """Two calls of the function at most start one run; what it says is in the history."""
    launch = created
    push(launch, project, "1 2 3 4 5")
    before = len(history(launch))
    client, parent = clock(launch)
    (job,) = [job for job in client.list_jobs(parent=parent) if job.name.endswith("/headway-rain")]
    assert (job.schedule, job.time_zone) == ("0 3 1 1 *", "Europe/Zurich")
    client.run_job(name=job.name)
    newest = next_tick(launch, before)
    assert (newest["source"], newest["state"], newest["changed"]) == ("cron", "started", ["data"])
    assert launch.json("wait", "--local", newest["run_id"])["state"] == "succeeded"
    run = launch.json("status", "--local", newest["run_id"])
    assert run["name"] == "rain"


def test_a_tick_whose_image_was_deleted_says_so_and_creating_it_again_mends_it(
    created: Launcher, project: Path
) -> None:
    launch = created
    push(launch, project, "5 4 3 2 1")
    stack = json.loads((launch.state / "local" / "stack.json").read_text())
    image = launch.json("schedule", "show", "--local", "rain")["image"]
    registry, _, tag = image.rpartition(":")
    region, at, repository, package = registry.split("/", 3)
    region = region.removesuffix("-docker.pkg.dev")
    there = f"{stack['emulator_url']}/artifactregistry/v1/projects/{at}/locations/{region}"
    name = f"{there}/repositories/{repository}/packages/{package.replace('/', '%2F')}"
    digest = requests.get(f"{name}/tags/{tag}", timeout=30).json()["version"].rpartition("/")[2]
    requests.delete(f"{name}/versions/{digest}?force=true", timeout=30).raise_for_status()
    before = len(history(launch))
    client, parent = clock(launch)
    client.run_job(name=f"{parent}/jobs/headway-rain")
    failed = next_tick(launch, before)
    assert (failed["source"], failed["state"], failed["run_id"]) == ("cron", "failed", None)
    assert failed["reason"].startswith(f"the image {image} that the schedule runs with is no longer there")
    assert "create the schedule again" in failed["reason"]
    launch.json("schedule", "create", "--local", str(project / "config.yaml"))
    assert tick(launch)["state"] == "started"


def next_tick(launch: Launcher, before: int) -> dict[str, Any]:
    """The newest tick, once there is another one and it is decided."""
    deadline = time.monotonic() + 300
    while len(found := history(launch)) == before or found[0]["state"] in ("deciding", "starting"):
        assert time.monotonic() < deadline, found
        time.sleep(1)
    return found[0]


def test_new_data_starts_a_run_by_itself(created: Launcher, project: Path) -> None:
    """Cloud Scheduler looks every five minutes; here it is told to look now."""
    launch = created
    words = (str(project / "config.yaml"), "schedule.triggers.data={debounce: 1s}")
    document = launch.json("schedule", "create", "--local", *words)
    assert document["clock_jobs"] == ["headway-rain", "headway-rain-watch"]
    push(launch, project, "1 2 3 4 5 6")
    before = len(history(launch))
    time.sleep(1)
    client, parent = clock(launch)
    client.run_job(name=f"{parent}/jobs/headway-rain-watch")
    newest = next_tick(launch, before)
    assert (newest["source"], newest["state"]) == ("watch", "started")
    assert newest["reason"].startswith("new data was pushed; ")
    assert "new data (days.csv " in newest["reason"]
    assert launch.json("wait", "--local", newest["run_id"])["state"] == "succeeded"


def clock(launch: Launcher) -> tuple[Any, str]:
    from google.auth.credentials import AnonymousCredentials
    from google.cloud.scheduler_v1 import CloudSchedulerClient

    stack = json.loads((launch.state / "local" / "stack.json").read_text())
    options = {"api_endpoint": f"{stack['emulator_url']}/cloudscheduler"}
    client = CloudSchedulerClient(
        transport="rest", credentials=AnonymousCredentials(), client_options=options
    )
    return client, f"projects/{stack['project']}/locations/{stack['region']}"


def test_gcloud_lists_runs_and_pauses_it(created: Launcher) -> None:
    if shutil.which("gcloud") is None:
        pytest.skip("gcloud is not installed on this machine")
    launch = created
    stack = json.loads((launch.state / "local" / "stack.json").read_text())
    variables = {
        **os.environ,
        "CLOUDSDK_API_ENDPOINT_OVERRIDES_CLOUDSCHEDULER": f"{stack['emulator_url']}/cloudscheduler/",
        "CLOUDSDK_AUTH_DISABLE_CREDENTIALS": "true",
        "CLOUDSDK_CORE_PROJECT": stack["project"],
        "CLOUDSDK_CONFIG": str(launch.state / "gcloud"),
    }

    def gcloud(*words: str) -> str:
        done = subprocess.run(
            ["gcloud", "scheduler", "jobs", *words, "--location", stack["region"]],
            capture_output=True,
            text=True,
            timeout=120,
            env=variables,
            stdin=subprocess.DEVNULL,
        )
        assert done.returncode == 0, done.stderr
        return done.stdout

    assert "headway-rain" in gcloud("list")
    gcloud("pause", "headway-rain")
    assert launch.json("schedule", "show", "--local", "rain")["state"] == "paused"
    assert launch.json("schedule", "resume", "--local", "rain")["state"] == "enabled"
    before = len(history(launch))
    gcloud("run", "headway-rain")
    deadline = time.monotonic() + 120
    while len(history(launch)) == before:
        assert time.monotonic() < deadline
        time.sleep(1)


def test_a_schedule_is_paused_and_resumed(created: Launcher) -> None:
    assert created.json("schedule", "pause", "--local", "rain")["state"] == "paused"
    assert created.json("schedule", "resume", "--local", "rain")["state"] == "enabled"


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (
            ("--cron", "0 25 * * 1"),
            "--cron: schedule.cron: '0 25 * * 1' is no cron expression: its hour, '25', is none",
        ),
        (("--tz", "Europe/Zurch"), "did you mean Europe/Zurich?"),
        (("--overlap", "wait"), "--overlap: schedule.overlap: it should be 'skip', 'queue' or 'replace'"),
        (("schedule.triggers.drift={report: a.json}",), "schedule.triggers.drift.key is missing"),
    ],
)
def test_what_is_wrong_is_told_with_its_flag(
    launch_without_engine: Launcher, project: Path, words: tuple[str, ...], told: str
) -> None:
    for command in ("create", "simulate"):
        place = ["--local"] if command == "create" else []
        done = launch_without_engine("schedule", command, *place, str(project / "config.yaml"), *words)
        assert done.returncode == 2, done.stdout + done.stderr
        assert told in done.stderr


def test_what_is_wrong_in_the_file_is_told_with_its_line(
    launch_without_engine: Launcher, project: Path
) -> None:
    file = project / "wrong.yaml"
    text = (project / "config.yaml").read_text()
    file.write_text(text.replace("Europe/Zurich", "Mars"))
    done = launch_without_engine("schedule", "create", "--local", str(file))
    assert done.returncode == 2
    assert f"{file}:5:" in done.stderr
    assert "there is no time zone 'Mars'" in done.stderr


def test_a_schedule_that_is_not_there_is_told(launch_without_engine: Launcher) -> None:
    for verb in ("show", "pause", "resume", "run", "history", "delete"):
        done = launch_without_engine("schedule", verb, "--local", "snow")
        assert done.returncode == 4
        assert "there is no schedule snow" in done.stderr
        assert "launch schedule list --local" in done.stderr
