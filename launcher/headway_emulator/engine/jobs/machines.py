"""Machines for a training: found at once, late, or never, as faults say."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from headway_emulator.engine.faults import LATE, STOCKOUT, Faults
from headway_emulator.engine.jobs.outcome import EXPIRED, Outcome, no_machines
from headway_emulator.engine.jobs.record import Record

DEFAULT_MAX_WAIT = 24 * 3600.0
"""Seconds that FLEX_START waits for machines, where maxWaitDuration is not given; 0 there waits for ever."""
RETRY_CAPACITY = 30.0


class Machines:
    """`found` is called when all are there, `never` with how the job ends."""

    def __init__(
        self, record: Record, faults: Faults, found: Callable[[], None], never: Callable[[Outcome], None]
    ) -> None:
        self._record = record
        self._faults = faults
        self._found = found
        self._never = never

    def find(self) -> None:
        """A flexible start looks again and again; others end when the shortage shows."""
        if self._record.phase != "waiting":
            return
        if not self._record.insist(self._are_short):
            self._found()
        elif (moment := self._record.document.get("noMachinesAt")) is not None:
            ending = no_machines(self._record.document["region"], self._strategy)
            self._record.alarm("stockout", self._record.until(moment), lambda: self._never(ending))
        elif (left := self._flex_wait_left()) <= 0:
            self._never(EXPIRED)
        else:
            self._record.alarm("capacity", min(RETRY_CAPACITY, left), self.find)

    def fault(self, kind: str) -> Mapping[str, Any] | None:
        """The fault that any machine of this job meets now."""
        if not self._faults.armed(kind):
            return None
        taken = (self._faults.take(kind, **facts) for facts in self._record.machines())
        return next((fault for fault in taken if fault is not None), None)

    def are_up(self) -> None:
        """All replicas are there; a fault may make the state say so later than the code starts."""

        def keep() -> None:
            with self._faults.together():
                armed = self._faults.armed(LATE)
                late = self._faults.take(LATE, **self._record.facts()) if armed else None
                wait = 0.0 if late is None else float(late.get("after", 1))
                self._record.save(phase="up", runsAt=self._record.after(wait))

        self._record.insist(keep)

    def _are_short(self) -> bool:
        if "noMachinesAt" in self._record.document:
            return True
        with self._faults.together():
            shortage = self.fault(STOCKOUT)
            if shortage is not None and self._strategy != "FLEX_START":
                self._record.save(noMachinesAt=self._record.after(float(shortage.get("after", 0))))
        return shortage is not None

    @property
    def _strategy(self) -> str:
        return str(self._record.scheduling.get("strategy", ""))

    def _flex_wait_left(self) -> float:
        given = self._record.scheduling.get("maxWaitDuration", "")
        most = float(given.removesuffix("s")) if given else DEFAULT_MAX_WAIT
        if most == 0:
            return float("inf")
        return most + self._record.until(self._record.document["waitingSince"])
