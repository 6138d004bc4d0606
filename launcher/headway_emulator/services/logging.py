"""Cloud Logging: reading the entries that jobs and builds wrote."""

from __future__ import annotations

import base64
import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from headway_emulator import filters
from headway_emulator.engine.clock import nano_timestamp, parse_timestamp
from headway_emulator.engine.store import LogEntry, LogQuery
from headway_emulator.errors import invalid
from headway_emulator.filters import Comparison, Condition
from headway_emulator.rest import Call, Rule, Service
from headway_emulator.schema import parse
from headway_emulator.world import World

PAGE_SIZE = 50
MOST = 1000
LABEL_OF_KIND: Mapping[str, str] = {"ml_job": "job_id", "build": "build_id"}
"""The resource label that names the owner of a log."""
OWNERS = {f"resource.labels.{label}": kind for kind, label in LABEL_OF_KIND.items()}


def service(world: World) -> Service:
    """One method: the others are refused by name."""
    logging = Logging(world)
    rules = [Rule("entries.list", "POST", "/v2/entries:list", logging.list)]
    fidelity = "reading the logs of jobs and builds by comparisons with AND, OR and NOT; no writing"
    return Service("logging", fidelity, rules)


class Logging:
    """LoggingServiceV2.ListLogEntries."""

    def __init__(self, world: World) -> None:
        self._world = world

    def list(self, call: Call) -> Any:
        request = parse("logging", "v2", "ListLogEntriesRequest", call.body or {}, "")
        names = request.get("resourceNames", [])
        if not names:
            raise invalid("Required field is not set: resource_names.")
        for name in names:
            self._world.check_project(name.removeprefix("projects/").split("/")[0])
        query, rest = _plan(filters.parse(request.get("filter", "")))
        query = replace(query, descending=_descending(request.get("orderBy", "")))
        if token := request.get("pageToken"):
            query = replace(query, after=_read_token(token))
        size = min(int(request.get("pageSize", 0)) or PAGE_SIZE, MOST)
        return self._page(query, rest, size)

    def _page(self, query: LogQuery, rest: Sequence[Condition], size: int) -> dict[str, Any]:
        """One entry more than asked for is looked at, to know whether a next page exists."""
        found: list[LogEntry] = []
        entries: list[dict[str, Any]] = []
        while len(found) <= size:
            batch = self._world.store.logs(query, MOST)
            for entry in batch:
                shown = self._entry(entry)
                if all(condition.holds(shown) for condition in rest):
                    found.append(entry)
                    entries.append(shown)
            if len(batch) < MOST:
                break
            query = replace(query, after=(batch[-1].timestamp, batch[-1].seq))
        page: dict[str, Any] = {"entries": entries[:size]} if entries else {}
        if len(found) > size:
            page["nextPageToken"] = _token(found[size - 1])
        return page

    def _entry(self, entry: LogEntry) -> dict[str, Any]:
        project = self._world.settings.project
        labels = {LABEL_OF_KIND[entry.kind]: entry.owner, "project_id": project}
        if entry.kind == "ml_job":
            labels["task_name"] = entry.task
        log = entry.task if entry.kind == "ml_job" else "cloudbuild"
        shown: dict[str, Any] = {
            "logName": f"projects/{project}/logs/{log}",
            "insertId": f"{entry.seq:016x}",
            "timestamp": entry.timestamp,
            "receiveTimestamp": entry.timestamp,
            "severity": entry.severity,
            "resource": {"type": entry.kind, "labels": labels},
        }
        if entry.kind == "build":
            return {**shown, "textPayload": entry.payload["message"]}
        return {**shown, "jsonPayload": entry.payload}


def _plan(conditions: Sequence[Condition]) -> tuple[LogQuery, list[Condition]]:
    """What the store can answer by index, and the conditions that remain for each entry."""
    query = LogQuery()
    rest: list[Condition] = []
    for condition in map(_with_nine_digits, conditions):
        if isinstance(condition, Comparison) and condition.operator == "=" and condition.field in OWNERS:
            query = replace(query, kind=OWNERS[condition.field], owner=condition.value)
            continue
        rest.append(condition)
        if not isinstance(condition, Comparison) or condition.field != "timestamp":
            continue
        if condition.operator in (">", ">="):
            query = replace(query, since=max(query.since, condition.value))
        elif condition.operator in ("<", "<="):
            query = replace(query, until=min(query.until or condition.value, condition.value))
    return query, rest


def _with_nine_digits(condition: Condition) -> Condition:
    """Times in the form of the entries, so that they compare as text."""
    match condition:
        case Comparison(field="timestamp"):
            return replace(condition, value=_time(condition.value))
        case filters.Both(parts):
            return filters.Both([_with_nine_digits(part) for part in parts])
        case filters.Either(parts):
            return filters.Either([_with_nine_digits(part) for part in parts])
        case filters.Not(part):
            return filters.Not(_with_nine_digits(part))
    return condition


def _descending(order: str) -> bool:
    if order not in ("", "timestamp", "timestamp asc", "timestamp desc"):
        raise invalid(f'Unsupported order_by: "{order}". Use "timestamp asc" or "timestamp desc".')
    return order.endswith("desc")


def _time(text: str) -> str:
    try:
        return nano_timestamp(parse_timestamp(text))
    except ValueError as error:
        raise invalid(f'Invalid filter: "{text}" is no RFC 3339 time.') from error


def _token(entry: LogEntry) -> str:
    return base64.urlsafe_b64encode(json.dumps([entry.timestamp, entry.seq]).encode()).decode()


def _read_token(token: str) -> tuple[str, int]:
    try:
        timestamp, seq = json.loads(base64.urlsafe_b64decode(token))
        return str(timestamp), int(seq)
    except (ValueError, TypeError) as error:
        raise invalid("page_token is invalid.") from error
