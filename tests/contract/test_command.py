"""The command `headway-emulator` with flags alone: what it says and how it ends where it cannot start."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest
import requests

from tests.contract.servers import Emulator, StorageServer


def emulator_says(*words: str, **env: str) -> tuple[int, str]:
    done = subprocess.run(
        [sys.executable, "-m", "headway_emulator.main", "--storage-url", "http://127.0.0.1:9", *words],
        env={**os.environ, **env},
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )
    assert "Traceback" not in done.stderr, done.stderr
    return done.returncode, done.stderr


def test_a_taken_port_is_named(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        code, text = emulator_says("--state", str(tmp_path), "--port", port, "--executor", "process")
    assert code == 3
    assert f"cannot listen on 127.0.0.1:{port}: Address already in use" in text
    assert "Choose another --port" in text


def test_a_missing_engine_is_said_with_the_way_out(tmp_path: Path) -> None:
    words = ("--state", str(tmp_path), "--executor", "docker")
    code, text = emulator_says(*words, DOCKER_HOST=f"unix://{tmp_path}/none.sock")
    assert code == 3
    assert "No Docker engine answers" in text
    assert "--executor process" in text


def test_a_state_that_is_no_folder_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    code, text = emulator_says("--state", str(tmp_path / "file"), "--executor", "process")
    assert code == 3
    assert f"The state folder {tmp_path}/file cannot be used" in text


def test_a_state_that_is_damaged_is_named(tmp_path: Path) -> None:
    (tmp_path / "state.sqlite3").write_bytes(b"no database" * 100)
    code, text = emulator_says("--state", str(tmp_path), "--executor", "process")
    assert code == 3
    assert f"The state folder {tmp_path} cannot be used: file is not a database" in text


def test_a_bad_flag_is_a_usage_error(tmp_path: Path) -> None:
    assert emulator_says("--state", str(tmp_path), "--executor", "magic")[0] == 2


def test_two_emulators_do_not_share_a_state(emulator: Emulator) -> None:
    code, text = emulator_says("--state", str(emulator.state), "--executor", "process")
    assert code == 3
    assert "Another emulator runs on the state folder" in text


@pytest.mark.skipif(not Path("/proc").exists(), reason="127.0.0.2 is an address of Linux")
def test_several_hosts_share_one_port_and_the_last_is_the_public_one(
    storage_server: StorageServer, tmp_path: Path
) -> None:
    hosts = ("127.0.0.1", "127.0.0.2")
    emulator = Emulator(tmp_path / "state", storage_server.url, hosts=hosts)
    emulator.start()
    try:
        assert emulator.url == f"http://127.0.0.2:{emulator.port}"
        pids = {requests.get(f"http://{host}:{emulator.port}", timeout=5).json()["pid"] for host in hosts}
        assert len(pids) == 1
        assert f"headway-emulator: {emulator.url} (project headway-local)" in emulator.log
    finally:
        assert emulator.stop() == 0
