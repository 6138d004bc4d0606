"""Cloud Logging: the lines that a job's replicas wrote."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from headway.cloud.session import Session

_PAGE = 1000
_TRIAL = "ml.googleapis.com/trial_id"
_LATE = timedelta(seconds=2)
"""Entries may become visible out of order by so much: each look goes back that far and drops what it saw."""


@dataclass(frozen=True)
class LogLine:
    """One line of a replica: UTC time, severity as Cloud Logging names it, replica such as workerpool0-0."""

    time: datetime
    severity: str
    replica: str
    text: str


class JobLog:
    """A job's log, read forward: each `new()` yields the lines not yet yielded, in order of time.

    With `trial`, of a tuning job's log that trial's lines alone.
    """

    def __init__(self, session: Session, job_id: str, trial: str | None = None) -> None:
        self._session = session
        self._job_id = job_id
        self._trial = trial
        self._seen: dict[str, datetime] = {}
        self._newest: datetime | None = None

    def new(self) -> Iterator[LogLine]:
        """Lines that arrived since the last call. Raises RemoteError."""
        condition = f'resource.type="ml_job" AND resource.labels.job_id="{self._job_id}"'
        if self._trial is not None:
            condition += f' AND labels."{_TRIAL}"="{self._trial}"'
        if self._newest is not None:
            condition += f' AND timestamp>="{(self._newest - _LATE).strftime("%Y-%m-%dT%H:%M:%S.%fZ")}"'
        token = ""
        while True:
            page = self._page(condition, token)
            for entry in page.get("entries", []):
                if entry["insertId"] not in self._seen:
                    line = _line(entry)
                    self._seen[entry["insertId"]] = line.time
                    self._newest = max(self._newest or line.time, line.time)
                    yield line
            token = page.get("nextPageToken", "")
            if not token:
                self._forget()
                return

    def _forget(self) -> None:
        """What is too old to be asked for again: a run of days writes millions of lines."""
        if self._newest is not None:
            oldest = self._newest - _LATE
            self._seen = {insert: time for insert, time in self._seen.items() if time >= oldest}

    def _page(self, condition: str, token: str) -> dict[str, Any]:
        return self._session.call(
            "POST",
            f"{self._session.endpoint('logging')}/v2/entries:list",
            f"cannot read the log of job {self._job_id}",
            json={
                "resourceNames": [f"projects/{self._session.project}"],
                "filter": condition,
                "orderBy": "timestamp asc",
                "pageSize": _PAGE,
                "pageToken": token,
            },
        )


def _line(entry: dict[str, Any]) -> LogLine:
    payload = entry.get("jsonPayload") or {}
    text = entry.get("textPayload") or payload.get("message") or ""
    labels = entry.get("resource", {}).get("labels", {})
    return LogLine(
        time=_time(entry["timestamp"]),
        severity=entry.get("severity", "DEFAULT"),
        replica=labels.get("task_name", ""),
        text=str(text).rstrip("\n"),
    )


def _time(text: str) -> datetime:
    # Cloud Logging writes nanoseconds; Python reads up to microseconds
    whole, _, fraction = text.rstrip("Z").partition(".")
    return datetime.fromisoformat(f"{whole}.{(fraction + '000000')[:6]}").replace(tzinfo=UTC)
