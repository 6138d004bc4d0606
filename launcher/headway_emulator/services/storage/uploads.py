"""What must be known of an upload before its bytes pass: its object's name, and whether it ends here."""

from __future__ import annotations

import json
import re
from collections import deque
from collections.abc import AsyncIterator
from typing import Any

from starlette.types import Message, Receive

CONTENT_RANGE = re.compile(r"bytes (?P<first>\d+)-(?P<last>\d+)/(?P<total>\d+)")
METADATA_LIMIT = 1 << 20


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


def final_chunk(content_range: str) -> bool:
    """True where a request to a resumable session brings the object's last byte."""
    if not content_range:
        return True
    found = CONTENT_RANGE.fullmatch(content_range.strip())
    return found is not None and int(found["last"]) + 1 == int(found["total"])


def first_byte(content_range: str) -> int:
    """The place in the object of a chunk's first byte."""
    found = re.match(r"bytes (\d+)-", content_range.strip())
    return int(found[1]) if found else 0
