"""What Google refuses of an upload: names that cannot be, and bytes that are not what was declared.

Source: Google's pages "Object naming requirements" and "Data validation"; the messages are Google's.
"""

from __future__ import annotations

import base64
import hashlib
import re
from collections.abc import AsyncIterator, Mapping
from typing import Any

BUCKET = re.compile(r"(?!.*\.\.)[a-z0-9][a-z0-9._-]{1,220}[a-z0-9]")
"""Source: Google's page "Bucket naming requirements"; a name is a folder of the storage server."""
NAME_BYTES = 1024
PART_BYTES = 255
"""The longest name of a file in the folder where fake-gcs-server keeps objects."""
KEPT_BACK = 1024
"""Bytes that go on only when all are checked: more than a multipart body has after its last byte of data."""


class Mismatch(Exception):
    """The bytes are not those that were declared; the message is Google's."""


def bucket_refusal(name: str) -> str | None:
    """Why no bucket can have that name, None where one can."""
    return None if BUCKET.fullmatch(name) else f"Invalid bucket name: '{name[:60]}'"


def name_refusal(name: str) -> str | None:
    """Why an object cannot have that name, None where it can."""
    size = len(name.encode())
    if size > NAME_BYTES:
        return (
            f"The maximum object length is {NAME_BYTES} characters, "
            f"but got a name with {size} characters: ''{name[:20]}...''"
        )
    if re.search(r"[\r\n]", name):
        return f"Disallowed unicode characters present in object name '{name[:60]!r}'"
    if name in (".", "..") or name.startswith(".well-known/acme-challenge/"):
        return f"Invalid object name: '{name[:60]}'"
    parts = name.removesuffix("/").split("/")
    if any(part in (".", "..", "") for part in parts):
        return f"The emulator keeps objects as files: none has '.', '..' or '//' in its name ('{name[:60]}')."
    if any(len(part.encode()) > PART_BYTES for part in parts):
        return (
            f"The emulator keeps objects as files: at most {PART_BYTES} bytes between two slashes of a name."
        )
    return None


class Declared:
    """The checksums that an upload declares, and those of the bytes so far."""

    def __init__(self, crc32c: str = "", md5: str = "") -> None:
        self.crc32c, self.md5 = crc32c, md5
        self.size = 0
        self._crc = 0
        self._md5 = hashlib.md5(usedforsecurity=False)

    def __bool__(self) -> bool:
        return bool(self.crc32c or self.md5)

    def copy(self) -> Declared:
        """One to go on with, which may come to nothing."""
        made = Declared(self.crc32c, self.md5)
        made.size, made._crc, made._md5 = self.size, self._crc, self._md5.copy()
        return made

    def add(self, data: bytes) -> None:
        import google_crc32c

        self.size += len(data)
        if self.crc32c:
            self._crc = google_crc32c.extend(self._crc, data)
        if self.md5:
            self._md5.update(data)

    def check(self) -> None:
        """Raises Mismatch."""
        calculated = base64.b64encode(self._crc.to_bytes(4, "big")).decode()
        if self.crc32c and calculated != self.crc32c:
            text = f'Provided CRC32C "{self.crc32c}" doesn\'t match calculated CRC32C "{calculated}".'
            raise Mismatch(text)
        calculated = base64.b64encode(self._md5.digest()).decode()
        if self.md5 and calculated != self.md5:
            raise Mismatch(
                f'Provided MD5 hash "{self.md5}" doesn\'t match calculated MD5 hash "{calculated}".'
            )


def declared(headers: Mapping[str, str], metadata: Mapping[str, Any]) -> Declared:
    """From the object's metadata, x-goog-hash (crc32c=..., md5=...) and content-md5."""
    hashes = dict(
        part.strip().split("=", 1) for part in headers.get("x-goog-hash", "").split(",") if "=" in part
    )
    md5 = metadata.get("md5Hash") or hashes.get("md5") or headers.get("content-md5", "")
    return Declared(str(metadata.get("crc32c") or hashes.get("crc32c", "")), str(md5))


async def checked(body: AsyncIterator[bytes], wanted: Declared, *, last: bool = True) -> AsyncIterator[bytes]:
    """The same bytes; Mismatch before the end of them is given on, so that no object is made."""
    held = b""
    async for piece in body:
        wanted.add(piece)
        held += piece
        if len(held) > KEPT_BACK:
            yield held[:-KEPT_BACK]
            held = held[-KEPT_BACK:]
    if last:
        wanted.check()
    yield held


async def checked_multipart(
    body: AsyncIterator[bytes], wanted: Declared, boundary: bytes
) -> AsyncIterator[bytes]:
    """The same for the second part of a multipart body, whose first part is the metadata."""
    end = b"\r\n" + boundary
    held, sent, inside = b"", b"", False
    async for piece in body:
        held += piece
        if not inside:
            begin = _data_begins(held, boundary)
            if begin < 0:
                continue
            sent, held, inside = held[:begin], held[begin:], True
            yield sent
        if len(held) > KEPT_BACK:
            go, held = held[:-KEPT_BACK], held[-KEPT_BACK:]
            wanted.add(go)
            yield go
    if inside:
        data = held[: held.rfind(end)] if end in held else held
        wanted.add(data)
        wanted.check()
    yield held


def _data_begins(head: bytes, boundary: bytes) -> int:
    """Where the bytes of the second part begin, or -1 where that is not there yet."""
    second = head.find(boundary, head.find(boundary) + len(boundary))
    if second < 0:
        return -1
    ends = [
        found + size
        for mark, size in ((b"\r\n\r\n", 4), (b"\n\n", 2))
        if (found := head.find(mark, second)) >= 0
    ]
    return min(ends, default=-1)
