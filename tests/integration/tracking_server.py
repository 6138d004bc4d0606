"""A real MLflow server on loopback: SQLite, artifacts in a folder, ended with the test."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import requests

START_S = 60.0


class TrackingServer:
    """`mlflow server` as a child in a process group of its own."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            port = probe.getsockname()[1]
        self.uri = f"http://127.0.0.1:{port}"
        self._log = folder / "server.log"
        words = ["--backend-store-uri", f"sqlite:///{folder}/mlflow.db", "--workers", "1"]
        words += ["--artifacts-destination", str(folder / "artifacts"), "--host", "127.0.0.1"]
        with self._log.open("w") as log:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "mlflow", "server", *words, "--port", str(port)],
                cwd=folder,
                env={**os.environ, "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false"},
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )

    def wait_until_it_answers(self) -> None:
        deadline = time.monotonic() + START_S
        while time.monotonic() < deadline:
            if self._process.poll() is not None:
                break
            try:
                if requests.get(f"{self.uri}/health", timeout=2).ok:
                    return
            except requests.RequestException:
                time.sleep(0.2)
        raise AssertionError(f"no MLflow server:\n{self._log.read_text()}")

    def freeze(self) -> None:
        """It accepts connections and answers none."""
        os.killpg(self._process.pid, signal.SIGSTOP)

    def end(self) -> None:
        if self._process.poll() is None:
            os.killpg(self._process.pid, signal.SIGKILL)
            self._process.wait(10)
