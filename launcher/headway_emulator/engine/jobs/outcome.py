"""How a training ends."""

from __future__ import annotations

from dataclasses import dataclass

FINAL = frozenset(["JOB_STATE_SUCCEEDED", "JOB_STATE_FAILED", "JOB_STATE_CANCELLED", "JOB_STATE_EXPIRED"])


@dataclass(frozen=True)
class Outcome:
    """A status other than OK gives the job its `error`."""

    state: str
    status: str = "OK"
    message: str = ""


CANCELLED = Outcome("JOB_STATE_CANCELLED", "CANCELLED", "CANCELED")
TIMED_OUT = Outcome(
    "JOB_STATE_FAILED",
    "DEADLINE_EXCEEDED",
    "The job ran longer than its scheduling.timeout and was stopped.",
)
EXPIRED = Outcome(
    "JOB_STATE_EXPIRED",
    "DEADLINE_EXCEEDED",
    "The job waited for its maxWaitDuration, and no machines became available.",
)


def no_machines(region: str, strategy: str) -> Outcome:
    text = (
        f"Resources are insufficient in region: {region}. "
        "Please try a different region or use a different accelerator."
    )
    if strategy == "SPOT":
        text += " (STOCKOUT)"
    return Outcome("JOB_STATE_FAILED", "RESOURCE_EXHAUSTED", text)
