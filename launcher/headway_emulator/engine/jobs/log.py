"""From lines of output to Cloud Logging entries, and the job's own messages."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Sequence
from typing import Any

from headway_emulator.engine.clock import Clock, VirtualClock, nano_timestamp
from headway_emulator.engine.executors.protocol import Line
from headway_emulator.engine.store import LogEntry, Store
from headway_emulator.filters import SEVERITIES

JOB = "ml_job"
BURST_SECONDS = 0.05
SERVICE = "service"
"""The task name under which Vertex AI itself writes to a job's log."""


class JobLog:
    """The log of one job: a line alone is written at once, a burst of them in batches.

    Batches are of the machine's time; what is written down is the world's.
    """

    def __init__(self, store: Store, clock: Clock, job: str) -> None:
        self._store = store
        self._clock = clock
        self._job = job
        self._lock = threading.Lock()
        self._pending: list[LogEntry] = []
        self._written = 0.0
        self._timer: threading.Timer | None = None

    def lines(self, task: str, lines: Sequence[Line]) -> None:
        now = nano_timestamp(self._clock.now_ns())
        entries = [self._entry(task, line, now) for line in lines]
        with self._lock:
            self._pending += entries
            if self._timer is not None:
                return
            wait = self._written + BURST_SECONDS - time.monotonic()
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

    def taken(self, task: str, since: str) -> int:
        """How many lines of a replica the log has that are not older than `since`, an executor's time."""
        self.flush()
        return self._store.count_logs(self._job, task, since)

    def _write(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if self._pending:
            self._store.add_logs(self._pending)
            self._pending = []
            self._written = time.monotonic()

    def _entry(self, task: str, line: Line, now: str) -> LogEntry:
        """At the executor's time, but never ahead of now; a virtual clock knows only its own time."""
        severity, payload = classify(line)
        shown = now if isinstance(self._clock, VirtualClock) else min(line.timestamp, now)
        return LogEntry(JOB, self._job, task, shown, severity, payload, origin=line.timestamp)


def classify(line: Line) -> tuple[str, dict[str, Any]]:
    """Severity and payload: stderr is ERROR unless the line is JSON with a severity of its own."""
    given = _structured(line.text)
    if given is not None:
        severity = str(given.pop("severity")).upper()
        return severity, given
    return ("ERROR" if line.stream == "stderr" else "INFO"), {"message": line.text}


def _structured(text: str) -> dict[str, Any] | None:
    """None also for JSON that no entry can hold: NaN, infinity, and halves of surrogate pairs."""
    if not text.startswith("{"):
        return None
    try:
        given = json.loads(text)
        json.dumps(given, ensure_ascii=False, allow_nan=False).encode()
    except (ValueError, RecursionError):
        return None
    if not isinstance(given, dict) or str(given.get("severity", "")).upper() not in SEVERITIES:
        return None
    return given
