"""What is known of one training, kept as it changes, and the alarms that it set."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, TypeVar

from headway_emulator.engine.clock import SECOND, Alarm, Clock, timestamp
from headway_emulator.engine.jobs.replicas import Work, task_name, tasks
from headway_emulator.engine.loop import Lane
from headway_emulator.engine.store import Document

T = TypeVar("T")


class Record:
    """The document that outlives the emulator; `changed` keeps each new form of it."""

    def __init__(
        self, document: Document, clock: Clock, lane: Lane, changed: Callable[[Document], None]
    ) -> None:
        self.document = document
        self.spec: Mapping[str, Any] = document["spec"]
        self.tasks = [task_name(*at) for at in tasks(self.spec)]
        self._clock = clock
        self._lane = lane
        self._changed = changed
        self._alarms: dict[str, Alarm] = {}

    @property
    def phase(self) -> str:
        """queued, waiting (for machines), starting, up, stopping or over."""
        return str(self.document["phase"])

    @property
    def scheduling(self) -> Mapping[str, Any]:
        found: Mapping[str, Any] = self.spec.get("scheduling", {})
        return found

    @property
    def launches(self) -> dict[str, int]:
        """How often each task has been started."""
        return {**dict.fromkeys(self.tasks, 0), **self.document.get("launches", {})}

    @property
    def work(self) -> Work:
        known = self.document
        trial, extra = known.get("trial", ""), known.get("env", {})
        return Work(known["job"], known["region"], self.spec, known["addresses"], trial, extra)

    def facts(self) -> dict[str, str]:
        """What faults of jobs are matched with."""
        known = self.document
        return {
            "job": known["job"],
            "display_name": known.get("displayName", ""),
            "region": known["region"],
        }

    def machines(self) -> list[dict[str, str]]:
        """What faults of machines are matched with: one for each kind of machine."""
        return machine_facts(self.document["region"], self.spec)

    def save(self, **changes: Any) -> None:
        """What is not kept has not happened: a disk that takes no more is waited for."""
        document = {**self.document, **changes, "updateTime": timestamp(self._clock.now_ns())}
        self.insist(lambda: self._changed(document))
        self.document = document

    def insist(self, write: Callable[[], T]) -> T:
        return self._lane.insist(write)

    def now_ns(self) -> int:
        return self._clock.now_ns()

    def after(self, seconds: float) -> int:
        """The moment in nanoseconds."""
        return self.now_ns() + round(seconds * SECOND)

    def until(self, moment_ns: int) -> float:
        """Seconds, negative where it has passed."""
        return (moment_ns - self._clock.now_ns()) / SECOND

    def alarm(self, name: str, seconds: float, call: Callable[[], None]) -> None:
        """In the loop, after that many seconds; one of each name, and none after the end."""
        self.cancel_alarm(name)

        def due() -> None:
            self._lane.post(made)

        def made() -> None:
            if self._alarms.get(name) is alarm and self.phase != "over":
                del self._alarms[name]
                call()

        alarm = self._alarms[name] = self._clock.after(seconds, due)

    def has_alarm(self, name: str) -> bool:
        return name in self._alarms

    def cancel_alarm(self, name: str) -> None:
        if (alarm := self._alarms.pop(name, None)) is not None:
            alarm.cancel()

    def cancel_alarms(self) -> None:
        for name in tuple(self._alarms):
            self.cancel_alarm(name)


def machine_facts(region: str, spec: Mapping[str, Any]) -> list[dict[str, str]]:
    """What faults of machines and quota are matched with: one for each kind of machine."""
    strategy = spec.get("scheduling", {}).get("strategy", "STANDARD")
    found = []
    for machine in (pool.get("machineSpec", {}) for pool in spec["workerPoolSpecs"] if pool):
        facts = {
            "region": region,
            "accelerator": machine.get("acceleratorType", ""),
            "machine": machine.get("machineType", ""),
            "strategy": strategy,
        }
        if facts not in found:
            found.append(facts)
    return found
