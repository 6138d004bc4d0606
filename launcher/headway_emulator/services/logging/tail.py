"""entries.tail over REST: a JSON array that has no end, with an element for each batch of new entries."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from typing import Any

from starlette.concurrency import run_in_threadpool
from starlette.responses import StreamingResponse

POLL_SECONDS = 0.2

Arrived = Callable[[int], tuple[int, list[dict[str, Any]]]]
"""From the number of the last entry to that of the newest one, with what came between."""


def follow(arrived: Arrived, start: int) -> StreamingResponse:
    """What comes after entry `start`, until the client leaves."""
    return StreamingResponse(_pieces(arrived, start), media_type="application/json")


async def _pieces(arrived: Arrived, after: int) -> AsyncIterator[bytes]:
    between = b"["
    while True:
        after, entries = await run_in_threadpool(arrived, after)
        if entries:
            entries.sort(key=lambda entry: str(entry["timestamp"]))
            yield between + json.dumps({"entries": entries}).encode()
            between = b",\n"
        else:
            await asyncio.sleep(POLL_SECONDS)
