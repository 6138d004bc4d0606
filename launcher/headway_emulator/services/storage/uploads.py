"""What must be known of an upload before its bytes pass: the object's name, and that they all are here."""

from __future__ import annotations

import json
import re
import tempfile
from collections import deque
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from starlette.types import Message, Receive

METADATA_LIMIT = 1 << 20
MEMORY = 1 << 20
"""Bytes of an upload that are kept in memory; a larger one is a file without a name."""
PIECE = 1 << 18


async def multipart_metadata(content_type: str, body: AsyncIterator[bytes]) -> dict[str, Any]:
    """The object's metadata in the JSON part that comes first; empty where there is none."""
    mark = boundary(content_type)
    head = b""
    async for chunk in body:
        head += chunk
        if head.count(mark) >= 2 or len(head) > METADATA_LIMIT:
            break
    part = head.split(mark)[1] if head.count(mark) >= 2 else b""
    _, _, document = part.replace(b"\r\n", b"\n").partition(b"\n\n")
    try:
        metadata = json.loads(document.rstrip(b"\n-") or b"{}")
    except ValueError:
        return {}
    return metadata if isinstance(metadata, dict) else {}


async def peeked(receive: Receive, content_type: str) -> tuple[dict[str, Any], Receive]:
    """The metadata of a multipart upload, and a `receive` that gives the whole of it again."""
    seen: deque[Message] = deque()

    async def pieces() -> AsyncIterator[bytes]:
        more = True
        while more:
            seen.append(message := await receive())
            more = message.get("more_body", False)
            yield message.get("body", b"")

    metadata = await multipart_metadata(content_type, pieces())

    async def again() -> Message:
        return seen.popleft() if seen else await receive()

    return metadata, again


def boundary(content_type: str) -> bytes:
    """What stands before each part."""
    found = re.search(r"""boundary=(?:"([^"]+)"|'([^']+)'|([^;\s]+))""", content_type)
    return b"--" + (found[1] or found[2] or found[3]).encode() if found else b"--"


@asynccontextmanager
async def spooled(body: AsyncIterator[bytes], folder: Path) -> AsyncIterator[AsyncIterator[bytes]]:
    """The same bytes, once all are here: the storage server stands still while an object's bytes come."""
    with tempfile.SpooledTemporaryFile(MEMORY, dir=str(folder)) as file:
        async for piece in body:
            file.write(piece)
        file.seek(0)

        async def again() -> AsyncIterator[bytes]:
            while piece := file.read(PIECE):
                yield piece

        yield again()
