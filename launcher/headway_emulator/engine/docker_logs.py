"""Following a container's output line by line, with the engine's own timestamps."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from typing import TYPE_CHECKING, Literal

from docker.errors import NotFound

from headway_emulator.engine.clock import nano_timestamp, parse_timestamp
from headway_emulator.engine.executor import Line

if TYPE_CHECKING:
    from docker import APIClient

HEADER = struct.Struct(">BxxxL")
"""A frame's header: stream number (1 stdout, 2 stderr) and length (Docker Engine API, "Stream format")."""
CHUNK = 1 << 16
MAX_LINE = 1 << 18
"""Bytes of one line that are kept, the size limit of a Cloud Logging entry."""


def read(client: APIClient, container: str, since: str, *, follow: bool) -> Iterator[list[Line]]:
    """Batches of lines after `since` (nine digits, or empty): those there are, or until the container ends.

    The SDK's own `logs()` cannot tell stdout from stderr, so the frames are read here.
    """
    params: dict[str, str | int] = {
        "follow": int(follow),
        "stdout": 1,
        "stderr": 1,
        "timestamps": 1,
        "since": _engine_time(since),
    }
    url = f"{client.base_url}/v{client.api_version}/containers/{container}/logs"
    with client.get(url, params=params, stream=True, timeout=None) as response:
        if response.status_code == 404:
            raise NotFound(f"no container {container}")
        response.raise_for_status()
        parser = FrameParser(since)
        while chunk := response.raw.read1(CHUNK):
            if lines := parser.feed(chunk):
                yield lines
        if lines := parser.finish():
            yield lines


def _engine_time(since: str) -> str:
    if not since:
        return "0"
    seconds, nanoseconds = divmod(parse_timestamp(since), 1_000_000_000)
    return f"{seconds}.{nanoseconds:09d}"


class FrameParser:
    """From the engine's frames to whole lines; each stream has its own unfinished line."""

    def __init__(self, since: str = "") -> None:
        self._since = since
        self._buffer = bytearray()
        self._partial: dict[int, bytearray] = {}

    def feed(self, chunk: bytes) -> list[Line]:
        self._buffer += chunk
        lines: list[Line] = []
        position = 0
        while len(self._buffer) - position >= HEADER.size:
            stream, length = HEADER.unpack_from(self._buffer, position)
            end = position + HEADER.size + length
            if len(self._buffer) < end:
                break
            lines += self._frame(stream, bytes(self._buffer[position + HEADER.size : end]))
            position = end
        del self._buffer[:position]
        return lines

    def finish(self) -> list[Line]:
        """The unfinished last lines, when the stream has ended."""
        rest = [self._line(stream, bytes(data)) for stream, data in self._partial.items() if data]
        self._partial.clear()
        return [line for line in rest if line is not None]

    def _frame(self, stream: int, data: bytes) -> Iterator[Line]:
        """A frame is one line, or a 16 KB part of a long one; each part carries a timestamp of its own."""
        partial = self._partial.setdefault(stream, bytearray())
        if partial:
            data = data.partition(b" ")[2]
        if len(partial) < MAX_LINE:
            partial += data
        if data.endswith(b"\n"):
            line = self._line(stream, bytes(partial))
            partial.clear()
            if line is not None:
                yield line

    def _line(self, stream: int, data: bytes) -> Line | None:
        stamp, _, text = data.partition(b" ")
        timestamp = nano_timestamp(parse_timestamp(stamp.decode()))
        if timestamp <= self._since:
            return None
        name: Literal["stdout", "stderr"] = "stderr" if stream == 2 else "stdout"
        return Line(timestamp, name, text.rstrip(b"\r\n").decode(errors="replace"))
