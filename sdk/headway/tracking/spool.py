"""The spool: tracking events as JSON lines in a file, written by training and read by the supervisor."""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any, Literal, get_args

EVENTS_FILE = "events.jsonl"
Kind = Literal["metrics", "params", "system"]
Event = dict[str, Any]
"""`kind`, `time` (epoch, s), `values`; metrics also `step` and `epoch`; system also `step`."""


class Spool:
    """Appends events to `folder/events.jsonl`: one unbuffered write each, so that none is lost in a crash.

    Several processes may write. Training neither waits for tracking nor fails because of it: an event that
    cannot be written (a full disk, a value that is no number) is dropped and counted in `dropped`, with one
    warning.
    """

    def __init__(self, folder: Path) -> None:
        self.path = folder / EVENTS_FILE
        self.dropped = 0
        self._file: int | None = None
        self._torn = False

    def metrics(self, values: Mapping[str, float], *, step: int, epoch: int | None = None) -> None:
        """Record values at a global step: numbers, tensors and arrays that hold one."""
        if numbers := self._numbers(values):
            self._append("metrics", numbers, step=step, epoch=epoch)

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

    def _numbers(self, values: Mapping[str, float]) -> dict[str, float]:
        numbers: dict[str, float] = {}
        for name, value in values.items():
            try:
                numbers[name] = float(value)
            except (TypeError, ValueError, OverflowError, RuntimeError):
                self._drop(f"the value of {name} is no number")
        return numbers

    def _append(self, kind: Kind, values: Mapping[str, object], **position: int | None) -> None:
        event = {"kind": kind, "time": time.time(), **position, "values": values}
        try:
            line = json.dumps(event, separators=(",", ":"), default=str).encode() + b"\n"
        except (TypeError, ValueError, RecursionError) as error:
            self._drop(str(error))
            return
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
            sys.stderr.write(f"headway: warning: tracking events are dropped ({self.path}): {reason}\n")


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

        The same events are read again until they are committed. Empty only where there is nothing to read.
        """
        while True:
            data = self._lines(limit)
            self._read_to = self._committed + len(data)
            if (events := self._parsed(data)) or not data:
                return events
            self.commit()  # nothing but malformed lines: what follows them is not held up

    def commit(self) -> None:
        """What `read` last returned is done with."""
        self._committed = self._read_to
        if self._mark is not None:
            part = self._mark.with_suffix(".part")
            # the mark is for a restart only: a full disk must not end delivery
            with suppress(OSError):
                part.write_text(str(self._committed), encoding="ascii")
                part.replace(self._mark)

    @property
    def behind(self) -> int:
        """Bytes not yet committed."""
        try:
            return self.path.stat().st_size - self._committed
        except FileNotFoundError:
            return 0

    def _lines(self, limit: int) -> bytes:
        """Whole lines after the last commit."""
        try:
            with self.path.open("rb") as file:
                file.seek(self._committed)
                data = file.read(limit)
                if b"\n" not in data and len(data) == limit:
                    data += file.readline()
        except FileNotFoundError:
            return b""
        return data[: data.rfind(b"\n") + 1]

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
            if _is_event(event):
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


def _is_event(found: Any) -> bool:
    """Whether it has what the readers rely on: training may have written anything into the file."""
    if not isinstance(found, dict) or found.get("kind") not in get_args(Kind):
        return False
    values = found.get("values")
    if not isinstance(values, dict) or not isinstance(found.get("time"), int | float):
        return False
    return found["kind"] == "params" or all(isinstance(value, int | float) for value in values.values())
