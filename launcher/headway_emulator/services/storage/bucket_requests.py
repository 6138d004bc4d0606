"""Requests about buckets: the server knows that they are there, the front keeps what else they say."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from typing import Any
from urllib.parse import quote

from starlette.concurrency import run_in_threadpool
from starlette.responses import JSONResponse, Response

from headway_emulator.services.storage.buckets import Buckets
from headway_emulator.services.storage.checks import bucket_refusal
from headway_emulator.services.storage.conditions import refusal
from headway_emulator.services.storage.exchange import Exchange, Refused, joined, not_emulated, refuse
from headway_emulator.services.storage.paths import JSON_API
from headway_emulator.services.storage.upstream import Reply, Upstream


def bucket_path(bucket: str) -> str:
    return f"{JSON_API}{quote(bucket, safe='')}"


class BucketRequests:
    """Everything below /b that is not about an object."""

    def __init__(self, upstream: Upstream, buckets: Buckets, now: Callable[[], str]) -> None:
        self._upstream = upstream
        self._buckets = buckets
        self._now = now

    async def answer(self, exchange: Exchange) -> Response:
        wanted, method = exchange.target, exchange.method
        match wanted.kind, method:
            case "layout", _:
                return JSONResponse(_layout(await self._bucket(wanted.bucket)))
            case "policy" | "permissions", _:
                return await self._iam(exchange)
            case "buckets", "POST":
                return await self._create(exchange)
            case "buckets", _:
                return await self._list(exchange)
            case "bucket", "PATCH" | "PUT":
                return await self._change(exchange)
            case "bucket", "DELETE":
                return await self._delete(exchange)
        document = await self._bucket(wanted.bucket)
        self._check(exchange, document)
        return _reply(await run_in_threadpool(self._buckets.shown, document), exchange)

    async def _create(self, exchange: Exchange) -> Response:
        raw = await exchange.whole()
        body = exchange.document(raw)
        self._refuse_settings(body)
        if (wrong := bucket_refusal(str(body.get("name", "")))) is not None:
            raise refuse(400, wrong, "invalid")
        reply = await self._forward(exchange, raw)
        if reply.status != 200:
            return reply.response(exchange.base)
        document = await run_in_threadpool(self._buckets.created, json.loads(reply.body), body)
        return _reply(document, exchange)

    async def _change(self, exchange: Exchange) -> Response:
        body = exchange.document(await exchange.whole())
        self._refuse_settings(body)
        document = await self._bucket(exchange.target.bucket)
        self._check(exchange, document)
        merge = exchange.method == "PATCH"
        changed = await run_in_threadpool(
            lambda: self._buckets.changed(document, body, self._now(), merge=merge)
        )
        return _reply(changed, exchange)

    async def _delete(self, exchange: Exchange) -> Response:
        if exchange.conditions:
            self._check(exchange, await self._bucket(exchange.target.bucket))
        reply = await self._forward(exchange)
        if reply.status == 412:
            raise refuse(409, "The bucket you tried to delete is not empty.", "conflict")
        if reply.status != 200:
            return reply.response(exchange.base)
        await run_in_threadpool(self._buckets.deleted, exchange.target.bucket)
        return Response(status_code=204)

    async def _list(self, exchange: Exchange) -> Response:
        reply = await self._forward(exchange)
        if reply.status != 200:
            return reply.response(exchange.base)
        found = json.loads(reply.body)
        shown = await run_in_threadpool(
            lambda: [self._buckets.shown(item) for item in found.get("items", [])]
        )
        return _reply({**found, "items": shown} if shown else found, exchange)

    async def _iam(self, exchange: Exchange) -> Response:
        bucket = exchange.target.bucket
        body = exchange.document(await exchange.whole()) if exchange.method == "PUT" else {}
        await self._bucket(bucket)
        if exchange.target.kind == "permissions":
            asked = exchange.request.query_params.getlist("permissions")
            answer: dict[str, Any] = {"kind": "storage#testIamPermissionsResponse"}
            return JSONResponse(answer | ({"permissions": asked} if asked else {}))
        if exchange.method == "PUT":
            policy = await run_in_threadpool(self._buckets.set_policy, bucket, body)
            if policy is None:
                text = "At least one of the pre-conditions you specified did not hold."
                raise refuse(412, text, "conditionNotMet")
            return JSONResponse(policy)
        return JSONResponse(await run_in_threadpool(self._buckets.policy, bucket))

    async def _bucket(self, bucket: str) -> Mapping[str, Any]:
        """The server's document; Refused with the server's answer where there is none."""
        reply = await self._upstream.ask("GET", bucket_path(bucket), {})
        if reply.status != 200:
            raise Refused(reply.response("/"))
        document: Mapping[str, Any] = json.loads(reply.body)
        return document

    def _check(self, exchange: Exchange, document: Mapping[str, Any]) -> None:
        if not exchange.conditions:
            return
        shown = self._buckets.shown(document)
        refused = refusal(exchange.conditions, shown, reading=exchange.method == "GET")
        if refused is not None:
            raise Refused(refused.response())

    def _refuse_settings(self, body: Mapping[str, Any]) -> None:
        if (what := self._buckets.refused(body)) is not None:
            raise not_emulated(what)

    async def _forward(self, exchange: Exchange, body: bytes = b"") -> Reply:
        query, headers = exchange.forwarded_query(), exchange.request.headers
        content = joined(body, exchange.body)
        return await self._upstream.ask(exchange.method, exchange.target.path, query, headers, content)


def _reply(document: Mapping[str, Any], exchange: Exchange) -> Response:
    """Through `Reply`, which turns the links to the address that the client used."""
    body = json.dumps(document, separators=(",", ":")).encode()
    headers = {"content-type": "application/json; charset=UTF-8"}
    return Reply(200, headers, body).response(exchange.base)


def _layout(bucket: Mapping[str, Any]) -> Mapping[str, Any]:
    """The server has no storageLayout, which gcloud and gcsfs ask for first."""
    return {
        "kind": "storage#storageLayout",
        "bucket": bucket["name"],
        "location": bucket.get("location", ""),
        "locationType": bucket.get("locationType", "region"),
        "hierarchicalNamespace": {"enabled": False},
    }
