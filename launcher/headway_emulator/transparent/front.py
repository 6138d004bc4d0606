"""The gRPC front as a process of its own, started by the first connection that speaks gRPC.

A process, because gRPC and the clients' message classes weigh more than the whole emulator, and because
gRPC's threads and the starting of jobs' processes do not go well together. It ends with the emulator,
however that ends.
"""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
import threading
from collections.abc import Mapping

START_SECONDS = 30.0
STOP_SECONDS = 3.0


class FrontFailed(Exception):
    """The process did not start; what it wrote is in the emulator's log."""


class Front:
    """`url` is where the emulator answers; safe for many threads."""

    def __init__(self, url: str) -> None:
        self._url = url
        self._lock = threading.Lock()
        self._process: subprocess.Popen[bytes] | None = None
        self._ports: Mapping[str, int] = {}
        self._closed = False

    async def port(self, prefix: str) -> int:
        """The loopback port for the service below `prefix`; FrontFailed where there is no front."""
        if not self._answers():
            await asyncio.to_thread(self._ensure)
        return self._ports.get(prefix, self._ports[""])

    def close(self) -> None:
        """End the process and wait for it."""
        process, self._closed = self._process, True
        if process is None:
            return
        process.terminate()
        try:
            process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        for pipe in (process.stdin, process.stdout):
            if pipe is not None:
                pipe.close()

    def _ensure(self) -> None:
        with self._lock:
            if self._closed:
                raise FrontFailed("The emulator is stopping.")
            if not self._answers():
                self._start()

    def _answers(self) -> bool:
        return bool(self._ports) and self._process is not None and self._process.poll() is None

    def _start(self) -> None:
        # -P: what lies in the folder that the emulator was started in shadows no module
        words = [sys.executable, "-P", "-m", "headway_emulator.transparent.grpc_front", "--url", self._url]
        self._ports = {}
        self._process = subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        stuck = threading.Timer(START_SECONDS, self._process.kill)
        stuck.start()
        assert self._process.stdout is not None
        line = self._process.stdout.readline()  # its ports, or nothing where it ended
        stuck.cancel()
        if not line:
            code = self._process.wait(STOP_SECONDS)
            raise FrontFailed(f"The gRPC front ended with exit code {code}: see the emulator's log.")
        self._ports = json.loads(line)
