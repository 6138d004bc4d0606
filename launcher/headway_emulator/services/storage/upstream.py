"""The storage server behind the front: documents are read whole and repaired, objects are streamed."""

from __future__ import annotations

import json
import re
from collections.abc import AsyncIterator, Iterable, Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any
from urllib.parse import quote, urlencode

from starlette.datastructures import Headers
from starlette.responses import Response, StreamingResponse

if TYPE_CHECKING:
    import httpx

TIMEOUT = {"connect": 60.0, "read": 120.0, "write": 120.0, "pool": 60.0}
"""A server on loopback that is gone refuses at once: what takes long to connect is only a machine at work."""
MOST_CONNECTIONS, MOST_KEPT = 200, 64
NOT_FORWARDED = frozenset(
    [
        "connection",
        "date",
        "keep-alive",
        "proxy-connection",
        "te",
        "trailer",
        "transfer-encoding",
        "upgrade",
        "host",
    ]
)
LINK = re.compile(rb'"(selfLink|mediaLink)":"https?://[^/"]+/')
NUMBER = re.compile(rb'"projectNumber":"0"')


class UpstreamError(Exception):
    """The storage server did not answer; the message says what to look at."""


@dataclass(frozen=True)
class Reply:
    """A whole reply; its links still carry the server's own address."""

    status: int
    headers: Mapping[str, str]
    body: bytes

    def with_header(self, name: str, value: str) -> Reply:
        return replace(self, headers={**self.headers, name: value})

    def with_document(self, document: Mapping[str, Any]) -> Reply:
        kept = {name: value for name, value in self.headers.items() if name != "content-length"}
        body = json.dumps(document, separators=(",", ":"), ensure_ascii=False).encode()
        return replace(self, headers={**kept, "content-type": "application/json; charset=UTF-8"}, body=body)

    def response(self, base: str) -> Response:
        """For a client that reached the emulator at `base`: its links lead back there."""
        body = LINK.sub(lambda link: b'"' + link[1] + b'":"' + base.encode(), self.body)
        kept = {name: value for name, value in self.headers.items() if name != "content-length"}
        return Response(body, status_code=self.status, headers=kept)


class Upstream:
    """A pool of connections to the storage server, of which a start needs none."""

    def __init__(self, url: str, project_number: str) -> None:
        self._url = url.rstrip("/")
        self._number = b'"projectNumber":"%s"' % project_number.encode()
        self._transport: httpx.AsyncHTTPTransport | None = None

    async def close(self) -> None:
        if self._transport is not None:
            await self._transport.aclose()

    async def ask(
        self,
        method: str,
        path: str,
        query: Mapping[str, str],
        headers: Headers | None = None,
        body: AsyncIterator[bytes] | None = None,
    ) -> Reply:
        """Send, and read the whole reply; UpstreamError where there is none."""
        import httpx

        forwarded = _forwarded(headers, without=("accept-encoding",))
        response = await self._send(method, path, query, forwarded, body)
        try:
            content = await response.aread()
        except httpx.TransportError as error:
            raise self._failure(error) from error
        finally:
            await response.aclose()
        kept = {name: value for name, value in response.headers.items() if name not in NOT_FORWARDED}
        return Reply(response.status_code, kept, NUMBER.sub(self._number, content))

    async def stream(self, method: str, path: str, query: Mapping[str, str], headers: Headers) -> Response:
        """Send, and hand the reply's bytes on as they come."""
        response = await self._send(method, path, query, _forwarded(headers), None)
        answer = StreamingResponse(_pieces(response), status_code=response.status_code)
        answer.raw_headers = [
            (name.lower(), value)
            for name, value in response.headers.raw
            if name.lower().decode() not in NOT_FORWARDED
        ]
        return answer

    async def _send(
        self,
        method: str,
        path: str,
        query: Mapping[str, str],
        headers: Iterable[tuple[str, str]],
        body: AsyncIterator[bytes] | None,
    ) -> httpx.Response:
        import httpx

        if self._transport is None:
            limits = httpx.Limits(max_connections=MOST_CONNECTIONS, max_keepalive_connections=MOST_KEPT)
            self._transport = httpx.AsyncHTTPTransport(limits=limits)
        asked = f"?{urlencode(query, quote_via=quote)}" if query else ""
        request = httpx.Request(
            method,
            f"{self._url}{path}{asked}",
            headers=list(headers),
            content=body if method not in ("GET", "HEAD") else None,
            extensions={"timeout": TIMEOUT},
        )
        try:
            return await self._transport.handle_async_request(request)
        except httpx.TransportError as error:
            raise self._failure(error) from error

    def _failure(self, error: httpx.TransportError) -> UpstreamError:
        reason = str(error) or type(error).__name__
        return UpstreamError(f"The storage server at {self._url} did not answer: {reason}. Is it running?")


def _forwarded(headers: Headers | None, without: tuple[str, ...] = ()) -> list[tuple[str, str]]:
    if headers is None:
        return []
    return [(n, v) for n, v in headers.items() if n not in NOT_FORWARDED and n not in without]


async def _pieces(response: httpx.Response) -> AsyncIterator[bytes]:
    try:
        async for piece in response.aiter_raw():
            yield piece
    finally:
        await response.aclose()
