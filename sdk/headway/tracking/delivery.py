"""Delivery: a thread for each sink that carries spooled events to it, as long as the run lives."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from headway.errors import HeadwayError, Refused
from headway.spec.status import ModelVersion
from headway.tracking.sinks import Opened, Outcome, Sink
from headway.tracking.spool import Event, SpoolReader

LOOK_S = 1.0
PAUSES_S = (1.0, 2.0, 5.0, 10.0, 20.0)
LAST_PAUSE_S = 1.0
"""Between attempts once training is over."""


class Delivery:
    """Carries one spool's events to one sink. A server that is down costs a warning, never the run."""

    def __init__(
        self,
        sink: Sink,
        spool: Path,
        *,
        opened: Callable[[Opened], None],
        told: Callable[[str], None],
    ) -> None:
        self.registered: ModelVersion | None = None
        self._sink, self._opened, self._told = sink, opened, told
        self._reader = SpoolReader(spool, sink.name)
        self._wake = threading.Event()
        self._abandoned = threading.Event()
        self._outcome: Outcome | None = None
        self._trouble: HeadwayError | None = None
        self._left_out = False
        self._thread = threading.Thread(target=self._run, name=f"tracking-{sink.name}", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def end(self, outcome: Outcome) -> None:
        """Training is over: deliver the rest and the outcome. `join` waits for it."""
        self._outcome = outcome
        self._wake.set()

    def join(self, deadline: float, hurried: Callable[[], bool] = lambda: False) -> bool:
        """Wait until `deadline` (monotonic s) or `hurried`; False, with a warning, where it is not done."""
        while self._thread.is_alive() and time.monotonic() < deadline and not hurried():
            self._thread.join(0.2)
        if not self._thread.is_alive():
            return True
        self._abandoned.set()
        self._wake.set()
        reason = f": {self._trouble.message}" if self._trouble else ""
        self._told(f"not all of the run is in {self._sink.name}{reason}")
        return False

    def _run(self) -> None:
        failures = 0
        is_open = False
        while not self._abandoned.is_set():
            try:
                if not is_open:
                    self._opened(self._sink.open())
                    is_open = True
                if self._deliver_some():
                    failures, self._trouble = 0, None
                    continue
                if self._outcome is not None:
                    self.registered = self._sink.finish(self._outcome)
                    return
            except Refused as error:
                self._told(f"{self._sink.name} refused: {error.message}")
                if not is_open or self._outcome is not None:
                    return
            except HeadwayError as error:
                self._trouble = error
                if not failures:
                    self._told(f"{self._sink.name} does not take the run's events now; it is tried again")
                self._pause(failures)
                failures += 1
            except Exception as error:  # noqa: BLE001  a fault in tracking must not reach the run
                self._told(f"tracking with {self._sink.name} ended: {type(error).__name__}: {error}")
                return
            else:
                self._wake.wait(LOOK_S)

    def _deliver_some(self) -> bool:
        events = self._reader.read()
        if not events:
            return False
        self._deliver(events)
        self._reader.commit()
        return True

    def _deliver(self, events: Sequence[Event]) -> None:
        """Where the server refuses, halve: only the events that it never takes are left out."""
        try:
            self._sink.deliver(events)
        except Refused as error:
            if len(events) > 1:
                middle = len(events) // 2
                self._deliver(events[:middle])
                self._deliver(events[middle:])
            elif not self._left_out:
                self._left_out = True
                self._told(f"{self._sink.name} refused events, which are left out: {error.message}")

    def _pause(self, failures: int) -> None:
        if self._outcome is None:
            self._wake.wait(PAUSES_S[min(failures, len(PAUSES_S) - 1)])
        else:
            self._abandoned.wait(LAST_PAUSE_S)
