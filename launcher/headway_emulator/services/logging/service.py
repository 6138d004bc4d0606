"""Cloud Logging: reading what jobs, builds and clients wrote, following it, and which logs there are."""

from __future__ import annotations

import base64
import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any
from urllib.parse import quote, unquote

from headway_emulator.api.rest import Call, Rule, Service
from headway_emulator.engine.clock import parse_timestamp
from headway_emulator.engine.store import LogEntry, LogQuery
from headway_emulator.errors import ApiError, bad_request, invalid
from headway_emulator.filters import Both, Condition, Either
from headway_emulator.schema import parse
from headway_emulator.services.logging import filters as log_filters
from headway_emulator.services.logging.filters import FieldTest
from headway_emulator.services.logging.resources import LABEL_OF_KIND, descriptors, labels, resource_labels
from headway_emulator.services.logging.tail import follow
from headway_emulator.services.logging.writes import Writes
from headway_emulator.world import World

PAGE_SIZE = 50
MOST = 1000
LOOKED_AT = 4096
"""Entries that are read at once where a filter keeps few of those that the index finds."""
MOST_NAMES = 100
"""ListLogEntriesRequest: at most so many resources in one request."""
ORDERS = ("", "timestamp", "timestamp asc", "timestamp desc")
ARRIVAL = "arrival"
"""Not Google's: entries in the order in which they came, for who follows them; its pages have no end."""
OWNERS = tuple(f"resource.labels.{label}" for label in LABEL_OF_KIND.values())
READ = "logging.logEntries.list"
WINDOW_SECONDS = 60.0
"""The most that TailLogEntriesRequest.buffer_window may be."""


def service(world: World) -> Service:
    """Entries are kept as long as the state; buckets, views, sinks, metrics and exclusions are not there."""
    logging, writes = Logging(world), Writes(world)
    logs = "/v2/projects/{project}/logs"
    rules = [
        Rule("entries.list", "POST", "/v2/entries:list", logging.list_entries, READ),
        Rule("entries.write", "POST", "/v2/entries:write", writes.write, "logging.logEntries.create"),
        Rule("entries.tail", "POST", "/v2/entries:tail", logging.tail, READ),
        Rule("logs.list", "GET", logs, logging.list_logs, "logging.logs.list"),
        Rule("logs.delete", "DELETE", f"{logs}/{{log:path}}", logging.delete_log, "logging.logs.delete"),
        Rule("monitoredResourceDescriptors.list", "GET", "/v2/monitoredResourceDescriptors", descriptors),
    ]
    fidelity = (
        "entries of jobs, builds and clients, by the query language except sample(), source(), cast() and "
        "regexp_extract(); no buckets, views, sinks, metrics or exclusions"
    )
    return Service("logging", fidelity, rules)


class Logging:
    """LoggingServiceV2 except WriteLogEntries."""

    def __init__(self, world: World) -> None:
        self._world = world

    def list_entries(self, call: Call) -> Any:
        request = parse("logging", "v2", "ListLogEntriesRequest", call.body or {}, "")
        self._check_names(request)
        size = _page_size(request.get("pageSize", 0))
        order, token = request.get("orderBy", ""), request.get("pageToken", "")
        query, conditions = plan(request.get("filter", ""))
        if order == ARRIVAL:
            return self._arrivals(query, conditions, token, size)
        if order not in ORDERS:
            raise invalid(f'Unsupported order_by: "{order}". Use "timestamp asc" or "timestamp desc".')
        query = replace(query, descending=order.endswith("desc"))
        asked = json.dumps([request.get("filter", ""), query.descending])
        if token:
            query = replace(query, after=_read_token(token, asked))
        found = self._page(query, conditions, size)
        page: dict[str, Any] = {"entries": [shown for _, shown in found[:size]]} if found else {}
        if len(found) > size:
            page["nextPageToken"] = _token(found[size - 1][0], asked)
        return page

    def tail(self, call: Call) -> Any:
        request = parse("logging", "v2", "TailLogEntriesRequest", call.body or {}, "")
        self._check_names(request)
        if float(request.get("bufferWindow", "2s").removesuffix("s")) > WINDOW_SECONDS:
            raise invalid("buffer_window must be between 0 and 60000 milliseconds.")
        query, conditions = plan(request.get("filter", ""))
        start = self._world.store.newest_log()
        return follow(lambda after: self._arrived(query, conditions, after, MOST), start)

    def list_logs(self, call: Call) -> Any:
        self._world.check_project(call.path["project"])
        project = self._world.settings.project
        names = [f"projects/{project}/logs/{quote(log, safe='')}" for log in self._world.store.log_names()]
        size = call.page_size(50, 1000)
        start = int(call.query["pageToken"]) if call.query.get("pageToken", "").isdecimal() else 0
        page: dict[str, Any] = {"logNames": names[start : start + size]} if names[start:] else {}
        if names[start + size :]:
            page["nextPageToken"] = str(start + size)
        return page

    def delete_log(self, call: Call) -> Any:
        self._world.check_project(call.path["project"])
        log = unquote(call.path["log"])
        if not self._world.store.delete_log(log):
            raise ApiError("NOT_FOUND", f"Log {log} does not exist.")
        return {}

    def _page(
        self, query: LogQuery, conditions: Sequence[Condition], size: int
    ) -> list[tuple[LogEntry, dict[str, Any]]]:
        """One entry more than asked for is looked for, to know whether a next page exists."""
        found: list[tuple[LogEntry, dict[str, Any]]] = []
        step = size + 1
        while len(found) <= size:
            batch = self._world.store.logs(query, step)
            found += self._kept(batch, conditions)
            if len(batch) < step:
                break
            query = replace(query, after=(batch[-1].timestamp, batch[-1].seq))
            step = LOOKED_AT
        return found[: size + 1]

    def _arrivals(
        self, query: LogQuery, conditions: Sequence[Condition], token: str, size: int
    ) -> dict[str, Any]:
        """From now on where there is no token; there is always a next page."""
        if not token:
            return {"nextPageToken": _pack([self._world.store.newest_log(), ARRIVAL])}
        after, entries = self._arrived(query, conditions, _unpack(token, ARRIVAL), size)
        page: dict[str, Any] = {"entries": entries} if entries else {}
        return {**page, "nextPageToken": _pack([after, ARRIVAL])}

    def _arrived(
        self, query: LogQuery, conditions: Sequence[Condition], after: int, size: int
    ) -> tuple[int, list[dict[str, Any]]]:
        batch = self._world.store.arrived_logs(query, after, size)
        return (batch[-1].seq if batch else after), [shown for _, shown in self._kept(batch, conditions)]

    def _kept(
        self, batch: Sequence[LogEntry], conditions: Sequence[Condition]
    ) -> list[tuple[LogEntry, dict[str, Any]]]:
        pairs = [(entry, self._shown(entry)) for entry in batch]
        return [pair for pair in pairs if all(condition.holds(pair[1]) for condition in conditions)]

    def _shown(self, entry: LogEntry) -> dict[str, Any]:
        """As Google shows it; default values are left out."""
        stamps = {"insertId": entry.insert_id, "timestamp": entry.timestamp}
        severity = {} if entry.severity == "DEFAULT" else {"severity": entry.severity}
        if entry.more:
            return {**entry.more, **stamps, **severity, "receiveTimestamp": entry.origin}
        project = self._world.settings.project
        shown: dict[str, Any] = {
            "logName": f"projects/{project}/logs/{quote(entry.log, safe='')}",
            **stamps,
            **severity,
            "receiveTimestamp": entry.timestamp,
            "resource": {"type": entry.kind, "labels": resource_labels(entry, project)},
        }
        if entry.kind == "build":
            return {**shown, "textPayload": entry.payload["message"]}
        shown["jsonPayload"] = entry.payload
        return {**shown, "labels": given} if (given := labels(entry)) else shown

    def _check_names(self, request: Mapping[str, Any]) -> None:
        """Projects by id or number, and views of their buckets, which all show everything."""
        names = request.get("resourceNames", [])
        names = [*names, *(f"projects/{project}" for project in request.get("projectIds", []))]
        if not names:
            raise invalid("Required field is not set: resource_names.")
        if len(names) > MOST_NAMES:
            raise invalid(f"There are {len(names)} resource_names; at most {MOST_NAMES} are allowed.")
        for name in names:
            kind, _, rest = name.partition("/")
            if kind not in ("projects", "organizations", "folders", "billingAccounts") or not rest:
                raise invalid(f'Invalid resource name: "{name}". Use projects/[PROJECT_ID].')
            self._world.check_project(rest.split("/")[0] if kind == "projects" else name)


def plan(text: str) -> tuple[LogQuery, list[Condition]]:
    """What the store can narrow by itself, and the conditions that are then asked of each entry."""
    conditions = log_filters.parse(text)
    query = LogQuery()
    pending = list(conditions)
    while pending:
        match pending.pop():
            case FieldTest() as test:
                query = _narrowed(query, test)
            case Both(parts) | Either([_] as parts):
                pending += parts
    return query, conditions


def _narrowed(query: LogQuery, test: FieldTest) -> LogQuery:
    """Never drops an entry that the test would keep."""
    value, equal = test.value, test.operator == "="
    match test.path:
        case ("timestamp",) if test.operator in ("=", ">", ">="):
            query = replace(query, since=max(query.since, value))
            return replace(query, until=_earlier(query.until, value)) if equal else query
        case ("timestamp",) if test.operator in ("<", "<="):
            return replace(query, until=_earlier(query.until, value))
        case ("severity",) if not query.severities:
            return replace(query, severities=log_filters.severities(test.operator, value))
        case ("resource", "type") if equal:
            return replace(query, kind=value)
        case ("resource", "labels", "task_name") if equal:
            return replace(query, task=value)
        case ("logName",) if equal:
            return replace(query, log=unquote(value.partition("/logs/")[2]))
        case ("logName",) if test.operator == "log_id":
            return replace(query, log=value)
    if equal and ".".join(test.path) in OWNERS:
        return replace(query, owner=value.lower())
    return query


def _earlier(one: str, other: str) -> str:
    return min(one, other) if one else other


def _page_size(given: int) -> int:
    if given < 0:
        raise bad_request([("page_size", "page_size must not be negative.")])
    return min(given or PAGE_SIZE, MOST)


def _token(entry: LogEntry, asked: str) -> str:
    return _pack([entry.timestamp, entry.seq, asked])


def _read_token(token: str, asked: str) -> tuple[str, int]:
    """Good only for the request that it came from: "the values of other parameters should be identical"."""
    try:
        timestamp, seq, of = json.loads(base64.urlsafe_b64decode(token))
        parse_timestamp(timestamp)
    except (ValueError, TypeError, AttributeError) as error:
        raise invalid("page_token is invalid.") from error
    if of != asked or not isinstance(seq, int):
        raise invalid("page_token is invalid: it belongs to another request.")
    return str(timestamp), seq


def _unpack(token: str, kind: str) -> int:
    try:
        after, of = json.loads(base64.urlsafe_b64decode(token))
    except (ValueError, TypeError) as error:
        raise invalid("page_token is invalid.") from error
    if of != kind or not isinstance(after, int):
        raise invalid("page_token is invalid: it belongs to another request.")
    return after


def _pack(parts: list[Any]) -> str:
    return base64.urlsafe_b64encode(json.dumps(parts).encode()).decode()
