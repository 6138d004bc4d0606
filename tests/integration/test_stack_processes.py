"""The real stack with no engine: three servers on loopback, through the command as a user runs it."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.request import Request, urlopen

import psutil
import pytest

UP_SECONDS = 120
NO_ENGINE = {"HEADWAY_NO_ENGINE": "1", "HEADWAY_REQUIRE_DOCKER": "0"}
"""Where the suite as a whole requires an engine, these tests do not."""


@dataclass(frozen=True)
class Command:
    """`launch local` over a state folder of its own."""

    state: Path

    @property
    def environment(self) -> dict[str, str]:
        return {**os.environ, "HEADWAY_STATE": str(self.state), **NO_ENGINE}

    def __call__(self, *words: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-m", "headway_launcher", "local", *words],
            capture_output=True,
            text=True,
            timeout=UP_SECONDS,
            check=False,
            env=self.environment,
        )

    def start(self, *words: str) -> subprocess.Popen[str]:
        return subprocess.Popen(
            [sys.executable, "-m", "headway_launcher", "local", *words],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env=self.environment,
        )

    def up(self) -> Any:
        done = self("up", "--json")
        assert done.returncode == 0, done.stdout + done.stderr
        return json.loads(done.stdout)

    def servers(self) -> list[psutil.Process]:
        """Every process that works in the state folder, whoever started it."""
        return [p for p in psutil.process_iter() if str(self.state) in " ".join(_words(p))]


@pytest.fixture(scope="module")
def local(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Command]:
    command = Command(tmp_path_factory.mktemp("state"))
    yield command
    command("down")
    assert command.servers() == []


def test_up_prints_one_document_and_says_that_jobs_are_processes(local: Command) -> None:
    done = local("up", "--json")

    assert done.returncode == 0, done.stderr
    document = json.loads(done.stdout)
    assert document == json.loads((local.state / "local" / "stack.json").read_text())
    assert document["executor"] == "process"
    assert [server["name"] for server in document["servers"]] == ["storage", "emulator", "mlflow"]


def test_up_again_changes_nothing(local: Command) -> None:
    assert local.up() == local.up()


def test_the_servers_listen_on_loopback_only(local: Command) -> None:
    local.up()
    addresses = {
        connection.laddr.ip
        for process in local.servers()
        for connection in process.net_connections(kind="tcp")
        if connection.status == psutil.CONN_LISTEN
    }
    assert addresses == {"127.0.0.1"}


def test_the_bucket_is_there_and_keeps_objects_large_ones_too(local: Command) -> None:
    os.environ["STORAGE_EMULATOR_HOST"] = local.up()["emulator_url"]
    try:
        from google.cloud import storage

        bucket = storage.Client(project="headway-local").get_bucket("headway-local")
        assert bucket.location == "US-CENTRAL1"
        large = bucket.blob("large", chunk_size=2**20)  # resumable: its session's URL must lead back here
        large.upload_from_string(b"x" * (3 * 2**20))
        assert large.download_as_bytes() == b"x" * (3 * 2**20)
    finally:
        del os.environ["STORAGE_EMULATOR_HOST"]


def test_mlflow_keeps_artifacts_in_the_bucket(local: Command) -> None:
    stack = local.up()
    address = f"{stack['mlflow_url']}/api/2.0/mlflow-artifacts/artifacts/1/run/note.txt"
    request = Request(address, b"written through the server", method="PUT")
    with urlopen(request, timeout=60) as answer:
        assert answer.status == 200

    stored = f"{stack['emulator_url']}/storage/v1/b/headway-local/o/mlflow%2F1%2Frun%2Fnote.txt?alt=media"
    with urlopen(stored, timeout=10) as answer:
        assert answer.read() == b"written through the server"


def test_the_doctor_finds_all_well_within_five_seconds(local: Command, tmp_path: Path) -> None:
    local.up()
    (tmp_path / "train.py").write_text("print('hello')\n")
    (tmp_path / "requirements.txt").write_text("torch\n")
    (tmp_path / "config.yaml").write_text("name: hello\nentrypoint: train.py\nresources: {gpu: a100}\n")
    words = [sys.executable, "-m", "headway_launcher", "doctor", "--local", "--json", str(tmp_path)]

    began = time.monotonic()
    done = subprocess.run(
        words, capture_output=True, text=True, timeout=30, check=False, env=local.environment
    )
    took = time.monotonic() - began

    assert done.returncode == 0, done.stdout + done.stderr
    states = {row["check"]: row["state"] for row in json.loads(done.stdout)["checks"]}
    del states["engine"]  # a warning where none answers: the stack runs jobs as processes
    assert set(states.values()) == {"ok"}, done.stdout
    assert took < 5


def test_a_crashed_server_is_named_and_started_again_alone(local: Command) -> None:
    before = {server["name"]: server for server in local.up()["servers"]}
    worker = psutil.Process(before["mlflow"]["pid"]).children()[0]
    worker.kill()
    psutil.wait_procs([worker], timeout=5)
    time.sleep(0.5)

    status = local("status")
    assert status.returncode == 3
    assert "launch local up starts what is not running" in status.stderr

    after = {server["name"]: server for server in local.up()["servers"]}
    assert after["mlflow"]["port"] == before["mlflow"]["port"]
    assert after["mlflow"]["pid"] != before["mlflow"]["pid"]
    assert after["emulator"] == before["emulator"]
    assert local("status").returncode == 0


def test_two_ups_at_once_make_one_stack(local: Command) -> None:
    local("down")
    documents = []
    for process in [local.start("up", "--json"), local.start("up", "--json")]:
        out, err = process.communicate(timeout=UP_SECONDS)
        assert process.returncode == 0, err
        documents.append(json.loads(out))
    assert documents[0] == documents[1]
    assert len([p for p in local.servers() if "headway_emulator.main" in _words(p)]) == 1


@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGTERM])
def test_an_up_that_is_stopped_leaves_nothing_behind(tmp_path: Path, how: signal.Signals) -> None:
    command = Command(tmp_path)
    process = command.start("up")
    deadline = time.monotonic() + 30
    while len(command.servers()) < 2 and time.monotonic() < deadline:
        time.sleep(0.02)

    process.send_signal(how)
    process.communicate(timeout=30)
    assert process.returncode == 128 + how
    assert command.servers() == []
    assert not list(tmp_path.glob("local/st*.json"))


def test_down_keeps_the_data_and_the_addresses(local: Command) -> None:
    before = local.up()
    address = f"{before['emulator_url']}/upload/storage/v1/b/headway-local/o?uploadType=media&name=kept"
    with urlopen(Request(address, b"kept", method="POST"), timeout=10) as answer:
        assert answer.status == 200
    assert local("down").returncode == 0
    assert local.servers() == []

    after = local.up()
    assert after["emulator_url"] == before["emulator_url"]
    assert after["mlflow_url"] == before["mlflow_url"]
    kept = f"{after['emulator_url']}/storage/v1/b/headway-local/o/kept?alt=media"
    with urlopen(kept, timeout=10) as answer:
        assert answer.read() == b"kept"


def test_reset_asks_first_and_then_deletes_all(local: Command) -> None:
    local.up()
    refused = subprocess.run(
        [sys.executable, "-m", "headway_launcher", "local", "reset"],
        input="n\n",
        capture_output=True,
        text=True,
        check=False,
        env=local.environment,
    )
    assert refused.returncode == 130
    assert (local.state / "local" / "stack.json").exists()

    assert local("reset", "--yes").returncode == 0
    assert not (local.state / "local").exists()
    assert local.servers() == []


def _words(process: psutil.Process) -> list[str]:
    try:
        return process.cmdline()
    except psutil.Error:
        return []
