"""What must be known of an upload before its bytes pass: its object's name, and whether it ends here."""

from __future__ import annotations

import json
import re
from collections.abc import AsyncIterator

CONTENT_RANGE = re.compile(r"bytes (?P<first>\d+)-(?P<last>\d+)/(?P<total>\d+)")
METADATA_LIMIT = 1 << 20


async def multipart_name(content_type: str, body: AsyncIterator[bytes]) -> tuple[str, bytes]:
    """The object's name in the JSON part that comes first, or an empty string, and the bytes read so far."""
    boundary = _boundary(content_type)
    head = b""
    async for chunk in body:
        head += chunk
        if head.count(boundary) >= 2 or len(head) > METADATA_LIMIT:
            break
    part = head.split(boundary)[1] if head.count(boundary) >= 2 else b""
    _, _, document = part.replace(b"\r\n", b"\n").partition(b"\n\n")
    try:
        metadata = json.loads(document.rstrip(b"\n-") or b"{}")
    except ValueError:
        return "", head
    name = metadata.get("name", "") if isinstance(metadata, dict) else ""
    return str(name), head


def _boundary(content_type: str) -> bytes:
    found = re.search(r"""boundary=(?:"([^"]+)"|'([^']+)'|([^;\s]+))""", content_type)
    return b"--" + (found[1] or found[2] or found[3]).encode() if found else b"--"


def final_chunk(content_range: str) -> bool:
    """True where a request to a resumable session brings the object's last byte."""
    if not content_range:
        return True
    found = CONTENT_RANGE.fullmatch(content_range.strip())
    return found is not None and int(found["last"]) + 1 == int(found["total"])
