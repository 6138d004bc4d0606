"""A function's process: the functions framework over its unpacked source, with the emulator's own Python."""

from __future__ import annotations

import contextlib
import subprocess
import sys
import threading
import time
from collections import deque
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import IO, Literal

import psutil

from headway_emulator.engine.executors.process_groups import ProcessGroup
from headway_emulator.engine.functions.log import FunctionLog
from headway_emulator.engine.store import Store

HOST = "127.0.0.1"
START_SECONDS = 60.0
"""Until it listens; Google waits four minutes."""
LOOK_SECONDS = 0.03
DRAIN_SECONDS = 2.0
END_SECONDS = 5.0
KEPT_LINES = 40


class NotStarted(Exception):
    """It ended before it listened, or did not listen in time; the message has the last line that it wrote."""


class Instance:
    """One process group, from its start to its end; callers come and go, and an idle one is ended."""

    def __init__(self, store: Store, log: FunctionLog, *, idle_seconds: float) -> None:
        self._store = store
        self._log = log
        self._idle_seconds = idle_seconds
        self._lock = threading.Lock()
        self._group: ProcessGroup | None = None
        self._over = threading.Event()
        self._said: deque[str] = deque(maxlen=KEPT_LINES)
        self._calls = 0
        self._retired = False
        self._idle: threading.Timer | None = None
        self.port = 0

    def start(self, folder: Path, target: str, env: Mapping[str, str], is_wanted: Callable[[], bool]) -> None:
        """Returns once it listens. NotStarted, also when it is not wanted any more."""
        command = [sys.executable, "-u", "-m", "functions_framework", "--target", target]
        command += ["--source", "main.py", "--host", HOST, "--port", "0"]
        try:
            group = ProcessGroup(self._store, command, env=env, folder=folder)
        except OSError as error:
            self._over.set()
            raise NotStarted(f"its process did not start: {error}") from error
        self._group = group
        pumps = [self._pump(group.stdout, "stdout"), self._pump(group.stderr, "stderr")]
        threading.Thread(target=self._reap, args=(group, pumps), name="function", daemon=True).start()
        deadline = time.monotonic() + START_SECONDS
        while not (port := listening(group)):
            if group.ended():
                self._over.wait(DRAIN_SECONDS)
                raise NotStarted(f"its process ended at the start{self._last_words()}")
            if time.monotonic() > deadline or not is_wanted():
                self.kill()
                raise NotStarted(f"it did not listen within {START_SECONDS:g} s{self._last_words()}")
            time.sleep(LOOK_SECONDS)
        self.port = port

    @property
    def alive(self) -> bool:
        return self._group is not None and not self._over.is_set() and not self._group.ended()

    @property
    def over(self) -> bool:
        """It has ended; one that is being started has not."""
        return self._over.is_set()

    def enter(self) -> bool:
        """A call begins; False where this instance takes none any more."""
        with self._lock:
            if self._retired or not self.alive:
                return False
            self._calls += 1
            self._rest(None)
            return True

    def leave(self) -> None:
        """A call is over; after the last one the time of idleness begins."""
        with self._lock:
            self._calls -= 1
            self._settle()

    def rest(self) -> None:
        """It was started, and nobody has called yet."""
        with self._lock:
            self._settle()

    def retire(self) -> None:
        """It takes no more calls, and ends after those that are being made."""
        with self._lock:
            self._retired = True
            self._settle()

    def kill(self) -> None:
        """At once, whoever is calling."""
        with self._lock:
            self._retired = True
            self._rest(None)
        if self._group is not None:
            self._group.kill()

    def wait(self, seconds: float = END_SECONDS) -> bool:
        """Whether it has ended, and its note in the state is gone."""
        return self._group is None or self._over.wait(seconds)

    def _settle(self) -> None:
        if self._calls == 0:
            if self._retired and self._group is not None:
                self._group.kill()
            else:
                self._rest(self._idle_seconds)

    def _rest(self, seconds: float | None) -> None:
        if self._idle is not None:
            self._idle.cancel()
        self._idle = None
        if seconds is not None:
            self._idle = threading.Timer(seconds, self._idled)
            self._idle.daemon = True
            self._idle.start()

    def _idled(self) -> None:
        with self._lock:
            if self._calls == 0:
                self._retired = True
                self._settle()

    def _pump(self, stream: IO[bytes], name: Literal["stdout", "stderr"]) -> threading.Thread:
        def read() -> None:
            with stream:
                for raw in stream:
                    if text := raw.rstrip(b"\r\n").decode(errors="replace"):
                        self._said.append(text)
                        self._log.line(name, text)

        thread = threading.Thread(target=read, name=f"function-{name}", daemon=True)
        thread.start()
        return thread

    def _reap(self, group: ProcessGroup, pumps: list[threading.Thread]) -> None:
        group.wait()
        try:
            group.forget()
        finally:
            for pump in pumps:
                pump.join(DRAIN_SECONDS)
            self._over.set()

    def _last_words(self) -> str:
        """Of a traceback the last line says what was wrong."""
        return f": {self._said[-1].strip()}" if self._said else ""


def listening(group: ProcessGroup) -> int:
    """The port that the process itself listens on, 0 as long as there is none."""
    with contextlib.suppress(psutil.Error, subprocess.SubprocessError):
        for connection in psutil.Process(group.pid).net_connections(kind="tcp"):
            if connection.status == psutil.CONN_LISTEN:
                return int(connection.laddr.port)
    return 0
