"""The files in which running trials report their metrics, read again and again while there are any."""

from __future__ import annotations

import sys
import threading
import traceback
from collections.abc import Callable

from headway_emulator.engine.jobs.replicas import PRIMARY
from headway_emulator.engine.jobs.trainings import Trainings
from headway_emulator.engine.tuning.measurements import METRIC_FILE

POLL_SECONDS = 0.5
"""Of the machine's own time: a real process writes the file."""


class Watch:
    """`measured` gets each file's new content with the name of its training, in the watch's own thread."""

    def __init__(self, trainings: Trainings, measured: Callable[[str, str], None]) -> None:
        self._trainings = trainings
        self._measured = measured
        self._last: dict[str, bytes] = {}
        """By training, what was read last."""
        self._changed = threading.Condition()
        self._thread: threading.Thread | None = None
        self._closed = False

    def add(self, training: str) -> None:
        with self._changed:
            self._last.setdefault(training, b"")
            if self._thread is None and not self._closed:
                self._thread = threading.Thread(target=self._run, name="trial-metrics", daemon=True)
                self._thread.start()
            self._changed.notify()

    def remove(self, training: str) -> None:
        with self._changed:
            self._last.pop(training, None)

    def close(self) -> None:
        with self._changed:
            self._closed = True
            self._changed.notify()
        if self._thread is not None:
            self._thread.join(POLL_SECONDS * 4)

    def _run(self) -> None:
        while (watched := self._due()) is not None:
            for training in watched:
                content = self._read(training)
                with self._changed:
                    if self._closed:
                        return
                    new = content and training in self._last and content != self._last[training]
                    if content and new:
                        self._last[training] = content
                if content and new:
                    self._tell(training, content.decode(errors="replace"))

    def _tell(self, training: str, content: str) -> None:
        try:
            self._measured(training, content)
        except Exception:  # noqa: BLE001 - what goes wrong with one trial must not end the measuring of all; it is printed
            traceback.print_exc(file=sys.stderr)

    def _read(self, training: str) -> bytes | None:
        try:
            return self._trainings.read(training, PRIMARY, METRIC_FILE)
        except OSError:
            return None  # it is being replaced, or is none that can be read

    def _due(self) -> list[str] | None:
        """What is to be read now, after a while; None at the end."""
        with self._changed:
            self._changed.wait_for(lambda: self._closed or bool(self._last))
            self._changed.wait_for(lambda: self._closed, POLL_SECONDS)
            return None if self._closed else list(self._last)
