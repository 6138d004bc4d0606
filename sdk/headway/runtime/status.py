"""The heartbeat: status.json beside the plan, written by a thread of its own."""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from headway.errors import HeadwayError
from headway.runtime.log import warn
from headway.runtime.store import Store
from headway.spec.status import RunStatus
from headway.tracking.spool import SpoolReader

BEAT_S = 2.0
CHANGE_S = 0.5
"""A change is written this soon; Cloud Storage takes one write a second of one object."""
FINAL_WAIT_S = 10.0
LATE_WAIT_S = 60.0
"""For a beat that a slow server still has when the last status is written: as long as a request may last."""
LAST_PAUSES_S = (0.5, 2.0, 0.0)


class Heartbeat:
    """Holds the run's status and writes it while the run lives. Use as a context; the end writes once more.

    `store` is None on nodes other than the chief: then nothing is written.
    """

    def __init__(self, run_id: str, store: Store | None, name: str, spool: Path) -> None:
        now = datetime.now(UTC)
        self._store, self._name = store, name
        self._spool = SpoolReader(spool)
        self._status = RunStatus(run_id=run_id, phase="fetching", started=now, updated=now)
        self._lock = threading.Lock()
        self._changed = threading.Event()
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._beat, name="heartbeat", daemon=True)
        self._failed = False

    def __enter__(self) -> Heartbeat:
        if self._store is not None:
            self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._changed.set()
        if self._store is not None:
            self._thread.join(FINAL_WAIT_S)
            self._write_last()
            if self._thread.is_alive():  # what it sent earlier may arrive later, and would stand for ever
                self._thread.join(LATE_WAIT_S)
                self._write_last()

    @property
    def status(self) -> RunStatus:
        with self._lock:
            return self._status

    def update(self, **changes: Any) -> None:
        """Change fields of the status; written soon."""
        with self._lock:
            self._status = self._status.model_copy(update=changes)
        self._changed.set()

    def warning(self, text: str) -> None:
        """Add a warning to the status, once, and to the log."""
        with self._lock:
            if text in self._status.warnings:
                return
            self._status = self._status.model_copy(update={"warnings": (*self._status.warnings, text)})
        warn(text)
        self._changed.set()

    def _read_spool(self) -> None:
        while events := self._spool.read():
            for event in events:
                if event["kind"] == "metrics":
                    self._take(event["values"], event.get("step"), event.get("epoch"))
            self._spool.commit()

    def _take(self, values: Mapping[str, float], step: int | None, epoch: int | None) -> None:
        """Take metrics' last values. JSON has no NaN: such a value is left out."""
        finite = {name: value for name, value in values.items() if math.isfinite(value)}
        lost = [name for name in values if name not in finite]
        with self._lock:
            known = {name: value for name, value in self._status.metrics.items() if name not in lost}
            changes: dict[str, Any] = {"metrics": known | finite}
            if step is not None:
                changes["step"] = step
            if epoch is not None:
                changes["epoch"] = epoch
            self._status = self._status.model_copy(update=changes)

    def _beat(self) -> None:
        while not self._over.is_set():
            self._changed.clear()
            self._write()
            self._over.wait(CHANGE_S)
            self._changed.wait(BEAT_S - CHANGE_S)

    def _write_last(self) -> None:
        # the laptop reads the run's end from it: worth more than one attempt
        for pause in LAST_PAUSES_S:
            if self._write():
                return
            time.sleep(pause)

    def _write(self) -> bool:
        """Whether it was written."""
        if self._store is None:
            return False
        try:
            self._read_spool()
            with self._lock:
                self._status = self._status.model_copy(update={"updated": datetime.now(UTC)})
                document = self._status.model_dump_json(indent=1).encode()
            self._store.write(self._name, document, content_type="application/json")
        except (HeadwayError, OSError) as error:
            # the run is worth more than its heartbeat; the next beat tries again
            if not self._failed:
                warn(f"the status cannot be written: {error}")
            self._failed = True
            return False
        self._failed = False
        return True
