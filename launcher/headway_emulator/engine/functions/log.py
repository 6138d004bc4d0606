"""What functions write, in Cloud Logging: a line to each entry, as Cloud Run has them.

Source: https://cloud.google.com/run/docs/logging and the page on structured logging (special fields).
"""

from __future__ import annotations

import json
from typing import Literal
from urllib.parse import quote

from headway_emulator.engine.clock import Clock, nano_timestamp
from headway_emulator.engine.store import Document, LogEntry, Store

RESOURCE = "cloud_run_revision"
FIELDS = {
    "logging.googleapis.com/labels": "labels",
    "logging.googleapis.com/trace": "trace",
    "logging.googleapis.com/spanId": "spanId",
    "logging.googleapis.com/sourceLocation": "sourceLocation",
}
"""Of a JSON line: what belongs to the entry itself."""
SEVERITIES = ("DEFAULT", "DEBUG", "INFO", "NOTICE", "WARNING", "ERROR", "CRITICAL", "ALERT", "EMERGENCY")
MANAGED = {"goog-managed-by": "cloudfunctions"}
Stream = Literal["stdout", "stderr", "requests"]


class FunctionLog:
    """Of one function's revision."""

    def __init__(self, store: Store, clock: Clock, function: str, revision: str) -> None:
        _, project, _, location, _, service = function.split("/")
        self._store = store
        self._clock = clock
        self._project = project
        self._service = service
        self._resource = {
            "type": RESOURCE,
            "labels": {
                "project_id": project,
                "location": location,
                "service_name": service,
                "revision_name": revision,
                "configuration_name": service,
            },
        }

    def line(self, stream: Stream, text: str) -> None:
        """A JSON object is taken apart: its severity is the entry's; a lone message is its text."""
        severity, shown = _understood(text)
        self._write(stream, severity, shown)

    def request(self, told: Document) -> None:
        """An HttpRequest, whose status tells the severity."""
        status = int(told.get("status", 0))
        severity = "ERROR" if status >= 500 or not status else "WARNING" if status >= 400 else "INFO"
        self._write("requests", severity, {"httpRequest": told})

    def _write(self, stream: Stream, severity: str, told: Document) -> None:
        log = f"run.googleapis.com/{stream}"
        shown = {
            "logName": f"projects/{self._project}/logs/{quote(log, safe='')}",
            "resource": self._resource,
            **told,
        }
        shown["labels"] = {**told.get("labels", {}), **MANAGED}
        now = nano_timestamp(self._clock.now_ns())
        entry = LogEntry(RESOURCE, self._service, "", now, severity, {}, origin=now, log=log, more=shown)
        self._store.add_logs([entry])


def _understood(text: str) -> tuple[str, Document]:
    if text.startswith("{"):
        try:
            told = json.loads(text)
        except (ValueError, RecursionError):
            told = None
        if isinstance(told, dict):
            given = str(told.pop("severity", "DEFAULT")).upper()
            severity = given if given in SEVERITIES else "DEFAULT"
            fields = [name for name in told if name in FIELDS and _fits(FIELDS[name], told[name])]
            more = {FIELDS[name]: told.pop(name) for name in fields}
            if told.keys() == {"message"} and isinstance(told["message"], str):
                return severity, {**more, "textPayload": told["message"]}
            return severity, {**more, "jsonPayload": told}
    return "DEFAULT", {"textPayload": text}


def _fits(field: str, value: object) -> bool:
    """Whether the value is of the entry's own kind; another one stays in the payload."""
    if field == "labels":
        return isinstance(value, dict) and all(isinstance(each, str) for each in value.values())
    return isinstance(value, dict if field == "sourceLocation" else str)
