"""One application for all of Google's hosts: the host of a request becomes the prefix of its path."""

from __future__ import annotations

from starlette.datastructures import Headers
from starlette.responses import PlainTextResponse
from starlette.types import ASGIApp, Receive, Scope, Send

from headway_emulator import hosts
from headway_emulator.api.rest import error_response
from headway_emulator.errors import unimplemented
from headway_emulator.serving import ABSOLUTE

NO_PLAIN_PROXY = (
    "headway-emulator: this proxy is for https alone: unset http_proxy, or name {host} in no_proxy "
    "(https_proxy is the variable that Google's clients need).\n"
)


class ByHost:
    """Requests for other hosts than Google's pass unchanged."""

    def __init__(self, app: ASGIApp, authority: str) -> None:
        self._app = app
        self._authority = authority

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        host = Headers(scope=scope).get("host", "")
        if hosts.is_google(host):
            await self._google(host, scope, receive, send)
        elif self._is_foreign(scope):
            named = scope["extensions"][ABSOLUTE]
            refusal = PlainTextResponse(NO_PLAIN_PROXY.format(host=named), status_code=403)
            await refusal(scope, receive, send)
        else:
            await self._app(scope, receive, send)

    async def _google(self, host: str, scope: Scope, receive: Receive, send: Send) -> None:
        prefix = hosts.prefix(host) or ""
        if not hosts.has(host, scope["path"]):
            refusal = error_response(unimplemented(f"{host} ({scope['method']} {scope['path']})"))
            await refusal(scope, receive, send)
            return
        # paths of the explicit way work on these hosts too: links in replies may lead there
        if prefix and not scope["path"].startswith(f"{prefix}/"):
            path, raw = f"{prefix}{scope['path']}", prefix.encode() + scope["raw_path"]
            scope = {**scope, "path": path, "raw_path": raw}
        await self._app(scope, receive, send)

    def _is_foreign(self, scope: Scope) -> bool:
        """Whether a request line names a host, as for a proxy, that is not this server."""
        named = scope.get("extensions", {}).get(ABSOLUTE)
        if named is None:
            return False
        server = scope.get("server") or ("", 0)
        own = {self._authority, f"{server[0]}:{server[1]}", f"localhost:{server[1]}"}
        return named not in own
