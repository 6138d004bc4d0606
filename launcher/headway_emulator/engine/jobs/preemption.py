"""Machines that are taken away from replicas: notice by SIGTERM, then SIGKILL. Faults ask for it."""

from __future__ import annotations

import random
from collections.abc import Mapping
from functools import partial
from typing import Any

from headway_emulator.engine.faults import PREEMPT, Faults
from headway_emulator.engine.jobs.crew import Crew
from headway_emulator.engine.jobs.log import JobLog
from headway_emulator.engine.jobs.record import Record

NOTICE = 30.0
"""Seconds between SIGTERM and SIGKILL when a Spot machine is taken away (Compute Engine's documentation)."""


class Preemptions:
    """Those of one training; each is written down when it is planned and when its notice is given."""

    def __init__(self, record: Record, crew: Crew, faults: Faults, log: JobLog) -> None:
        self._record = record
        self._crew = crew
        self._faults = faults
        self._log = log

    def consider(self) -> None:
        """Take the faults that are meant for these replicas; asked at each start and for each new fault."""
        if self._record.phase != "up" or not self._faults.armed(PREEMPT):
            return
        self._record.insist(self._take)
        self.arm()

    def _take(self) -> None:
        with self._faults.together():
            for task in sorted(self._crew.alive - set(self._planned)):
                if (fault := self._faults.take(PREEMPT, task=task, **self._record.facts())) is not None:
                    wait = float(fault.get("after", 0))
                    if within := float(fault.get("within", 0)):
                        wait += random.Random(fault.get("seed", 0)).uniform(0, within)
                    self._plan(task, notice_at=self._record.after(wait))

    def resume(self) -> None:
        """After a restart of the emulator: who was given notice gets it again, for it may not have come."""
        self._crew.terminate(*[task for task, when in self._planned.items() if "taken_at" in when])
        self.arm()

    def arm(self) -> None:
        """SIGTERM when notice is given, SIGKILL when the machine is taken away."""
        for task, when in self._planned.items():
            if "notice_at" in when:
                moment, call = when["notice_at"], partial(self._give_notice, task)
            else:
                moment, call = when["taken_at"], partial(self._crew.kill, task)
            self._record.alarm(f"preempt {task}", self._record.until(moment), call)

    def ended(self, task: str) -> bool:
        """Whether the replica, which has ended, was preempted; what was only planned for it is void."""
        when = self._planned.get(task)
        if when is None or "taken_at" in when:
            return when is not None
        self._record.cancel_alarm(f"preempt {task}")
        self._record.save(preempting={t: when for t, when in self._planned.items() if t != task})
        return False

    def forget(self) -> None:
        """The attempt is ended: what was planned for its replicas is not meant for those of the next."""
        for task in self._record.tasks:
            self._record.cancel_alarm(f"preempt {task}")

    @property
    def _planned(self) -> Mapping[str, Any]:
        planned: Mapping[str, Any] = self._record.document.get("preempting", {})
        return planned

    def _plan(self, task: str, **when: int) -> None:
        self._record.save(preempting={**self._planned, task: when})

    def _give_notice(self, task: str) -> None:
        self._plan(task, taken_at=self._record.after(NOTICE))
        self._log.say("WARNING", f"The machine of the replica {task} is being preempted.")
        self._crew.terminate(task)
        self.arm()
