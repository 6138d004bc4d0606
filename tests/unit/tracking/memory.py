"""A sink in memory."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from headway.errors import Refused, RemoteError
from headway.spec.status import ModelVersion
from headway.tracking.sinks import Opened, Outcome
from headway.tracking.spool import Event


class MemorySink:
    """A tracking server that fails so often, and refuses what it is told to."""

    name = "mlflow"

    def __init__(self) -> None:
        self.steps: list[int] = []
        self.params: dict[str, object] = {}
        self.outcome: Outcome | None = None
        self.failures = 0
        self.refuses: Callable[[Event], bool] = lambda _: False

    def open(self) -> Opened:
        if self.failures:
            self.failures -= 1
            raise RemoteError("no answer")
        return Opened("http://tracking/1", "1")

    def deliver(self, events: Sequence[Event]) -> None:
        if any(self.refuses(event) for event in events):
            raise Refused("bad name")
        for event in events:
            if event["kind"] == "metrics":
                self.steps.append(event["step"])
            elif event["kind"] == "params":
                self.params |= event["values"]

    def finish(self, outcome: Outcome) -> ModelVersion | None:
        self.outcome = outcome
        return ModelVersion(name="digits", version="1")
