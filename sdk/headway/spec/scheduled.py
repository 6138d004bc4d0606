"""A schedule's documents in the bucket: what is scheduled, what each tick did, the data's last version."""

from __future__ import annotations

from datetime import datetime
from typing import Literal

from pydantic import BaseModel, ConfigDict

from headway.spec.plan import DataPin, Plan
from headway.spec.schedule import Schedule

Source = Literal["cron", "watch", "run"]
TickState = Literal["deciding", "waiting", "starting", "started", "skipped", "failed"]
FINAL: frozenset[TickState] = frozenset({"started", "skipped"})
"""A tick that is delivered again does nothing more."""


class _Document(BaseModel):
    model_config = ConfigDict(frozen=True, extra="ignore")


class DataVersion(_Document):
    """headway/data/NAME/pins.json: what `launch data push` sent last, and when it was first sent (UTC)."""

    version: Literal[1] = 1
    time: datetime
    pins: tuple[DataPin, ...]


class Scheduled(_Document):
    """schedule.json: the plan as it was made on the laptop; a tick puts the data's version into it."""

    version: Literal[1] = 1
    created: datetime
    schedule: Schedule
    plan: Plan

    @property
    def name(self) -> str:
        return self.plan.name


class Tick(_Document):
    """One tick: what came of it, and why. `plan` is there from the decision until the job is.

    `time` is the tick's own; of source `watch` the time of what set it off. All times are UTC.
    """

    version: Literal[1] = 1
    schedule: str
    source: Source
    time: datetime
    state: TickState
    reason: str
    equal: tuple[str, ...] = ()
    changed: tuple[str, ...] = ()
    run_id: str | None = None
    job: str | None = None
    replaced: tuple[str, ...] = ()
    deliveries: int = 1
    updated: datetime
    plan: Plan | None = None
