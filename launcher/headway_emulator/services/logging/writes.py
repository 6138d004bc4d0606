"""Cloud Logging: WriteLogEntries, with Google's limits."""

from __future__ import annotations

import json
import re
import sqlite3
from collections.abc import Mapping
from typing import Any
from urllib.parse import quote, unquote

from headway_emulator.api.rest import Call
from headway_emulator.engine.clock import SECOND, nano_timestamp, parse_timestamp
from headway_emulator.engine.store import LogEntry
from headway_emulator.errors import RPC_CODE, ApiError, bad_request, invalid
from headway_emulator.filters import SEVERITIES
from headway_emulator.schema import parse, snake
from headway_emulator.services.logging.resources import owner
from headway_emulator.world import World

PAYLOADS = ("textPayload", "jsonPayload", "protoPayload")
PROTO_TYPES = (
    "type.googleapis.com/google.cloud.audit.AuditLog",
    "type.googleapis.com/google.appengine.logging.v1.RequestLog",
)
"""LogEntry.proto_payload: "user-defined types are not supported"."""
LOG_NAME = re.compile(r"/?(projects|organizations|folders|billingAccounts)/([^/]+)/logs/(.+)")
LOG_ID = re.compile(r"[A-Za-z0-9/_.-]{1,511}")
"""LogEntry.log_name: less than 512 characters, of these only."""
ENTRY_BYTES = 256 << 10
"""A log entry's size limit (quotas of Cloud Logging)."""
KEY_BYTES, VALUE_BYTES = 512, 64 << 10
"""LogEntry.labels: what is longer is truncated, which an ellipsis shows."""
KEPT_DAYS, AHEAD_DAYS = 30, 1
"""Entries outside are accepted and never listed (WriteLogEntriesRequest.entries; 30 days is the default)."""
DAY = 86_400 * SECOND
MOST_INT64 = 1 << 63
PARTIAL = "type.googleapis.com/google.logging.v2.WriteLogEntriesPartialErrors"
CODES = {**RPC_CODE, "PERMISSION_DENIED": 7}


class Writes:
    """The one method that adds entries from outside."""

    def __init__(self, world: World) -> None:
        self._world = world

    def write(self, call: Call) -> Any:
        request = parse("logging", "v2", "WriteLogEntriesRequest", _named_severities(call.body or {}), "")
        given = request.get("entries", [])
        if not given:
            raise invalid("Required field is not set: entries.")
        now = self._world.clock.now_ns()
        entries: list[LogEntry] = []
        failed: dict[int, ApiError] = {}
        for index, entry in enumerate(given):
            try:
                entries.append(self._entry(request, entry, f"entries[{index}]", now))
            except ApiError as error:
                failed[index] = error
        partial = bool(request.get("partialSuccess")) and bool(entries)
        if not request.get("dryRun") and (partial or not failed):
            self._keep(entries, now)
        if failed:
            raise _error(failed, partial)
        return {}

    def _keep(self, entries: list[LogEntry], now: int) -> None:
        low, high = nano_timestamp(now - KEPT_DAYS * DAY), nano_timestamp(now + AHEAD_DAYS * DAY)
        try:
            self._world.store.write_logs(entry for entry in entries if low <= entry.timestamp <= high)
        except sqlite3.OperationalError as error:
            raise ApiError("UNAVAILABLE", f"The entries could not be written: {error}.") from error

    def _entry(self, request: Mapping[str, Any], entry: Mapping[str, Any], at: str, now: int) -> LogEntry:
        log, name = self._log(entry.get("logName") or request.get("logName", ""), at)
        resource = self._resource(entry.get("resource") or request.get("resource", {}), at)
        labels = _cut({**request.get("labels", {}), **entry.get("labels", {})})
        _check_payload(entry, at)
        shown = {**entry, "logName": name, "resource": resource}
        if labels:
            shown["labels"] = labels
        _check_size(shown)
        stamp = _time(entry["timestamp"], f"{at}.timestamp") if entry.get("timestamp") else now
        for field in ("timestamp", "insertId", "severity"):
            shown.pop(field, None)
        return LogEntry(
            kind=str(resource["type"]),
            owner=owner(resource),
            task=str(resource["labels"].get("task_name", "")),
            timestamp=nano_timestamp(stamp),
            severity=entry.get("severity", SEVERITIES[0]),
            payload={},
            origin=nano_timestamp(now),
            insert_id=entry.get("insertId", ""),
            log=log,
            more=shown,
        )

    def _log(self, name: str, at: str) -> tuple[str, str]:
        """The log's id, and its name with the project's id whichever way it was given."""
        if not name:
            raise invalid(f"Required field is not set: {at}.log_name.")
        found = LOG_NAME.fullmatch(name)
        log = unquote(found[3]) if found else ""
        if found is None or ("/" in found[3]) or not LOG_ID.fullmatch(log):
            raise invalid(
                f'Invalid log_name at {at}: "{name}". It is projects/[PROJECT_ID]/logs/[LOG_ID], the LOG_ID '
                "URL-encoded: less than 512 letters, digits, /, _, - and periods."
            )
        self._world.check_project(found[2] if found[1] == "projects" else f"{found[1]}/{found[2]}")
        return log, f"projects/{self._world.settings.project}/logs/{quote(log, safe='')}"

    def _resource(self, given: Mapping[str, Any], at: str) -> dict[str, Any]:
        """With the project's label, which Google adds where it is missing."""
        if not given.get("type"):
            raise invalid(f"Required field is not set: {at}.resource.")
        labels = {"project_id": self._world.settings.project, **given.get("labels", {})}
        return {"type": given["type"], "labels": labels}


def _named_severities(body: Any) -> Any:
    """Clients send a severity as its number too, and JSON of protobuf takes both."""
    if not isinstance(body, dict) or not isinstance(body.get("entries"), list):
        return body
    return {**body, "entries": [_named(entry) for entry in body["entries"]]}


def _named(entry: Any) -> Any:
    number = entry.get("severity") if isinstance(entry, dict) else None
    if not isinstance(number, int) or isinstance(number, bool) or number not in range(0, 801, 100):
        return entry
    return {**entry, "severity": SEVERITIES[number // 100]}


def _check_payload(entry: Mapping[str, Any], at: str) -> None:
    first, *others = [name for name in entry if name in PAYLOADS] or [""]
    if others:
        text = (
            f"Invalid value at '{at}' (oneof), oneof field 'payload' is already set. Cannot set '{others[0]}'"
        )
        raise bad_request([(at, text)])
    kind = entry["protoPayload"].get("@type", "") if first == "protoPayload" else ""
    if first == "protoPayload" and kind not in PROTO_TYPES:
        raise invalid(f'{at}.{snake(first)} has the unsupported type "{kind}".')


def _check_size(shown: Mapping[str, Any]) -> None:
    """By its JSON, where Google counts the bytes of its protobuf form."""
    try:
        size = len(json.dumps(shown, ensure_ascii=False).encode())
    except UnicodeEncodeError as error:
        raise invalid("Invalid JSON payload received. Encountered an unpaired surrogate.") from error
    if size > ENTRY_BYTES:
        raise invalid(f"Log entry with size {_kilo(size)} exceeds maximum size of {_kilo(ENTRY_BYTES)}")


def _kilo(size: int) -> str:
    return f"{size / 1024:.1f}K" if size < 1 << 20 else f"{size / (1 << 20):.1f}M"


def _cut(labels: Mapping[str, str]) -> dict[str, str]:
    return {_shortened(key, KEY_BYTES): _shortened(value, VALUE_BYTES) for key, value in labels.items()}


def _shortened(text: str, most: int) -> str:
    raw = text.encode("utf-8", "replace")
    return text if len(raw) <= most else raw[: most - 3].decode("utf-8", "ignore") + "..."


def _time(text: str, at: str) -> int:
    try:
        moment = parse_timestamp(text)
    except ValueError:
        moment = -1
    if not 0 <= moment < MOST_INT64:
        wrong = f"Invalid value at '{at}' (type.googleapis.com/google.protobuf.Timestamp), {json.dumps(text)}"
        raise bad_request([(at, wrong)])
    return moment


def _error(failed: Mapping[int, ApiError], partial: bool) -> ApiError:
    """That of the first entry that failed; with partial success, those of all by their index."""
    first = next(iter(failed.values()))
    if not partial:
        return first
    errors = {
        str(index): {"code": CODES[error.status], "message": error.message} for index, error in failed.items()
    }
    return ApiError(first.status, first.message, [{"@type": PARTIAL, "logEntryErrors": errors}])
