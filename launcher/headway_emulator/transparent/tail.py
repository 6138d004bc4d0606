"""LoggingServiceV2.TailLogEntries: new entries as they come, asked of entries:list again and again."""

from __future__ import annotations

import asyncio
import datetime
import json
from collections import OrderedDict
from collections.abc import AsyncIterator, Mapping
from typing import Any

from google.rpc import code_pb2

from headway_emulator.transparent.backend import Backend
from headway_emulator.transparent.methods import find
from headway_emulator.transparent.rules import LOGS
from headway_emulator.transparent.transcoding import failed, from_rest

NAME = f"{LOGS}/TailLogEntries"
POLL_SECONDS = 0.3
OVERLAP = datetime.timedelta(seconds=10)
"""Looked at again each time: entries do not appear in the order of their timestamps."""
REMEMBERED = 20_000
PAGE = 1000
SECONDS = 30.0


async def follow(
    backend: Backend, headers: Mapping[str, str], requests: AsyncIterator[bytes]
) -> AsyncIterator[bytes]:
    """Replies until the client leaves; its first message says what is followed, later ones change nothing."""
    method = await asyncio.to_thread(find, NAME)
    async for first in requests:
        wanted: Any = method.request.FromString(first)
        break
    else:
        raise failed(code_pb2.INVALID_ARGUMENT, "A tail begins with the resource names to follow.")
    clock = await backend.call("GET", "/emulator/clock", None, headers, SECONDS)
    begin = since = _time(clock.json()["now"])
    seen: OrderedDict[str, None] = OrderedDict()
    while True:
        entries = await _entries(backend, headers, list(wanted.resource_names), _filter(wanted.filter, since))
        fresh = [entry for entry in entries if entry["insertId"] not in seen]
        for entry in fresh:
            seen[entry["insertId"]] = None
            since = max(since, _time(entry["timestamp"]) - OVERLAP, begin)
        while len(seen) > REMEMBERED:
            seen.popitem(last=False)
        if fresh:
            yield from_rest(method, 200, json.dumps({"entries": fresh}).encode())
        await asyncio.sleep(POLL_SECONDS)


async def _entries(
    backend: Backend, headers: Mapping[str, str], names: list[str], wanted: str
) -> list[dict[str, Any]]:
    """All pages."""
    body = {"resourceNames": names, "filter": wanted, "orderBy": "timestamp asc", "pageSize": PAGE}
    entries: list[dict[str, Any]] = []
    while True:
        asked = json.dumps(body).encode()
        reply = await backend.call("POST", "/logging/v2/entries:list", asked, headers, SECONDS)
        if not reply.is_success:
            from_rest(find(NAME), reply.status_code, reply.content)
        page = reply.json()
        entries += page.get("entries", [])
        if not page.get("nextPageToken"):
            return entries
        body["pageToken"] = page["nextPageToken"]


def _filter(given: str, since: datetime.datetime) -> str:
    newer = f'timestamp>="{since.isoformat()}"'
    return f"({given}) AND {newer}" if given.strip() else newer


def _time(text: str) -> datetime.datetime:
    return datetime.datetime.fromisoformat(text)
