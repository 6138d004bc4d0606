"""What was asked of this emulator, below /emulator: the last requests, and the permissions they needed."""

from __future__ import annotations

from typing import Any

from headway_emulator.api.rest import Call, Rule
from headway_emulator.engine.clock import parse_timestamp, timestamp
from headway_emulator.errors import invalid
from headway_emulator.schema import integer
from headway_emulator.world import World

PAGE_SIZE = 100


def rules(world: World) -> list[Rule]:
    """Added to the emulator's own service."""
    records = Records(world)
    return [
        Rule("requests.list", "GET", "/emulator/requests", records.requests),
        Rule("requests.clear", "DELETE", "/emulator/requests", records.clear),
        Rule("permissions.list", "GET", "/emulator/permissions", records.permissions),
    ]


class Records:
    """The recorder's answers as documents."""

    def __init__(self, world: World) -> None:
        self._recorder = world.recorder

    def requests(self, call: Call) -> Any:
        """Newest first; `method` is a pattern such as aiplatform.*, `since` a time, pages as Google's."""
        since = call.query.get("since", "")
        before = integer(call.query.get("pageToken", "") or "0", "int64")
        if since:
            try:
                since = timestamp(parse_timestamp(since))  # as the record writes times, so that text compares
            except ValueError as error:
                raise invalid(f"since: {since!r} is no RFC 3339 time.") from error
        if before is None:
            raise invalid("The provided page token is invalid.")
        size = call.page_size(PAGE_SIZE, most=1000)
        found = self._recorder.requests(call.query.get("method", "") or "*", since, before, size + 1)
        page: dict[str, Any] = {"requests": [request for _, request in found[:size]]}
        if len(found) > size:
            page["nextPageToken"] = str(found[size - 1][0])
        return page

    def permissions(self, call: Call) -> Any:  # noqa: ARG002
        """What a role needs that is to allow all that was asked since the record was cleared."""
        return {"permissions": self._recorder.permissions()}

    def clear(self, call: Call) -> Any:  # noqa: ARG002
        self._recorder.clear()
        return {}
