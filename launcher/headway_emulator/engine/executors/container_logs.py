"""Following a container's output line by line, with the engine's own timestamps."""

from __future__ import annotations

import struct
import time
from collections.abc import Iterator
from typing import TYPE_CHECKING, Literal

from docker.errors import NotFound

from headway_emulator.engine.clock import SECOND, nano_timestamp, parse_timestamp
from headway_emulator.engine.executors.protocol import Line

if TYPE_CHECKING:
    from docker import APIClient

HEADER = struct.Struct(">BxxxL")
"""A frame's header: stream number (1 stdout, 2 stderr) and length (Docker Engine API, "Stream format")."""
CHUNK = 1 << 16
MAX_LINE = 1 << 18
"""Bytes of one line that are kept, the size limit of a Cloud Logging entry."""
TAKE_IN_SECONDS = 2
"""An engine that needs longer may have dropped output."""


class Output:
    """What one container writes, read as often as its stream breaks; a line is handed over once.

    The engine keeps lines in the order in which they came, which need not be that of their timestamps. So it
    is their number that says where the reading goes on.
    """

    def __init__(self, client: APIClient, container: str, taken: int = 0) -> None:
        """`taken` lines were handed over by an emulator before this one."""
        self._client = client
        self._container = container
        self.taken = taken
        self._last = ""

    def follow(self) -> Iterator[list[Line]]:
        """Batches of whole lines until the container ends, or the stream breaks."""
        yield from self._batches(FrameParser(self.taken), self._chunks(follow=1))

    def rest(self) -> Iterator[list[Line]]:
        """What an ended container has left: an engine under load has been seen to end a stream too early."""
        if self._last and self._last == self._newest():
            return
        parser = FrameParser(self.taken)
        yield from self._batches(parser, self._chunks(follow=0))
        if lines := parser.finish():
            self.taken += len(lines)
            yield lines

    def _batches(self, parser: FrameParser, chunks: Iterator[bytes]) -> Iterator[list[Line]]:
        for chunk in chunks:
            if lines := parser.feed(chunk):
                self.taken += len(lines)
                self._last = lines[-1].timestamp
                yield lines

    def _newest(self) -> str:
        """The time of the last line that the engine has."""
        parser = FrameParser()
        lines = [line for chunk in self._chunks(follow=0, tail=1) for line in parser.feed(chunk)]
        lines += parser.finish()
        return lines[-1].timestamp if lines else ""

    def _chunks(self, **asked: int) -> Iterator[bytes]:
        """The SDK's own `logs()` cannot tell stdout from stderr, so the frames are read here."""
        params = {"stdout": 1, "stderr": 1, "timestamps": 1, **asked}
        url = f"{self._client.base_url}/v{self._client.api_version}/containers/{self._container}/logs"
        with self._client.get(url, params=params, stream=True, timeout=None) as response:
            if response.status_code == 404:
                raise NotFound(f"no container {self._container}")
            response.raise_for_status()
            while chunk := response.raw.read1(CHUNK):
                yield chunk


def created(client: APIClient, container: str) -> str:
    """When the container was made, with nine digits: no line of it is older."""
    return nano_timestamp(parse_timestamp(client.inspect_container(container)["Created"]))


def seconds_to_take_in(client: APIClient, container: str, finished: str) -> float:
    """How long after its end the engine was done with its output; 0 where that is no reason to worry.

    An engine that gets no processor time stops waiting for the output after 2 s and closes the log after 10 s
    more, and what it has not written then is lost: "Logger didn't exit in time: logs may be truncated".
    """
    end = parse_timestamp(finished)
    now = time.time_ns()
    if now - end < TAKE_IN_SECONDS * SECOND:
        return 0.0
    wanted = {"container": container, "event": "die"}
    told = client.events(since=end // SECOND, until=now // SECOND + 1, filters=wanted, decode=True)
    moments = [int(event["timeNano"]) for event in told]
    seconds = (moments[-1] - end) / SECOND if moments else 0.0
    return seconds if seconds >= TAKE_IN_SECONDS else 0.0


class FrameParser:
    """From the engine's frames to whole lines; each stream has its own unfinished line."""

    def __init__(self, skip: int = 0) -> None:
        """The first `skip` lines are left out."""
        self._skip = skip
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
        if self._skip:
            self._skip -= 1
            return None
        stamp, _, text = data.partition(b" ")
        timestamp = nano_timestamp(parse_timestamp(stamp.decode()))
        name: Literal["stdout", "stderr"] = "stderr" if stream == 2 else "stdout"
        return Line(timestamp, name, text.rstrip(b"\r\n").decode(errors="replace"))
