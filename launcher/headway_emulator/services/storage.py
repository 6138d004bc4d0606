"""Cloud Storage: a thin front before the real fake-gcs-server, streaming both ways.

It enforces the preconditions that the server ignores, under a lock for each object, and repairs the replies
that Google's own tools stumble over. Everything else passes through.
"""

from __future__ import annotations

import json
from collections import OrderedDict
from collections.abc import AsyncIterator, Mapping
from typing import Any
from urllib.parse import parse_qsl, quote, urlencode, urlsplit

from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse, Response
from starlette.types import Receive, Scope, Send

from headway_emulator.errors import ApiError, unimplemented
from headway_emulator.rest import error_response
from headway_emulator.services.storage_conditions import (
    ObjectLocks,
    Refusal,
    conditions,
    refusal,
    source_conditions,
)
from headway_emulator.services.storage_paths import (
    JSON_API,
    PRECONDITIONS,
    SOURCE_PRECONDITIONS,
    Target,
    target,
)
from headway_emulator.services.storage_uploads import final_chunk, multipart_name
from headway_emulator.services.storage_upstream import Reply, Upstream, UpstreamError

FIDELITY = (
    "fake-gcs-server on the file system, with preconditions on objects enforced; "
    "no versioning, IAM, lifecycle, holds or XML multipart uploads; declared checksums are not compared, "
    "and a patch leaves metageneration at 1"
)
REMEMBERED = 1000
"""Finished resumable uploads whose answer is kept, for a client that asks again."""


class Exchange:
    """One request on its way: what it is about, its query, and its body as a stream."""

    def __init__(self, request: Request, wanted: Target) -> None:
        self.request = request
        self.method = request.method
        self.target = wanted
        self.query = dict(request.query_params if wanted.query is None else wanted.query)
        self.conditions = conditions(request.query_params)
        self.body = request.stream()
        self.base = f"{request.url.scheme}://{request.headers.get('host', request.url.netloc)}/"

    def forwarded_query(self) -> dict[str, str]:
        """Without what was enforced here."""
        enforced = (*PRECONDITIONS, *SOURCE_PRECONDITIONS)
        return {name: value for name, value in self.query.items() if name not in enforced}

    async def drain(self) -> None:
        """Read and drop the body, so that a client in the middle of sending it gets to read the answer."""
        async for _ in self.body:
            pass


class StorageFront:
    """An ASGI application for every storage path."""

    def __init__(self, storage_url: str, project_number: str) -> None:
        self._upstream = Upstream(storage_url, project_number)
        self._locks = ObjectLocks()
        self._finished: OrderedDict[str, Reply] = OrderedDict()

    async def close(self) -> None:
        await self._upstream.close()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        request = Request(scope, receive)
        wanted = target(request.method, scope["raw_path"].decode(), request.query_params)
        try:
            response = await self._answer(Exchange(request, wanted))
        except ClientDisconnect:
            return
        except UpstreamError as error:
            response = error_response(ApiError("UNAVAILABLE", str(error)))
        await response(scope, receive, send)

    async def _answer(self, exchange: Exchange) -> Response:
        kind, method = exchange.target.kind, exchange.method
        if kind == "unsupported":
            await exchange.drain()
            return error_response(unimplemented(f"{method} {exchange.request.url.path} of Cloud Storage"))
        if kind == "layout":
            return await self._layout(exchange.target.bucket)
        if kind == "resumable":
            return await self._resume(exchange)
        if kind == "upload" and exchange.query.get("uploadType") == "resumable":
            return await self._begin(exchange)
        if kind in ("object", "media") and method in ("GET", "HEAD"):
            return await self._read(exchange)
        if kind in ("object", "upload", "compose", "rewrite"):
            return await self._change(exchange)
        if kind == "bucket" and exchange.conditions:
            current = await self._document(_bucket_path(exchange.target.bucket))
            if (refused := refusal(exchange.conditions, current, reading=method == "GET")) is not None:
                return _refused(refused)
        reply = await self._forward(exchange)
        if kind == "bucket" and method == "DELETE" and reply.status == 412:
            return _error(409, "The bucket you tried to delete is not empty.", "conflict")
        return reply.response(exchange.base)

    async def _forward(self, exchange: Exchange, head: bytes = b"") -> Reply:
        """The whole reply in memory: for documents, never for an object's bytes."""
        return await self._upstream.ask(
            exchange.target.method or exchange.method,
            exchange.target.path,
            exchange.forwarded_query(),
            exchange.request.headers,
            _joined(head, exchange.body),
        )

    async def _read(self, exchange: Exchange) -> Response:
        """Metadata or bytes; a stale ifGenerationMatch is 412 here and 404 at the server."""
        wanted = exchange.target
        if exchange.conditions:
            current = await self._metadata(wanted.bucket, wanted.name)
            refused = refusal(exchange.conditions, current, reading=True) if current is not None else None
            if refused is not None:
                return _refused(refused)
        if wanted.kind == "media":
            query = exchange.forwarded_query()
            return await self._upstream.stream(exchange.method, wanted.path, query, exchange.request.headers)
        return (await self._forward(exchange)).response(exchange.base)

    async def _change(self, exchange: Exchange) -> Response:
        """Upload, delete, patch, compose, rewrite: check and change under the object's lock."""
        wanted, head, name = exchange.target, b"", exchange.target.name
        if wanted.kind == "upload" and exchange.query.get("uploadType") == "multipart":
            content_type = exchange.request.headers.get("content-type", "")
            found, head = await multipart_name(content_type, exchange.body)
            name = name or found
        async with self._locks.hold(wanted.bucket, name):
            refused = await self._check(exchange, name)
            if refused is not None:
                await exchange.drain()
                return refused
            reply = await self._forward(exchange, head)
        if exchange.method == "DELETE" and reply.status == 200:
            return Response(status_code=204)
        return reply.response(exchange.base)

    async def _check(self, exchange: Exchange, name: str) -> Response | None:
        """The refusal, or None: also of a delete or patch that names a generation which is gone."""
        if (source := exchange.target.source) is not None:
            wanted = source_conditions(exchange.query)
            refused = refusal(wanted, await self._metadata(*source), reading=False) if wanted else None
            if refused is not None:
                return _refused(refused)
        generation = exchange.query.get("generation") if exchange.target.kind == "object" else None
        if not exchange.conditions and not generation:
            return None
        current = await self._metadata(exchange.target.bucket, name)
        if generation and (current is None or current["generation"] != generation):
            return _error(404, f"No such object: {exchange.target.bucket}/{name}#{generation}", "notFound")
        refused = refusal(exchange.conditions, current, reading=False)
        return None if refused is None else _refused(refused)

    async def _begin(self, exchange: Exchange) -> Response:
        """Start a resumable session; its preconditions travel in its address and are checked at its end."""
        head = b"".join([chunk async for chunk in exchange.body])
        try:
            name = exchange.target.name or str((json.loads(head) if head else {}).get("name", ""))
        except (ValueError, AttributeError):
            return _error(400, "Parse Error", "parseError")
        if (refused := await self._check(exchange, name)) is not None:
            return refused
        reply = await self._forward(exchange, head)
        if location := reply.headers.get("location"):
            parts = urlsplit(location)
            query = {**dict(parse_qsl(parts.query)), "name": name, **exchange.conditions}
            address = f"{exchange.base}{parts.path.lstrip('/')}?{urlencode(query, quote_via=quote)}"
            reply = reply.with_header("location", address)
        return reply.response(exchange.base)

    async def _resume(self, exchange: Exchange) -> Response:
        """A chunk, a question how far it is, or an end; only the last byte makes an object."""
        upload = exchange.query["upload_id"]
        if (finished := self._finished.get(upload)) is not None:
            await exchange.drain()
            return finished.response(exchange.base)
        if exchange.method == "DELETE" or not final_chunk(exchange.request.headers.get("content-range", "")):
            return (await self._forward(exchange)).response(exchange.base)
        async with self._locks.hold(exchange.target.bucket, exchange.target.name):
            if (refused := await self._check(exchange, exchange.target.name)) is not None:
                await exchange.drain()
                return refused
            reply = await self._forward(exchange)
        if reply.status in (200, 201):
            self._finished[upload] = reply
            while len(self._finished) > REMEMBERED:
                self._finished.popitem(last=False)
        return reply.response(exchange.base)

    async def _layout(self, bucket: str) -> Response:
        """The server has no storageLayout, which gcloud and gcsfs ask for first."""
        reply = await self._upstream.ask("GET", _bucket_path(bucket), {})
        if reply.status != 200:
            return reply.response("/")
        found = json.loads(reply.body)
        layout = {
            "kind": "storage#storageLayout",
            "bucket": bucket,
            "location": found.get("location", ""),
            "locationType": found.get("locationType", "region"),
            "hierarchicalNamespace": {"enabled": False},
        }
        return JSONResponse(layout)

    async def _metadata(self, bucket: str, name: str) -> Mapping[str, Any] | None:
        return await self._document(f"{_bucket_path(bucket)}/o/{quote(name, safe='')}")

    async def _document(self, path: str) -> Mapping[str, Any] | None:
        """The metadata of a bucket or object, None where there is none."""
        reply = await self._upstream.ask("GET", path, {})
        if reply.status != 200:
            return None
        document: Mapping[str, Any] = json.loads(reply.body)
        return document


async def _joined(head: bytes, rest: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    if head:
        yield head
    async for chunk in rest:
        if chunk:
            yield chunk


def _bucket_path(bucket: str) -> str:
    return f"{JSON_API}{quote(bucket, safe='')}"


def _refused(refused: Refusal) -> Response:
    if refused.status == 304:
        return Response(status_code=304)
    return JSONResponse(refused.body(), status_code=refused.status)


def _error(status: int, message: str, reason: str) -> Response:
    """An error as Cloud Storage's JSON API writes it."""
    errors = [{"message": message, "domain": "global", "reason": reason}]
    return JSONResponse({"error": {"code": status, "message": message, "errors": errors}}, status_code=status)
