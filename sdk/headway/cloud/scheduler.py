"""Cloud Scheduler: jobs that call a function by the clock, rendered by a pure function; Google's client."""

from __future__ import annotations

import base64
import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from headway.cloud.session import TIMEOUT_S, Session, translated
from headway.errors import NotFound
from headway.spec.retries import Retries

ATTEMPT_S = 900
"""Cloud Scheduler waits so long for an answer (it takes 15 s to 30 minutes for HTTP targets)."""
_CHANGED = ("description", "schedule", "time_zone", "http_target", "retry_config", "attempt_deadline")


@dataclass(frozen=True)
class ClockJob:
    """A job of Cloud Scheduler; `state` is its enum's name in lower case: enabled, paused, disabled, ...

    `code` is google.rpc.Code of its last attempt, 0 where that was well or none was made.
    """

    job_id: str
    state: str
    cron: str
    zone: str
    uri: str
    next: datetime | None
    last: datetime | None
    code: int


def render(
    *,
    job_id: str,
    description: str,
    cron: str,
    zone: str,
    uri: str,
    body: Mapping[str, str],
    account: str,
    retries: Retries,
) -> dict[str, Any]:
    """The Job as the JSON of Google's API, its name left to the client. Pure: a golden file tests it.

    The function is called with an OpenID Connect token of `account`, made for the function's address.
    """
    return {
        "name": job_id,
        "description": description,
        "schedule": cron,
        "timeZone": zone,
        "httpTarget": {
            "uri": uri,
            "httpMethod": "POST",
            "headers": {"Content-Type": "application/json"},
            "body": base64.b64encode(json.dumps(body).encode()).decode(),
            "oidcToken": {"serviceAccountEmail": account, "audience": uri},
        },
        "retryConfig": {
            "retryCount": retries.count,
            "maxRetryDuration": f"{retries.longest_s}s",
            "minBackoffDuration": f"{retries.shortest_wait_s}s",
            "maxBackoffDuration": f"{retries.longest_wait_s}s",
            "maxDoublings": retries.doublings,
        },
        "attemptDeadline": f"{ATTEMPT_S}s",
    }


class ClockJobs:
    """The jobs of a project in one region, through google-cloud-scheduler's client over REST."""

    def __init__(self, session: Session, region: str) -> None:
        from google.cloud.scheduler_v1 import CloudSchedulerClient

        self._parent = f"projects/{session.project}/locations/{region}"
        endpoint = session.override("cloudscheduler")
        self._client: Any = CloudSchedulerClient(
            transport="rest",
            credentials=session.credentials,
            client_options={"api_endpoint": endpoint} if endpoint else None,
        )

    def put(self, body: Mapping[str, Any]) -> ClockJob:
        """Create the job, or change the one that is there; a paused one stays paused."""
        from google.cloud.scheduler_v1.types import Job
        from google.protobuf import field_mask_pb2, json_format

        message, job_id = Job(), str(body["name"])
        json_format.ParseDict({**body, "name": self._named(job_id)}, Job.pb(message))
        try:
            self.get(job_id)
        except NotFound:
            with translated(f"cannot create the Cloud Scheduler job {job_id}"):
                request = {"parent": self._parent, "job": message}
                return _job(self._client.create_job(request=request, timeout=TIMEOUT_S))
        with translated(f"cannot change the Cloud Scheduler job {job_id}"):
            mask = field_mask_pb2.FieldMask(paths=_CHANGED)
            request = {"job": message, "update_mask": mask}
            return _job(self._client.update_job(request=request, timeout=TIMEOUT_S))

    def get(self, job_id: str) -> ClockJob:
        """Raises NotFound."""
        with translated(f"cannot read the Cloud Scheduler job {job_id}"):
            return _job(self._client.get_job(request={"name": self._named(job_id)}, timeout=TIMEOUT_S))

    def list(self) -> list[ClockJob]:
        """Every job of the region."""
        with translated("cannot list the Cloud Scheduler jobs"):
            request = {"parent": self._parent}
            return [_job(each) for each in self._client.list_jobs(request=request, timeout=TIMEOUT_S)]

    def pause(self, job_id: str) -> None:
        with translated(f"cannot pause the Cloud Scheduler job {job_id}"):
            self._client.pause_job(request={"name": self._named(job_id)}, timeout=TIMEOUT_S)

    def resume(self, job_id: str) -> None:
        with translated(f"cannot resume the Cloud Scheduler job {job_id}"):
            self._client.resume_job(request={"name": self._named(job_id)}, timeout=TIMEOUT_S)

    def delete(self, job_id: str) -> None:
        """Raises NotFound."""
        with translated(f"cannot delete the Cloud Scheduler job {job_id}"):
            self._client.delete_job(request={"name": self._named(job_id)}, timeout=TIMEOUT_S)

    def _named(self, job_id: str) -> str:
        return f"{self._parent}/jobs/{job_id}"


def _job(message: Any) -> ClockJob:
    return ClockJob(
        job_id=message.name.rpartition("/")[2],
        state=message.state.name.lower(),
        cron=message.schedule,
        zone=message.time_zone,
        uri=message.http_target.uri,
        next=_time(message.schedule_time),
        last=_time(message.last_attempt_time),
        code=message.status.code,
    )


def _time(value: Any) -> datetime | None:
    return datetime.fromisoformat(value.isoformat()) if value else None
