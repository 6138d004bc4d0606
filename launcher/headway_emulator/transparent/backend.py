"""The emulator's REST API as the gRPC front calls it."""

from __future__ import annotations

import asyncio
import codecs
import json
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import asynccontextmanager
from typing import Any

import httpx
from google.rpc import code_pb2

from headway_emulator.transparent.transcoding import Rest, failed

LIMITS = httpx.Limits(max_connections=256, max_keepalive_connections=64)


class Backend:
    """A pool of connections; to be closed."""

    def __init__(self, url: str) -> None:
        self._client = httpx.AsyncClient(base_url=url, limits=LIMITS, trust_env=False, timeout=None)

    async def close(self) -> None:
        await self._client.aclose()

    async def call(self, rest: Rest, headers: Mapping[str, str], seconds: float) -> tuple[int, bytes]:
        """Status and content; Failed UNAVAILABLE or DEADLINE_EXCEEDED where no whole answer came."""
        async with self._response(rest, headers, seconds) as response:
            return response.status_code, await response.aread()

    async def stream(
        self, rest: Rest, headers: Mapping[str, str], seconds: float
    ) -> AsyncIterator[tuple[int, bytes]]:
        """The same for each element of a JSON array that comes bit by bit, or for an error as a whole."""
        async with self._response(rest, headers, seconds) as response:
            if not response.is_success:
                yield response.status_code, await response.aread()
                return
            elements = Elements()
            async for piece in response.aiter_bytes():
                for element in elements.feed(piece):
                    yield response.status_code, json.dumps(element).encode()

    @asynccontextmanager
    async def _response(
        self, rest: Rest, headers: Mapping[str, str], seconds: float
    ) -> AsyncIterator[httpx.Response]:
        try:
            async with (
                asyncio.timeout(seconds),
                self._client.stream(
                    rest.verb, rest.path, content=rest.body, headers=dict(headers)
                ) as response,
            ):
                yield response
        except TimeoutError as error:
            raise failed(code_pb2.DEADLINE_EXCEEDED, "Deadline Exceeded") from error
        except httpx.TransportError as error:
            text = f"The connection broke: {str(error) or type(error).__name__}"
            raise failed(code_pb2.UNAVAILABLE, text) from error


class Elements:
    """Reads a JSON array whose bytes come in pieces."""

    def __init__(self) -> None:
        self._characters = codecs.getincrementaldecoder("utf-8")()
        self._decoder = json.JSONDecoder()
        self._text = ""

    def feed(self, piece: bytes) -> Iterator[Any]:
        """The elements that are whole by now; they are objects."""
        self._text += self._characters.decode(piece)
        while True:
            self._text = self._text.lstrip("[, \r\n\t")
            try:
                element, end = self._decoder.raw_decode(self._text)
            except ValueError:  # its rest is still to come, or the array has ended
                return
            self._text = self._text[end:]
            yield element
