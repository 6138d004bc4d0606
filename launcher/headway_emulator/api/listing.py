"""The list methods that every Google API has: filter, order, page and mask over documents of the state."""

from __future__ import annotations

import base64
import binascii
import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice

from headway_emulator import filters, schema
from headway_emulator.api.rest import Call
from headway_emulator.engine.store import Document, Store
from headway_emulator.errors import invalid
from headway_emulator.filters import Condition


@dataclass(frozen=True)
class Listing:
    """One list method: the documents it shows, their field in the reply, and its limits."""

    kind: str
    plural: str
    page_size: int = 100
    most: int = 1000
    orders: tuple[str, ...] = ()
    """Fields, in camelCase, by which order_by may sort; newest first where it is not given."""
    reads: Callable[[str], Sequence[Condition]] = filters.parse
    """How its filter is read, where the service has names and values of its own."""

    def page(self, store: Store, prefix: str, call: Call, keep: Mapping[str, str] | None = None) -> Document:
        """One page of the documents whose name begins with `prefix`; `keep` are fields they must have."""
        wanted = self.reads(call.query.get("filter", ""))
        size = call.page_size(self.page_size, self.most)
        asked = json.dumps([call.url, call.query.get("filter", ""), call.query.get("orderBy", "")])
        order = call.query.get("orderBy", "")

        def held(document: Document) -> bool:
            same = all(document.get(name) == value for name, value in (keep or {}).items())
            return same and all(condition.holds(document) for condition in wanted)

        start = _read_token(call.query.get("pageToken", ""), asked)
        if order:
            found = ((0, document) for document in self._sorted(store, prefix, held, order)[start:])
        else:
            found = (pair for pair in store.scan(self.kind, prefix, before=start) if held(pair[1]))
        chosen = list(islice(found, size))
        page: Document = {}
        if chosen:
            mask = call.query.get("readMask", "")
            page[self.plural] = [masked(document, mask) for _, document in chosen]
        if len(chosen) == size and next(found, None) is not None:
            page["nextPageToken"] = _token(start + size if order else chosen[-1][0], asked)
        return page

    def _sorted(
        self, store: Store, prefix: str, held: Callable[[Document], bool], order: str
    ) -> list[Document]:
        """All of them in memory: who orders, pays for it."""
        found = [document for _, document in store.scan(self.kind, prefix) if held(document)]
        for part in reversed(order.split(",")):
            name, _, way = part.strip().partition(" ")
            field = schema.camel(name)
            if field not in self.orders or way.strip().lower() not in ("", "asc", "desc"):
                known = ", ".join(schema.snake(known) for known in self.orders)
                raise invalid(f'Invalid order_by: "{order}". It takes: {known or "nothing"}; asc or desc.')
            found.sort(key=lambda d, f=field: str(d.get(f, "")), reverse=way.strip().lower() == "desc")  # type: ignore[misc]
        return found


def masked(document: Document, mask: str) -> Document:
    """Only the top-level fields that a read_mask names."""
    if not mask or mask == "*":
        return document
    names = {schema.camel(part.strip().split(".")[0]) for part in mask.split(",")}
    return {name: value for name, value in document.items() if name in names}


def _token(position: int, asked: str) -> str:
    return base64.urlsafe_b64encode(json.dumps([position, _digest(asked)]).encode()).decode()


def _read_token(token: str, asked: str) -> int:
    """Zero for no token; a token is good only for the very request that it came from, as at Google."""
    if not token:
        return 0
    try:
        position, digest = json.loads(base64.urlsafe_b64decode(token))
    except (ValueError, TypeError, binascii.Error) as error:
        raise invalid("The provided page token is invalid.") from error
    if digest != _digest(asked) or not isinstance(position, int):
        raise invalid("The provided page token is invalid: it belongs to another request.")
    return position


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:12]
