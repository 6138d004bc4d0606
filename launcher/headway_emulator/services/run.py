"""Cloud Run, as far as functions are its services: the addresses by which functions are called.

A call goes to the function's process as it came and comes back as it is, within the function's timeout.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Iterable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from starlette.concurrency import run_in_threadpool
from starlette.requests import ClientDisconnect, Request
from starlette.responses import PlainTextResponse, Response
from starlette.types import Receive, Scope, Send

from headway_emulator.api import faulting, passage
from headway_emulator.api.rest import Service
from headway_emulator.engine.functions.functions import CALLS, NotServed, Revision
from headway_emulator.engine.functions.instance import Instance, NotStarted
from headway_emulator.engine.store import Document
from headway_emulator.world import World

if TYPE_CHECKING:
    import httpx

MOST_BYTES = 32 << 20
"""Of a request: https://cloud.google.com/functions/quotas."""
HOLD_SECONDS = 25.0
"""Real time after which a virtual clock may step on although a function has not answered."""
CONNECT_SECONDS = 5.0
MOST_STARTS = 3
"""Of one revision for one call: its process ended again, or another call came first."""
MOST_REVISIONS = 10
"""That a call is passed on to, each replaced as it began."""
HOP_BY_HOP = (
    "connection",
    "keep-alive",
    "proxy-authorization",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
)
"""Headers of one connection (RFC 9110)."""
OF_THE_SERVER = ("date", "server")
FORBIDDEN = "Your client does not have permission to get URL {path} from this server."
NOT_FOUND = "The requested URL {path} was not found on this server."
BROKEN = (
    "The request failed because either the HTTP response was malformed or connection to the instance had an "
    "error."
)
"""The words of Cloud Run's request log."""


def service(world: World) -> Service:
    """No method of Cloud Run's API is here; each is answered 501 by its name."""
    fidelity = (
        "the addresses of functions, for any verb, path and body; without a bearer token the answer is 403, "
        "any token is good; one instance for each function; nothing of Cloud Run's own API"
    )
    return Service("run", fidelity, [], [Calls(world)])


@dataclass
class _Call:
    """A request on its way to a function, and the revision that has it now."""

    request: Request
    name: str
    revision: Revision


class Calls:
    """What a function's address answers: `path` with the function, and whatever follows it."""

    name = "routes.invoke"
    path = f"{CALLS.removeprefix('/run')}/{{location}}/{{function:path}}"
    permission = "run.routes.invoke"

    def __init__(self, world: World) -> None:
        self._world = world
        self._client: httpx.AsyncClient | None = None

    async def close(self) -> None:
        if (client := self._client) is not None:
            self._client = None
            await client.aclose()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        passage.name(scope, f"run.{self.name}", self.permission)
        await faulting.guard(self._respond, scope, receive, send)

    async def _respond(self, scope: Scope, receive: Receive, send: Send) -> None:
        request = Request(scope, receive)
        short, _, _ = scope["path_params"]["function"].partition("/")
        location = scope["path_params"]["location"]
        name = f"projects/{self._world.settings.project}/locations/{location}/functions/{short}"
        try:
            revision = await run_in_threadpool(self._world.functions.revision, name)
        except NotServed:
            await _page(404, NOT_FOUND, request)(scope, receive, send)
            return
        if not _token(request):
            await _page(403, FORBIDDEN, request)(scope, receive, send)
            return
        begun, call = time.monotonic(), _Call(request, name, revision)
        status = 0

        async def noted(message: Any) -> None:
            nonlocal status
            status = message.get("status", status)
            await send(message)

        try:
            with self._held():
                await self._answer(call, receive, noted)
        finally:
            told = _told(request, status, time.monotonic() - begun)
            await run_in_threadpool(self._world.functions.log(name, call.revision).request, told)

    @contextlib.contextmanager
    def _held(self) -> Iterator[None]:
        """A virtual clock stands while a function works, for so long."""
        hold = self._world.clock.working()
        letting = asyncio.get_running_loop().call_later(HOLD_SECONDS, hold.release)
        try:
            yield
        finally:
            letting.cancel()
            hold.release()

    async def _answer(self, call: _Call, receive: Receive, send: Send) -> None:
        request = call.request
        try:
            body = await _body(request)
        except ClientDisconnect:
            return
        if body is None:
            await PlainTextResponse("Request Entity Too Large", 413)(request.scope, receive, send)
            return
        try:
            await self._pass_on(call, body, receive, send)
        except NotServed:  # deleted meanwhile
            await _page(404, NOT_FOUND, request)(request.scope, receive, send)
        except NotStarted as error:
            text = f"The request was aborted because there was no available instance: {error}.\n"
            await PlainTextResponse(text, 503)(request.scope, receive, send)

    async def _pass_on(self, call: _Call, body: bytes, receive: Receive, send: Send) -> None:
        """To another instance where one was just ending: it has seen nothing of the request."""
        import httpx

        for left in (1, 0):
            instance = await self._entered(call)
            try:
                await self._through(call, body, instance, receive, send)
                return
            except httpx.ConnectError as error:
                await run_in_threadpool(instance.kill)
                if not left:
                    raise NotStarted(f"its process does not listen: {error}") from error
            finally:
                await run_in_threadpool(instance.leave)

    async def _entered(self, call: _Call) -> Instance:
        """An instance of the revision that is served now: one that is replaced meanwhile is left alone."""
        tried: list[str] = []
        while len(set(tried)) <= MOST_REVISIONS:
            call.revision, found = await run_in_threadpool(self._world.functions.enter, call.name)
            if isinstance(found, Instance):
                return found
            tried.append(call.revision.name)
            try:
                await asyncio.wrap_future(found)
            except NotStarted:
                served = await run_in_threadpool(self._world.functions.revision, call.name)
                if served.name == call.revision.name:
                    raise
            if tried.count(call.revision.name) > MOST_STARTS:
                break
        raise NotStarted("its process ends again and again")

    async def _through(
        self, call: _Call, body: bytes, instance: Instance, receive: Receive, send: Send
    ) -> None:
        import httpx

        request = call.request
        begun = False

        async def noted(message: Any) -> None:
            nonlocal begun
            begun = True
            await send(message)

        refusal: Response
        try:
            async with asyncio.timeout(call.revision.timeout):
                await self._exchange(request, body, instance, noted)
                return
        except TimeoutError:
            refusal = PlainTextResponse("upstream request timeout", 504)
        except httpx.ConnectError:
            raise
        except httpx.HTTPError:
            refusal = PlainTextResponse(f"{BROKEN}\n", 503)
        if begun:
            raise ConnectionError("the function's answer broke off")
        await refusal(request.scope, receive, send)

    async def _exchange(self, request: Request, body: bytes, instance: Instance, send: Send) -> None:
        import httpx

        if self._client is None:
            timeout = httpx.Timeout(None, connect=CONNECT_SECONDS)
            limits = httpx.Limits(max_connections=None, max_keepalive_connections=0)
            self._client = httpx.AsyncClient(timeout=timeout, limits=limits, trust_env=False)
        url = httpx.URL(f"http://127.0.0.1:{instance.port}").copy_with(raw_path=_target(request))
        asked = self._client.build_request(request.method, url, headers=_headers(request), content=body)
        reply = await self._client.send(asked, stream=True)
        try:
            shown = [
                (key.lower(), value)
                for key, value in reply.headers.raw
                if key.lower().decode("latin-1") not in (*HOP_BY_HOP, *OF_THE_SERVER)
            ]
            await send({"type": "http.response.start", "status": reply.status_code, "headers": shown})
            async for chunk in reply.aiter_raw():
                await send({"type": "http.response.body", "body": chunk, "more_body": True})
            await send({"type": "http.response.body", "body": b"", "more_body": False})
        finally:
            await reply.aclose()


async def _body(request: Request) -> bytes | None:
    """None where there is too much of it."""
    pieces, size = [], 0
    async for piece in _pieces(request):
        size += len(piece)
        if size > MOST_BYTES:
            return None
        pieces.append(piece)
    return b"".join(pieces)


def _pieces(request: Request) -> AsyncIterator[bytes]:
    return aiter(request.stream())


def _token(request: Request) -> str:
    kind, _, token = request.headers.get("authorization", "").partition(" ")
    return token.strip() if kind.lower() == "bearer" else ""


def _target(request: Request) -> bytes:
    """Path and query as the function sees them, encoded as they came."""
    raw: bytes = request.scope.get("raw_path") or request.url.path.encode()
    place = f"{CALLS}/{request.path_params['location']}/".encode()
    rest = raw.split(place, 1)[-1]
    _, slash, path = rest.partition(b"/")
    query: bytes = request.scope.get("query_string", b"")
    return b"/" + (path if slash else b"") + (b"?" + query if query else b"")


def _headers(request: Request) -> list[tuple[bytes, bytes]]:
    """As Google's front passes them on: an identity token without its signature."""
    found: Iterable[tuple[bytes, bytes]] = request.scope["headers"]
    kept = [
        (key, value)
        for key, value in found
        if key.decode("latin-1") not in (*HOP_BY_HOP, "content-length", "x-forwarded-proto", "forwarded")
    ]
    headers = [(key, _unsigned(value) if key == b"authorization" else value) for key, value in kept]
    client = request.client.host if request.client else "127.0.0.1"
    return [
        *headers,
        (b"x-forwarded-proto", b"https"),
        (b"forwarded", f'for="{client}";proto=https'.encode()),
    ]


def _unsigned(authorization: bytes) -> bytes:
    head, dot, _ = authorization.rpartition(b".")
    return head + b".SIGNATURE_REMOVED_BY_GOOGLE" if dot and head.count(b".") == 1 else authorization


def _page(status: int, text: str, request: Request) -> Response:
    """Google's front has HTML pages with these sentences."""
    title = {403: "403 Forbidden", 404: "404 Page not found"}[status]
    path = request.url.path.replace("&", "&amp;").replace("<", "&lt;")
    told = text.format(path=f"<code>{path}</code>")
    head = f"<html><head><title>{title}</title></head>"
    page = f"{head}<body><h1>Error: {title[4:]}</h1><h2>{told}</h2></body></html>\n"
    return Response(page, status, media_type="text/html")


def _told(request: Request, status: int, seconds: float) -> Document:
    """google.logging.type.HttpRequest."""
    told: Document = {
        "requestMethod": request.method,
        "requestUrl": str(request.url),
        "userAgent": request.headers.get("user-agent", ""),
        "latency": f"{seconds:.6f}s",
        "protocol": "HTTP/1.1",
    }
    return {**told, "status": status} if status else told
