"""Many requests of the JSON API in one: multipart/mixed there and back.

Source: Google's page "Batch requests" of Cloud Storage: at most 100 calls, no uploads and downloads; a part's
Content-ID comes back with "response-" before it.
"""

from __future__ import annotations

import secrets
from collections.abc import Mapping
from email.message import Message as Part
from email.parser import BytesParser
from http import HTTPStatus
from typing import Any
from urllib.parse import unquote, urlsplit

from starlette.responses import Response
from starlette.types import ASGIApp, Message

from headway_emulator.api import passage
from headway_emulator.services.storage.exchange import Exchange, refuse

MOST = 100
HOP_HEADERS = (b"content-length", b"content-type", b"transfer-encoding")


async def answer(exchange: Exchange, front: ASGIApp) -> Response:
    """Each part is asked of the front as a request of its own, one after another."""
    kind = exchange.request.headers.get("content-type", "")
    raw = await exchange.whole()
    whole = BytesParser().parsebytes(b"Content-Type: " + kind.encode("latin-1") + b"\r\n\r\n" + raw)
    parts = whole.get_payload()
    if not whole.is_multipart() or not isinstance(parts, list):
        raise refuse(400, "Failed to parse batch request: it is no multipart/mixed.", "badRequest")
    if len(parts) > MOST:
        text = f"The batch request has {len(parts)} calls; at most {MOST} are allowed."
        raise refuse(400, text, "badRequest")
    mark = f"batch_{secrets.token_hex(12)}"
    answers = [await _one(part, exchange, front) for part in parts if isinstance(part, Part)]
    body = b"".join(b"--" + mark.encode() + b"\r\n" + found for found in answers) + f"--{mark}--\r\n".encode()
    return Response(body, headers={"content-type": f"multipart/mixed; boundary={mark}"})


async def _one(part: Part, exchange: Exchange, front: ASGIApp) -> bytes:
    payload = part.get_payload(decode=True)
    head, _, body = (
        (payload if isinstance(payload, bytes) else b"").replace(b"\r\n", b"\n").partition(b"\n\n")
    )
    line, *lines = head.decode("latin-1").split("\n")
    verb, _, address = line.partition(" ")
    headers = [
        (name.strip().lower().encode("latin-1"), value.strip().encode("latin-1"))
        for name, colon, value in (line.partition(":") for line in lines)
        if colon
    ]
    answer = _Answer()
    await front(_scope(exchange, verb, address.split(" ")[0], headers), _receive(body), answer.send)
    identity = str(part.get("Content-ID", "")).strip("<>")
    return answer.part(f"response-{identity}")


def _scope(exchange: Exchange, verb: str, address: str, headers: list[tuple[bytes, bytes]]) -> dict[str, Any]:
    """As if it had come alone; what it needs is counted with the batch."""
    parts = urlsplit(address)
    outer: Mapping[str, Any] = exchange.request.scope
    host = [(name, value) for name, value in outer["headers"] if name == b"host"]
    return {
        **outer,
        "method": verb,
        "path": unquote(parts.path),
        "raw_path": parts.path.encode(),
        "query_string": parts.query.encode(),
        "headers": [*host, *((n, v) for n, v in headers if n != b"host")],
        passage.KEY: passage.within(exchange.request.scope),
    }


def _receive(body: bytes) -> Any:
    async def receive() -> Message:
        return {"type": "http.request", "body": body, "more_body": False}

    return receive


class _Answer:
    """What one of them was answered."""

    def __init__(self) -> None:
        self._status = 500
        self._headers: list[tuple[bytes, bytes]] = []
        self._body = b""

    async def send(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self._status, self._headers = message["status"], list(message["headers"])
        else:
            self._body += message.get("body", b"")

    def part(self, identity: str) -> bytes:
        kind = dict(self._headers).get(b"content-type", b"application/json; charset=UTF-8")
        kept = [(name, value) for name, value in self._headers if name.lower() not in HOP_HEADERS]
        lines = [
            b"Content-Type: application/http",
            f"Content-ID: <{identity}>".encode(),
            b"",
            f"HTTP/1.1 {self._status} {HTTPStatus(self._status).phrase}".encode(),
            b"Content-Type: " + kind,
            f"Content-Length: {len(self._body)}".encode(),
            *(name + b": " + value for name, value in kept),
            b"",
            self._body,
            b"",
        ]
        return b"\r\n".join(lines)
