"""The platform's signals: before training they end the run, during it they go to the training process."""

from __future__ import annotations

import signal
import time
from collections.abc import Callable
from types import FrameType
from typing import Any

from headway.runtime.process import TrainingProcess

_NUMBERS = (signal.SIGTERM, signal.SIGINT)


class Stopped(BaseException):
    """A signal came before training began. No Exception: libraries must not swallow it."""

    def __init__(self, number: int) -> None:
        super().__init__(signal.Signals(number).name)
        self.number = number


class Signals:
    """SIGTERM and SIGINT of this process, taken over while the context lasts."""

    def __init__(self) -> None:
        self.received: int | None = None
        self.received_at: float | None = None
        self._process: TrainingProcess | None = None
        self._raises = True
        self._before: dict[int, Any] = {}

    def __enter__(self) -> Signals:
        self._before = {number: signal.signal(number, self._handle) for number in _NUMBERS}
        return self

    def __exit__(self, *_: object) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def start(self, start: Callable[[], TrainingProcess]) -> TrainingProcess:
        """Start training: from here on signals are handed on to it, also one that comes this moment."""
        self._raises = False
        self._process = start()
        if self.received is not None:
            self._process.stop(self.received)
        return self._process

    def training_is_over(self) -> None:
        """From here on a signal only hurries what is left: see `received`."""
        self._process = None
        self._raises = False

    def _handle(self, number: int, _: FrameType | None) -> None:
        self.received, self.received_at = number, time.monotonic()
        if self._process is not None:
            self._process.stop(number)
        elif self._raises:
            self._raises = False
            raise Stopped(number)
