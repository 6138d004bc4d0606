"""RunStatus: what the container says of its run, in status.json beside the plan; the laptop reads it."""

from __future__ import annotations

from datetime import datetime
from typing import Literal

from pydantic import BaseModel, ConfigDict

from headway.spec.promotion import Promoted

Phase = Literal["fetching", "training", "delivering", "evaluating", "done"]


class ModelVersion(BaseModel):
    """A version in the model registry."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    name: str
    version: str


class RunStatus(BaseModel):
    """The heartbeat: rewritten every few seconds while the run lives, and once at its end.

    `metrics` holds each metric's last value, `step` the trainer's global step; `exit_code` is the training
    process's own. Times are UTC. Unknown keys are ignored, so that an older laptop reads a newer container.
    """

    model_config = ConfigDict(frozen=True, extra="ignore")

    version: Literal[1] = 1
    run_id: str
    phase: Phase
    started: datetime
    updated: datetime
    exit_code: int | None = None
    error: str | None = None
    tracking_url: str | None = None
    tracking_run_id: str | None = None
    metrics: dict[str, float] = {}
    step: int | None = None
    epoch: int | None = None
    checkpoints: tuple[str, ...] = ()
    outputs: str | None = None
    model_uri: str | None = None
    registered: ModelVersion | None = None
    promotion: Promoted | None = None
    warnings: tuple[str, ...] = ()
