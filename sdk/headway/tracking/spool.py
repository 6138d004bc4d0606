"""The spool: tracking events as JSON lines in a file, written by training and read by the supervisor."""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

EVENTS_FILE = "events.jsonl"
Kind = Literal["metrics", "params", "system"]
Event = dict[str, Any]
"""`kind`, `time` (epoch, s), `values`; metrics also `step` and `epoch`; system also `step`."""


class Spool:
    """Appends events to `folder/events.jsonl`: one unbuffered write each, so that none is lost in a crash.

    Several processes may write. Training neither waits for tracking nor fails because of it: an event that
    cannot be written (a full disk) is dropped and counted in `dropped`, with one warning.
    """

    def __init__(self, folder: Path) -> None:
        self.path = folder / EVENTS_FILE
        self.dropped = 0
        self._file: int | None = None
        self._torn = False

    def metrics(self, values: Mapping[str, float], *, step: int, epoch: int | None = None) -> None:
        """Record values at a global step."""
        self._append("metrics", values, step=step, epoch=epoch)

    def params(self, values: Mapping[str, object]) -> None:
        """Record hyperparameters."""
        self._append("params", values)

    def system(self, values: Mapping[str, float], *, step: int) -> None:
        """Record what the machine does; `step` counts the samples."""
        self._append("system", values, step=step)

    def close(self) -> None:
        if self._file is not None:
            os.close(self._file)
            self._file = None

    def _append(self, kind: Kind, values: Mapping[str, object], **position: int | None) -> None:
        event = {"kind": kind, "time": time.time(), **position, "values": values}
        line = json.dumps(event, separators=(",", ":"), default=str).encode() + b"\n"
        if self._torn:
            # what a full disk cut off must not swallow this event too
            line = b"\n" + line
        try:
            if self._file is None:
                self.path.parent.mkdir(parents=True, exist_ok=True)
                self._file = os.open(self.path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
            written = os.write(self._file, line)
        except OSError as error:
            self._drop(error.strerror or "no reason given")
            return
        self._torn = written < len(line)
        if self._torn:
            self._drop("the disk is full")

    def _drop(self, reason: str) -> None:
        self.dropped += 1
        if self.dropped == 1:
            sys.stderr.write(f"headway: tracking events are dropped, {self.path} takes no more: {reason}\n")


class SpoolReader:
    """Reads a spool from where `commit` was last called, also after a restart of this process.

    The offset is kept in the file `name` beside the spool; without a name it is kept in memory only.
    """

    def __init__(self, folder: Path, name: str | None = None) -> None:
        self.path = folder / EVENTS_FILE
        self.malformed = 0
        self._mark = folder / f"{name}.offset" if name else None
        self._committed = self._read_mark()
        self._read_to = self._committed

    def read(self, limit: int = 1 << 20) -> list[Event]:
        """The events after the last commit, from at most `limit` bytes; a line half written is waited for.

        The same events are read again until they are committed.
        """
        try:
            with self.path.open("rb") as file:
                file.seek(self._committed)
                data = file.read(limit)
                end = data.rfind(b"\n") + 1
                if not end and len(data) == limit:
                    data += file.readline()
                    end = len(data) if data.endswith(b"\n") else 0
        except FileNotFoundError:
            return []
        self._read_to = self._committed + end
        return self._parsed(data[:end])

    def commit(self) -> None:
        """What `read` last returned is done with."""
        self._committed = self._read_to
        if self._mark is not None:
            part = self._mark.with_suffix(".part")
            part.write_text(str(self._committed), encoding="ascii")
            part.replace(self._mark)

    @property
    def behind(self) -> int:
        """Bytes not yet committed."""
        try:
            return self.path.stat().st_size - self._committed
        except FileNotFoundError:
            return 0

    def _parsed(self, data: bytes) -> list[Event]:
        events: list[Event] = []
        for line in data.split(b"\n"):
            if not line:
                continue
            try:
                event = json.loads(line)
            except ValueError:
                self.malformed += 1
                continue
            if isinstance(event, dict) and isinstance(event.get("values"), dict):
                events.append(event)
            else:
                self.malformed += 1
        return events

    def _read_mark(self) -> int:
        if self._mark is None:
            return 0
        try:
            return int(self._mark.read_text(encoding="ascii"))
        except (FileNotFoundError, ValueError):
            return 0
