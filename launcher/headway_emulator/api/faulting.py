"""Faults of responses: errors that no method gave, delays, and connections that break.

A fault of the kind "response" is taken before the method runs. A `status` is answered without running it;
every `break` but "reset" runs it, so that what the client asked for is done though it cannot know.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Mapping
from functools import partial
from typing import Any

from starlette.concurrency import run_in_threadpool
from starlette.requests import ClientDisconnect
from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from headway_emulator.api import passage
from headway_emulator.engine.faults import RESPONSE
from headway_emulator.errors import HTTP_OF_STATUS
from headway_emulator.serving import TRANSPORT, reset

LONGEST = 600.0
"""Real seconds after which a stall or a delay ends, whatever the client does."""
LEAVE_SECONDS = 5.0
STATUS_OF_HTTP: Mapping[int, str] = {
    **{number: status for status, number in HTTP_OF_STATUS.items()},
    400: "INVALID_ARGUMENT",
    409: "ABORTED",
}
MESSAGES: Mapping[int, str] = {
    401: "Request had invalid authentication credentials.",
    403: "The caller does not have permission",
    429: "Resource has been exhausted (e.g. check quota).",
    500: "Internal error encountered.",
    503: "The service is currently unavailable.",
    504: "Deadline expired before operation could complete.",
}
STORAGE_REASONS: Mapping[int, str] = {
    401: "authError",
    403: "forbidden",
    408: "requestTimeout",
    429: "rateLimitExceeded",
    500: "internalError",
    502: "badGateway",
    503: "backendError",
    504: "gatewayTimeout",
}
"""Source: Google's page "HTTP status and error codes for JSON" of Cloud Storage."""


async def guard(app: ASGIApp, scope: Scope, receive: Receive, send: Send, **facts: str) -> None:
    """Run `app`, spoiled by the fault that is armed for this request, if any; `facts` say on what."""
    here = passage.of(scope)
    fault = None
    if here is not None and here.faults.armed(RESPONSE):
        take = partial(here.faults.take, RESPONSE, method=here.method, path=scope["path"], **facts)
        fault = await run_in_threadpool(take)
    if here is None or fault is None:
        await app(scope, receive, send)
        return
    here.fault = described(fault)
    await asyncio.sleep(min(float(fault.get("delay", 0)), LONGEST))
    if "status" in fault:
        await _drain(receive)
        response = JSONResponse(error(here.method, fault), status_code=int(fault["status"]))
        await response(scope, receive, send)
        return
    match fault.get("break"):
        case "reset":
            # all of it unless told: a client that is still sending takes a reset for a plain end
            await _drain(receive, fault.get("after_bytes"))
            reset(scope["extensions"][TRANSPORT])
            await _gone(receive, LEAVE_SECONDS)
        case str(how):
            await _broken(how, fault, app, scope, receive, send)
        case _:
            await app(scope, receive, send)


def described(fault: Mapping[str, Any]) -> str:
    """Such as "503", "delay 2 s" or "truncate, after 100 bytes"."""
    words = [f"delay {fault['delay']} s"] if "delay" in fault else []
    if "status" in fault:
        words.append(str(fault["status"]))
    elif "break" in fault:
        words.append(str(fault["break"]))
    if "after_bytes" in fault:
        words.append(f"after {fault['after_bytes']} bytes")
    return ", ".join(words)


def error(method: str, fault: Mapping[str, Any]) -> dict[str, Any]:
    """The body that Google sends with that status: Cloud Storage has a form of its own."""
    code = int(fault["status"])
    message = fault.get("message") or MESSAGES.get(code, "Backend Error")
    if method.startswith("storage."):
        reason = STORAGE_REASONS.get(code, "backendError")
        errors = [{"message": message, "domain": "global", "reason": reason}]
        return {"error": {"code": code, "message": message, "errors": errors}}
    status = STATUS_OF_HTTP.get(code, "UNKNOWN")
    return {"error": {"code": code, "message": message, "status": status}}


class _Ended(OSError):
    """Nothing more of the answer is to go out."""


async def _broken(
    how: str, fault: Mapping[str, Any], app: ASGIApp, scope: Scope, receive: Receive, send: Send
) -> None:
    """The method runs; of its answer goes out what the fault lets through."""
    let = None if how == "drop" else fault.get("after_bytes")
    if how == "truncate" and let is None:
        let = -1  # the middle, once the length is known
    with contextlib.suppress(_Ended, ClientDisconnect):
        await app(scope, receive, _Valve(send, let))
    if how == "stall":
        await _gone(receive, LONGEST)
    scope["extensions"][TRANSPORT].close()
    await _gone(receive, LEAVE_SECONDS)


class _Valve:
    """A `send` that lets so many bytes of the body through: None means nothing at all, -1 the half."""

    def __init__(self, send: Send, let: int | None) -> None:
        self._send = send
        self._left = let

    async def __call__(self, message: Message) -> None:
        if self._left is None:
            return
        if message["type"] == "http.response.start":
            if self._left < 0:
                headers = {name.lower(): value for name, value in message["headers"]}
                self._left = int(headers.get(b"content-length", b"0")) // 2
            await self._send(message)
            return
        piece = message.get("body", b"")[: self._left]
        self._left -= len(piece)
        await self._send({"type": "http.response.body", "body": piece, "more_body": True})
        if self._left == 0:
            raise _Ended


async def _drain(receive: Receive, most: int | None = None) -> None:
    """Read the request's body, or about so many bytes of it."""
    seen = 0
    while most is None or seen < most:
        message = await receive()
        seen += len(message.get("body", b""))
        if not message.get("more_body", False):
            return


async def _gone(receive: Receive, seconds: float) -> None:
    """Wait until the client has gone, or for so long."""
    try:
        async with asyncio.timeout(seconds):
            while (await receive())["type"] != "http.disconnect":
                pass
    except TimeoutError:
        pass
