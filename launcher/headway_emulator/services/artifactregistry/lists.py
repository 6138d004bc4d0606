"""Lists of Artifact Registry that are made up when asked for: filter, order and page over plain documents."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Mapping, Sequence
from fnmatch import fnmatchcase
from typing import Any

from headway_emulator import filters, schema
from headway_emulator.api.rest import Call
from headway_emulator.engine.store import Document
from headway_emulator.errors import invalid
from headway_emulator.filters import Both, Comparison, Condition, Either, Not

PAGE_SIZE, MOST = 100, 1000
ORDERS = ("name", "createTime", "updateTime", "uploadTime")


def page(call: Call, documents: Sequence[Document], plural: str) -> Document:
    """One page, ordered by name unless the request says otherwise."""
    conditions = filters.parse(call.query.get("filter", ""))
    found = [d for d in documents if all(_holds(condition, d) for condition in conditions)]
    _sort(found, call.query.get("orderBy", ""))
    size, start = call.page_size(PAGE_SIZE, MOST), _start(call.query.get("pageToken", ""))
    reply: Document = {plural: found[start : start + size]} if found[start:] else {}
    if found[start + size :]:
        reply["nextPageToken"] = base64.urlsafe_b64encode(str(start + size).encode()).decode()
    return reply


def _holds(condition: Condition, document: Mapping[str, Any]) -> bool:
    """Without regard to case, and with * for any characters, as the lists' filters are documented."""
    match condition:
        case Comparison(name, "=" | ":" as operator, value) if value != "*":
            have = str(filters.lookup(document, name) or "").lower()
            wanted = value.lower().replace("[", "[[]").replace("?", "[?]")
            return fnmatchcase(have, f"*{wanted}*" if operator == ":" else wanted)
        case Both(parts):
            return all(_holds(part, document) for part in parts)
        case Either(parts):
            return any(_holds(part, document) for part in parts)
        case Not(part):
            return not _holds(part, document)
    return condition.holds(document)


def _sort(documents: list[Document], order: str) -> None:
    documents.sort(key=lambda document: str(document["name"]))
    name, _, way = order.strip().partition(" ")
    if not name:
        return
    field = schema.camel(name)
    if field not in ORDERS or way.strip().lower() not in ("", "asc", "desc"):
        known = ", ".join(schema.snake(known) for known in ORDERS)
        raise invalid(f'Invalid order_by: "{order}". It takes one of {known}; asc or desc.')
    documents.sort(key=lambda document: str(document.get(field, "")), reverse=way.strip().lower() == "desc")


def _start(token: str) -> int:
    try:
        start = int(base64.urlsafe_b64decode(token)) if token else 0
    except (ValueError, binascii.Error) as error:
        raise invalid("The provided page token is invalid.") from error
    if start < 0:
        raise invalid("The provided page token is invalid.")
    return start
