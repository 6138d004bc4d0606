"""The emulator and moto's server as processes of the benchmark's own: started with a stopwatch, and ended."""

from __future__ import annotations

import http.client
import os
import socket
import subprocess
import sys
import time
import venv
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from benchmarks.place import ROOT

START_SECONDS = 30.0
STOP_SECONDS = 10.0
INSTALL_SECONDS = 600.0
MOTO = ("moto[server]==5.2.5", "werkzeug==3.1.9", "flask==3.1.3")
"""Not a dependency of Headway: it is installed into a folder of its own, once."""
MB = 1e6


@dataclass
class Server:
    """One that answers; `started` are the seconds from its start to its first answer to `GET /`."""

    process: subprocess.Popen[bytes]
    port: int
    started: float

    def call(self, message: bytes) -> tuple[int, bytes]:
        """Status and body of one request, as `load.request` writes it."""
        with socket.create_connection(("127.0.0.1", self.port), timeout=60) as connection:
            connection.sendall(message)
            answer = http.client.HTTPResponse(connection)
            answer.begin()
            return answer.status, answer.read()

    def resident(self) -> float:
        """MB in memory now."""
        return self._status("VmRSS")

    def peak(self) -> float:
        """MB in memory at most, so far."""
        return self._status("VmHWM")

    def _status(self, name: str) -> float:
        text = Path(f"/proc/{self.process.pid}/status").read_text(encoding="ascii")
        line = next(line for line in text.splitlines() if line.startswith(f"{name}:"))
        return int(line.split()[1]) * 1024 / MB


@contextmanager
def emulator(
    state: Path, executor: str = "process", *, settings: str = "", network: str = ""
) -> Iterator[Server]:
    """On a state folder that outlives it; `settings` is the text of its emulator.toml."""
    state.mkdir(parents=True, exist_ok=True)
    (state / "emulator.toml").write_text(settings, encoding="utf-8")
    words = [sys.executable, "-m", "headway_emulator.main", "serve", "--config", str(state / "emulator.toml")]
    words += ["--state", str(state), "--executor", executor, "--grace", "5", "--end-with-stdin"]
    words += ["--network", network] if network else []
    with _served(words, state / "emulator.log") as server:
        yield server


@contextmanager
def moto(folder: Path) -> Iterator[Server]:
    """moto's own server, which keeps everything in memory."""
    folder.mkdir(parents=True, exist_ok=True)
    with _served([str(_moto()), "-H", "127.0.0.1"], folder / "moto.log") as server:
        yield server


@contextmanager
def _served(words: Sequence[str], log: Path) -> Iterator[Server]:
    port = _free_port()
    with log.open("ab") as output:
        began = time.perf_counter()
        process = subprocess.Popen(
            [*words, "--port", str(port)], stdin=subprocess.PIPE, stdout=output, stderr=output
        )
    try:
        _answers(process, port, log)
        yield Server(process, port, time.perf_counter() - began)
    finally:
        process.terminate()
        try:
            process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait(STOP_SECONDS)
        if process.stdin is not None:
            process.stdin.close()


def _answers(process: subprocess.Popen[bytes], port: int, log: Path) -> None:
    """Wait for the first answer, whatever it is."""
    deadline = time.monotonic() + START_SECONDS
    while time.monotonic() < deadline:
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=START_SECONDS)
        try:
            connection.request("GET", "/")
            connection.getresponse().read()
        except ConnectionRefusedError:
            if process.poll() is not None:
                raise RuntimeError(f"the server ended: {log.read_text(errors='replace')}") from None
            time.sleep(0.002)
        else:
            return
        finally:
            connection.close()
    raise RuntimeError(f"the server did not answer within {START_SECONDS:g} s; its log is {log}")


def _free_port() -> int:
    with socket.socket() as held:
        held.bind(("127.0.0.1", 0))
        return int(held.getsockname()[1])


def _moto() -> Path:
    """The command, installed where it is missing or of another version."""
    folder = ROOT / ".cache" / "moto"
    program, note = folder / "bin" / "moto_server", folder / "installed"
    wanted = " ".join(MOTO)
    if not note.is_file() or note.read_text(encoding="utf-8") != wanted:
        print(f"installing {MOTO[0]} into {folder} ...", file=sys.stderr, flush=True)
        venv.create(folder, clear=True, with_pip=True)
        install = [str(folder / "bin" / "python"), "-m", "pip", "install", "--quiet", *MOTO]
        environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
        subprocess.run(install, env=environment, timeout=INSTALL_SECONDS, check=True)
        note.write_text(wanted, encoding="utf-8")
    return program
