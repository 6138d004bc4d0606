"""What was asked of a running emulator, as tables for a terminal."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any
from urllib.parse import urlencode

from headway_emulator.asking import ask

PAGE = 1000
CALLER_WIDTH = 40


def requests(url: str, method: str = "*", since: str = "", limit: int = 50) -> list[Mapping[str, Any]]:
    """The last `limit` requests that fit, oldest first; Refused where no emulator answers at `url`."""
    found: list[Mapping[str, Any]] = []
    token = ""
    while len(found) < limit:
        query = {
            "method": method,
            "since": since,
            "pageSize": min(PAGE, limit - len(found)),
            "pageToken": token,
        }
        page = ask(url, "GET", f"/emulator/requests?{urlencode(query)}")
        found += page["requests"]
        token = page.get("nextPageToken", "")
        if not token:
            break
    return found[::-1]


def permissions(url: str) -> list[Mapping[str, Any]]:
    """Every permission that was needed since the record began, with the method that needed it."""
    found: list[Mapping[str, Any]] = ask(url, "GET", "/emulator/permissions")["permissions"]
    return found


def request_table(found: Sequence[Mapping[str, Any]]) -> str:
    """One line for each request."""
    rows = [
        [
            request["time"][11:23],
            str(request["status"] or "cut"),
            f"{request['ms']:.0f} ms",
            request["method"] or f"{request['verb']} {request['path']}",
            request["permission"] or "-",
            _caller(request["caller"]),
            request["fault"],
        ]
        for request in found
    ]
    return _table(["time", "status", "took", "method", "permission", "caller", "fault"], rows)


def permission_table(found: Sequence[Mapping[str, Any]]) -> str:
    """One line for each permission: the list that a least-privilege role needs."""
    methods: dict[str, list[str]] = {}
    counts: dict[str, int] = {}
    for row in found:
        methods.setdefault(row["permission"], []).append(row["method"])
        counts[row["permission"]] = counts.get(row["permission"], 0) + row["requests"]
    rows = [[name, str(counts[name]), ", ".join(of)] for name, of in methods.items()]
    return _table(["permission", "requests", "methods"], rows)


def _caller(words: str) -> str:
    """A client's name and version: the rest of what it says of itself is about its machine."""
    parts = words.split()
    chosen = next((part for part in parts if part.startswith(("gccl/", "model-builder/", "gapic/"))), "")
    return (chosen or (parts[0] if parts else "-"))[:CALLER_WIDTH]


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    widths = [max(len(row[column]) for row in [head, *rows]) for column in range(len(head))]
    lines = [
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)) for row in [head, *rows]
    ]
    return "\n".join(line.rstrip() for line in lines) + "\n"
