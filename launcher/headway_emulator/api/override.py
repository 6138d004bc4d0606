"""A GET that is too long for a URL, sent as a POST: Google's front takes it, and its Python client sends it.

Source: googleapiclient/http.py, which does so beyond 2,048 characters: `x-http-method-override: GET`, and the
query as a form in the body.
"""

from __future__ import annotations

from starlette.datastructures import Headers
from starlette.requests import ClientDisconnect, Request
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from headway_emulator.api import payload
from headway_emulator.api.rest import error_response
from headway_emulator.errors import ApiError

HEADER = b"x-http-method-override"
OF_BODY = (HEADER, b"content-type", b"content-length")


class MethodOverride:
    """Such a request becomes the GET that it stands for; all others pass."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or not _stands_for_get(scope):
            await self._app(scope, receive, send)
            return
        try:
            query = await payload.read(Request(scope, receive))
        except ApiError as error:
            await error_response(error)(scope, receive, send)
            return
        except ClientDisconnect:
            return
        headers = [(name, value) for name, value in scope["headers"] if name not in OF_BODY]
        await self._app({**scope, "method": "GET", "query_string": query, "headers": headers}, _nothing, send)


def _stands_for_get(scope: Scope) -> bool:
    headers = Headers(scope=scope)
    form = headers.get("content-type", "").startswith(payload.FORM)
    return scope["method"] == "POST" and form and headers.get(HEADER.decode(), "").upper() == "GET"


async def _nothing() -> Message:
    return {"type": "http.request", "body": b"", "more_body": False}
