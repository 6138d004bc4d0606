"""Cloud Scheduler's execution log: an entry when an attempt starts, and one when it has ended.

In the form of published entries of the log cloudscheduler.googleapis.com/executions.
"""

from __future__ import annotations

from collections.abc import Sequence
from urllib.parse import quote

from headway_emulator.engine.clock import Clock, nano_timestamp, timestamp
from headway_emulator.engine.scheduling.calls import NAMES, Outcome
from headway_emulator.engine.store import Document, LogEntry, Store

RESOURCE = "cloud_scheduler_job"
LOG = "cloudscheduler.googleapis.com/executions"
TYPE = "type.googleapis.com/google.cloud.scheduler.logging"


class ScheduleLog:
    """Writes to Cloud Logging's store."""

    def __init__(self, store: Store, clock: Clock) -> None:
        self._store = store
        self._clock = clock

    def started(self, job: Document, tick: int) -> None:
        """`tick` in nanoseconds: when the attempt was due first."""
        told = {"@type": f"{TYPE}.AttemptStarted", "scheduledTime": timestamp(tick)}
        self._write(job, "INFO", told, {})

    def finished(self, job: Document, outcome: Outcome) -> None:
        told: Document = {"@type": f"{TYPE}.AttemptFinished"}
        if outcome.code:
            told["status"] = NAMES[outcome.code]
        told["debugInfo"] = ". ".join(filter(None, (outcome.debug, outcome.message)))
        http = {"httpRequest": {"status": outcome.http_status}} if outcome.http_status else {}
        self._write(job, "ERROR" if outcome.code else "INFO", told, http)

    def passed(self, job: Document, ticks: Sequence[int], *, more: bool) -> None:
        """Ticks that were passed over; Google's log has no such entry."""
        count = f"{'more than ' if more else ''}{len(ticks)}"
        told: Document = {
            "message": f"Passed over, as the execution before was not over or the emulator down: {count}.",
            "passedOver": [timestamp(tick) for tick in ticks],
        }
        self._write(job, "WARNING", told, {})

    def _write(self, job: Document, severity: str, told: Document, more: Document) -> None:
        _, project, _, location, _, identity = job["name"].split("/")
        payload = {**told, "jobName": job["name"], "targetType": "HTTP", "url": job["httpTarget"]["uri"]}
        labels = {"project_id": project, "location": location, "job_id": identity}
        shown = {
            "logName": f"projects/{project}/logs/{quote(LOG, safe='')}",
            "resource": {"type": RESOURCE, "labels": labels},
            "jsonPayload": payload,
            **more,
        }
        now = nano_timestamp(self._clock.now_ns())
        entry = LogEntry(RESOURCE, identity.lower(), "", now, severity, {}, origin=now, log=LOG, more=shown)
        self._store.add_logs([entry])
