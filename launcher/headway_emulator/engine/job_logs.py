"""From lines of output to Cloud Logging entries, and the job's own messages."""

from __future__ import annotations

import json
import threading
from collections.abc import Sequence
from typing import Any

from headway_emulator.engine.clock import Clock, nano_timestamp
from headway_emulator.engine.executor import Line
from headway_emulator.engine.store import LogEntry, Store
from headway_emulator.filters import SEVERITIES

JOB = "ml_job"
BURST_SECONDS = 0.05
SERVICE = "service"
"""The task name under which Vertex AI itself writes to a job's log."""


class JobLog:
    """The log of one job: a line alone is written at once, a burst of them in batches."""

    def __init__(self, store: Store, clock: Clock, job: str) -> None:
        self._store = store
        self._clock = clock
        self._job = job
        self._lock = threading.Lock()
        self._pending: list[LogEntry] = []
        self._written = 0.0
        self._timer: threading.Timer | None = None

    def lines(self, task: str, lines: Sequence[Line]) -> None:
        entries = [self._entry(task, line) for line in lines]
        with self._lock:
            self._pending += entries
            if self._timer is not None:
                return
            wait = self._written + BURST_SECONDS - self._clock.monotonic()
            if wait <= 0:
                self._write()
                return
            self._timer = threading.Timer(wait, self.flush)
            self._timer.daemon = True
            self._timer.start()

    def flush(self) -> None:
        """Everything handed over is in the store after this."""
        with self._lock:
            self._write()

    def say(self, severity: str, message: str) -> None:
        """A message of the service itself."""
        now = nano_timestamp(self._clock.now_ns())
        entry = LogEntry(JOB, self._job, SERVICE, now, severity, {"message": message})
        self._store.add_logs([entry])

    def last(self, task: str) -> str:
        """The time of the newest line of a replica, or an empty string."""
        return self._store.last_log_time(self._job, task)

    def _write(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if self._pending:
            self._store.add_logs(self._pending)
            self._pending = []
            self._written = self._clock.monotonic()

    def _entry(self, task: str, line: Line) -> LogEntry:
        severity, payload = classify(line)
        return LogEntry(JOB, self._job, task, line.timestamp, severity, payload)


def classify(line: Line) -> tuple[str, dict[str, Any]]:
    """Severity and payload: stderr is ERROR unless the line is JSON with a severity of its own."""
    given = _structured(line.text)
    if given is not None:
        severity = str(given.pop("severity")).upper()
        return severity, given
    return ("ERROR" if line.stream == "stderr" else "INFO"), {"message": line.text}


def _structured(text: str) -> dict[str, Any] | None:
    if not text.startswith("{"):
        return None
    try:
        given = json.loads(text)
    except ValueError:
        return None
    if not isinstance(given, dict) or str(given.get("severity", "")).upper() not in SEVERITIES:
        return None
    return given
