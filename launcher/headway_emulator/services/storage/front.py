"""Cloud Storage: a thin front before the real fake-gcs-server, streaming both ways.

It enforces what the server ignores (preconditions under a lock for each object, declared checksums, names),
keeps what the server forgets (metagenerations, settings and policies of buckets), and repairs the replies
that Google's own tools stumble over. Everything else passes through.
"""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Mapping
from functools import partial
from typing import Any
from urllib.parse import parse_qsl, quote, unquote, urlencode, urlsplit

from starlette.concurrency import run_in_threadpool
from starlette.datastructures import Headers, MutableHeaders
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from headway_emulator.api import faulting, passage
from headway_emulator.api.rest import error_response
from headway_emulator.engine.clock import Clock, timestamp
from headway_emulator.engine.store import Store
from headway_emulator.errors import ApiError, unimplemented
from headway_emulator.services.storage import batch as storage_batch
from headway_emulator.services.storage import checks as storage_checks
from headway_emulator.services.storage import globs as storage_globs
from headway_emulator.services.storage import methods as storage_methods
from headway_emulator.services.storage.bucket_requests import BucketRequests, bucket_path
from headway_emulator.services.storage.buckets import Buckets
from headway_emulator.services.storage.checks import Mismatch, declared
from headway_emulator.services.storage.conditions import ObjectLocks, refusal, source_conditions
from headway_emulator.services.storage.exchange import Exchange, Refused, joined, not_emulated, refuse
from headway_emulator.services.storage.marks import Marks
from headway_emulator.services.storage.paths import Target, target
from headway_emulator.services.storage.sessions import Session, Sessions, place, without
from headway_emulator.services.storage.uploads import boundary, peeked, spooled
from headway_emulator.services.storage.upstream import Reply, Upstream, UpstreamError
from headway_emulator.settings import Settings

FIDELITY = (
    "fake-gcs-server on the file system, with preconditions, checksums, metagenerations, bucket settings and "
    "IAM policies by the front; policies and lifecycle rules have no effect; no versioning, retention, holds "
    "or XML multipart uploads; object names are file names"
)
ABOUT_BUCKETS = ("buckets", "bucket", "layout", "policy", "permissions")
READ = ("object", "media", "rewrite")
CHANGES = ("object", "upload", "compose", "rewrite")


class StorageFront:
    """An ASGI application for every storage path."""

    def __init__(self, settings: Settings, store: Store, clock: Clock) -> None:
        self._upstream = Upstream(settings.storage_url, settings.project_number)
        self._folder = settings.state
        self._locks = ObjectLocks()
        self._marks = Marks(store)
        self._clock = clock
        self._buckets = BucketRequests(self._upstream, Buckets(store), self._now)
        self._sessions = Sessions()

    async def close(self) -> None:
        await self._upstream.close()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        request = Request(scope, receive)
        wanted = target(request.method, scope["raw_path"].decode(), request.query_params)
        metadata: Mapping[str, Any] = {}
        if wanted.kind == "upload" and request.query_params.get("uploadType") == "multipart":
            metadata, receive = await peeked(receive, request.headers.get("content-type", ""))
        passage.name(scope, *storage_methods.method(request.method, wanted))
        about = {"bucket": wanted.bucket, "object": wanted.name or str(metadata.get("name", ""))}
        await faulting.guard(partial(self._serve, wanted, metadata), scope, receive, send, **about)

    async def _serve(
        self, wanted: Target, metadata: Mapping[str, Any], scope: Scope, receive: Receive, send: Send
    ) -> None:
        exchange = Exchange(Request(scope, receive), wanted, metadata, self._marks)
        try:
            response = await self._answer(exchange)
        except ClientDisconnect:
            return
        except Refused as refused:
            await exchange.drain()
            response = refused.response
        except Mismatch as mismatch:
            await exchange.drain()
            response = refuse(400, str(mismatch), "invalid").response
        except UpstreamError as error:
            response = error_response(ApiError("UNAVAILABLE", str(error)))
        await response(scope, receive, send)

    async def _answer(self, exchange: Exchange) -> Response:
        kind, method = exchange.target.kind, exchange.method
        if kind == "unsupported":
            what = f"{method} {exchange.request.url.path} of Cloud Storage"
            raise Refused(error_response(unimplemented(what)))
        self._check_place(exchange.target)
        if kind in ABOUT_BUCKETS:
            return await self._buckets.answer(exchange)
        if kind == "objects":
            return await self._list(exchange)
        if kind == "batch":
            return await storage_batch.answer(exchange, self)
        if kind == "resumable":
            return await self._resume(exchange)
        if kind == "upload" and exchange.query.get("uploadType") == "resumable":
            return await self._begin(exchange)
        if kind in ("object", "media") and method in ("GET", "HEAD"):
            return await self._read(exchange)
        if kind in CHANGES:
            return await self._change(exchange)
        return (await self._forward(exchange, exchange.body)).response(exchange.base)

    async def _forward(
        self, exchange: Exchange, body: AsyncIterator[bytes], headers: Headers | None = None
    ) -> Reply:
        """The whole reply in memory: for documents, never for an object's bytes."""
        return await self._upstream.ask(
            exchange.target.method or exchange.method,
            exchange.target.path,
            exchange.forwarded_query(),
            exchange.request.headers if headers is None else headers,
            joined(b"", body),
        )

    async def _read(self, exchange: Exchange) -> Response:
        """Metadata or bytes; a stale ifGenerationMatch is 412 here and 404 at the server."""
        wanted = exchange.target
        if exchange.conditions:
            current = await self._metadata(wanted.bucket, wanted.name)
            refused = refusal(exchange.conditions, current, reading=True) if current is not None else None
            if refused is not None:
                raise Refused(refused.response())
        if wanted.kind == "media":
            query = exchange.forwarded_query()
            response = await self._upstream.stream(
                exchange.method, wanted.path, query, exchange.request.headers
            )
            self._marks.show_headers(wanted.bucket, wanted.name, response.headers)
            return response
        return self._shown(await self._forward(exchange, exchange.body), exchange)

    async def _list(self, exchange: Exchange) -> Response:
        if exchange.query.get("softDeleted") == "true":
            raise not_emulated("soft deletion")
        reply = await self._forward(exchange, exchange.body)
        glob = exchange.query.get("matchGlob", "")
        if reply.status != 200 or not (glob or self._marks):
            return reply.response(exchange.base)
        page = json.loads(reply.body)
        items = [self._marks.shown(item) for item in page.get("items", [])]
        if glob:
            items = [item for item in items if storage_globs.matches(glob, item["name"])]
        kept = {name: value for name, value in page.items() if name != "items"}
        return reply.with_document({**kept, "items": items} if items else kept).response(exchange.base)

    async def _change(self, exchange: Exchange) -> Response:
        """Upload, delete, patch, compose, rewrite: check and change under the object's lock."""
        wanted = exchange.target
        name = wanted.name or str(exchange.metadata.get("name", ""))
        if wanted.kind != "object":
            self._check_name(name)
        if wanted.kind == "upload":
            await self._check(exchange, name)
            return _plain(await self._make(exchange, name, _checked(exchange))).response(exchange.base)
        async with self._locks.hold(wanted.bucket, name):
            current = await self._check(exchange, name)
            reply = await self._forward(exchange, exchange.body)
            if reply.status == 200 and exchange.method in ("PATCH", "PUT") and wanted.kind == "object":
                return await self._patched(current, reply, exchange)
            if reply.status == 200:
                await self._new(wanted.bucket, name)
        if exchange.method == "DELETE" and reply.status == 200:
            return Response(status_code=204)
        return _plain(reply).response(exchange.base)

    async def _make(self, exchange: Exchange, name: str, body: AsyncIterator[bytes]) -> Reply:
        """Send a body that makes an object: when all of it is here, after another check, under a lock."""
        bucket = exchange.target.bucket
        async with spooled(body, self._folder) as whole, self._locks.hold(bucket, name):
            await self._check(exchange, name)
            reply = await self._forward(exchange, whole, _in_pieces(exchange))
            if reply.status in (200, 201):
                await self._new(bucket, name)
        return reply

    async def _patched(self, before: Mapping[str, Any] | None, reply: Reply, exchange: Exchange) -> Response:
        """The generation stays, the metageneration counts; the server's own reply is no object resource."""
        after = await self._document(
            f"{bucket_path(exchange.target.bucket)}/o/{_quoted(exchange.target.name)}"
        )
        if before is None or after is None:
            return reply.response(exchange.base)
        await run_in_threadpool(self._marks.patched, before, after, self._now())
        return reply.with_document(self._marks.shown(after)).response(exchange.base)

    async def _new(self, bucket: str, name: str) -> None:
        if self._marks:
            await run_in_threadpool(self._marks.forget, bucket, name)

    def _check_place(self, wanted: Target) -> None:
        """Nothing that is read or changed lies outside of its bucket's folder."""
        if any(unquote(part) in (".", "..") for part in wanted.path.split("/")):
            raise refuse(400, f"Invalid path: '{wanted.path[:100]}'", "invalid")
        for bucket, name in filter(None, [(wanted.bucket, wanted.name), wanted.source]):
            if bucket and (wrong := storage_checks.bucket_refusal(bucket)) is not None:
                raise refuse(400, wrong, "invalid")
            if wanted.kind in READ and ".." in name.split("/"):
                raise refuse(404, f"No such object: {bucket}/{name}", "notFound")

    def _check_name(self, name: str) -> None:
        if (wrong := storage_checks.name_refusal(name)) is not None:
            raise refuse(400, wrong, "invalid")

    async def _check(self, exchange: Exchange, name: str) -> Mapping[str, Any] | None:
        """The object as it is; Refused, too for a delete or patch that names a generation which is gone."""
        if (source := exchange.target.source) is not None:
            wanted = source_conditions(exchange.query)
            refused = refusal(wanted, await self._metadata(*source), reading=False) if wanted else None
            if refused is not None:
                raise Refused(refused.response())
        current = await self._metadata(exchange.target.bucket, name)
        generation = exchange.query.get("generation") if exchange.target.kind == "object" else None
        if generation and (current is None or current["generation"] != generation):
            text = f"No such object: {exchange.target.bucket}/{name}#{generation}"
            raise refuse(404, text, "notFound")
        if (refused := refusal(exchange.conditions, current, reading=False)) is not None:
            raise Refused(refused.response())
        here = passage.of(exchange.request.scope)
        if here is not None and current is not None and exchange.target.kind in storage_methods.OVERWRITING:
            here.needs(storage_methods.DELETE)
        return current

    async def _begin(self, exchange: Exchange) -> Response:
        """Start a resumable session; its preconditions travel in its address and are checked at its end."""
        head = await exchange.whole()
        metadata = exchange.document(head)
        name = exchange.target.name or str(metadata.get("name", ""))
        self._check_name(name)
        await self._check(exchange, name)
        reply = await self._forward(exchange, joined(head, exchange.body))
        if location := reply.headers.get("location"):
            parts = urlsplit(location)
            query = {**dict(parse_qsl(parts.query)), "name": name, **exchange.conditions}
            address = f"{exchange.base}{parts.path.lstrip('/')}?{urlencode(query, quote_via=quote)}"
            reply = reply.with_header("location", address)
            sums = declared(exchange.request.headers, metadata)
            self._sessions.begin(query.get("upload_id", ""), sums)
        return reply.response(exchange.base)

    async def _resume(self, exchange: Exchange) -> Response:
        """A chunk, a question how far it is, or an end; only the last byte makes an object."""
        upload = exchange.query["upload_id"]
        async with self._locks.hold("", upload):
            session = self._sessions.find(upload)
            if session.finished is None and exchange.method != "DELETE":
                return await self._go_on(session, exchange)
            if session.finished is None:
                self._sessions.forget(upload)
                return (await self._forward(exchange, exchange.body)).response(exchange.base)
        await exchange.drain()
        return session.finished.response(exchange.base)

    async def _go_on(self, session: Session, exchange: Exchange) -> Response:
        """The bytes of this request that the server does not have yet."""
        where = place(exchange.request.headers.get("content-range", ""))
        begin, final = session.begin(where), session.ends_at(where)
        if not final and (where.last is None or where.last < session.size):
            await exchange.drain()
            return session.so_far()
        if not session.sums and session.size == 0:
            session.sums = declared(exchange.request.headers, {})
        sums = session.sums.copy()
        body = storage_checks.checked(without(exchange.body, session.size - begin), sums, last=final)
        if final:
            reply = await self._make(exchange, exchange.target.name, body)
            if reply.status in (200, 201):
                session.finished = reply
            return _plain(reply).response(exchange.base)
        piece = f"bytes {session.size}-{where.last}/*"
        reply = await self._forward(exchange, body, _in_pieces(exchange, piece))
        if reply.status != 308:
            return reply.response(exchange.base)
        session.size, session.sums = sums.size, sums
        return session.so_far()

    def _shown(self, reply: Reply, exchange: Exchange) -> Response:
        """An object's metadata with the generation that the client knows."""
        if reply.status == 200 and self._marks:
            reply = reply.with_document(self._marks.shown(json.loads(reply.body)))
        return reply.response(exchange.base)

    async def _metadata(self, bucket: str, name: str) -> Mapping[str, Any] | None:
        found = await self._document(f"{bucket_path(bucket)}/o/{_quoted(name)}")
        return None if found is None else self._marks.shown(found)

    async def _document(self, path: str) -> Mapping[str, Any] | None:
        """The server's metadata of an object, None where there is none."""
        reply = await self._upstream.ask("GET", path, {})
        if reply.status != 200:
            return None
        document: Mapping[str, Any] = json.loads(reply.body)
        return document

    def _now(self) -> str:
        return timestamp(self._clock.now_ns())


def _checked(exchange: Exchange) -> AsyncIterator[bytes]:
    """An upload's body, which ends before its end where it is not what was declared."""
    headers = exchange.request.headers
    sums = declared(headers, exchange.metadata)
    if not sums:
        return exchange.body
    if exchange.query.get("uploadType") == "multipart":
        mark = boundary(headers.get("content-type", ""))
        return storage_checks.checked_multipart(exchange.body, sums, mark)
    return storage_checks.checked(exchange.body, sums)


def _plain(reply: Reply) -> Reply:
    """The server's 500 is never a moment's: as 400 no client asks again for two minutes."""
    if reply.status != 500:
        return reply
    try:
        words = json.loads(reply.body)["error"]["message"]
    except (ValueError, KeyError, TypeError):
        words = reply.body.decode(errors="replace")[:200]
    message = f"The storage server cannot keep this object: {words}"
    error = {"code": 400, "message": message, "errors": [{"message": message, "reason": "invalid"}]}
    return Reply(400, reply.headers, b"").with_document({"error": error})


def _in_pieces(exchange: Exchange, content_range: str = "") -> Headers:
    """The request's headers without its length: the server learns the end of the body when it comes."""
    headers = MutableHeaders(raw=list(exchange.request.headers.raw))
    del headers["content-length"], headers["content-range"]
    if content_range:
        headers["content-range"] = content_range
    return headers


def _quoted(name: str) -> str:
    return quote(name, safe="")
