"""What Vertex AI does when a replica falls: restart it, start the whole job again, or give up.

Source: Google's "Understanding the custom training service" (5 restarts of a worker for errors that are not
permanent, then 3 retries of the job), its page on Spot VMs (6 restarts), the descriptions of Scheduling's
fields, and users' reports on which exit codes count as transient.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

RESTARTS_OF_A_WORKER = 5
RETRIES_OF_A_JOB = 3
PREEMPTIONS = 6
TRANSIENT_EXITS = frozenset([6, 11, 134, 139])
"""SIGABRT and SIGSEGV, by their number and as a shell says them."""

Reason = Literal["exit", "out_of_memory", "lost", "preempted"]
Step = Literal["restart_worker", "restart_job", "retry_job", "fail"]


@dataclass(frozen=True)
class Fall:
    """How a replica ended that did not succeed."""

    task: str
    reason: Reason
    code: int = 0
    detail: str = ""


@dataclass(frozen=True)
class Tried:
    """What was done for this job before: restarts of this worker in this attempt, retries, preemptions."""

    restarts: int = 0
    retries: int = 0
    preemptions: int = 0


def step(fall: Fall, scheduling: Mapping[str, Any], tried: Tried) -> Step:
    """The next rung; `scheduling` is the job's, in proto JSON."""
    if scheduling.get("disableRetries"):
        return "fail"
    if fall.reason == "preempted" and scheduling.get("strategy") == "SPOT":
        return "restart_job" if tried.preemptions < PREEMPTIONS else "fail"
    if fall.reason in ("preempted", "lost"):
        return _retry(tried)
    if fall.reason == "out_of_memory" or fall.code not in TRANSIENT_EXITS:
        return "fail"
    if tried.restarts >= RESTARTS_OF_A_WORKER:
        return _retry(tried)
    return "restart_job" if scheduling.get("restartJobOnWorkerRestart") else "restart_worker"


def _retry(tried: Tried) -> Step:
    return "retry_job" if tried.retries < RETRIES_OF_A_JOB else "fail"


def what(fall: Fall) -> str:
    """What happened, as a sentence."""
    match fall.reason:
        case "preempted":
            return f"The machine of the replica {fall.task} was preempted (STOCKOUT)."
        case "lost":
            return f"The replica {fall.task} was lost: {fall.detail}."
    return f"The replica {fall.task} exited with a non-zero status of {fall.code}."


def failure(fall: Fall, job: str, project: str) -> tuple[str, str]:
    """Status and message in Vertex AI's words (from users' reports; not checked against recordings)."""
    where = (
        "To find out more about why your job exited please check the logs: "
        f"https://console.cloud.google.com/logs/viewer?project={project}&resource=ml_job%2Fjob_id%2F{job}"
    )
    match fall.reason:
        case "preempted":
            return "RESOURCE_EXHAUSTED", f"{what(fall)} It was restarted as often as Vertex AI does."
        case "lost":
            return "UNAVAILABLE", f"{what(fall)} Submit the job again."
        case "out_of_memory":
            return (
                "INVALID_ARGUMENT",
                f"The replica {fall.task} ran out-of-memory and exited with a non-zero status of "
                f"{fall.code}. {where}",
            )
    return "INVALID_ARGUMENT", f"{what(fall)} {where}"
