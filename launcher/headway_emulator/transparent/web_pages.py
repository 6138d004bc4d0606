"""Nothing for web pages: the port asks for no password, and a browser would send whatever a page tells it to.

A page of any site could otherwise start a job, which runs a command on this machine: by a request across
sites, which browsers mark with its origin, or with a name of its own that leads here (DNS rebinding).
"""

from __future__ import annotations

import ipaddress
from urllib.parse import urlsplit

from starlette.datastructures import Headers
from starlette.types import ASGIApp, Receive, Scope, Send

from headway_emulator import hosts
from headway_emulator.api.rest import error_response
from headway_emulator.errors import ApiError

PRIVATE = ("localhost", "localdomain", "local", "internal", "lan", "svc", "test")
"""Last parts of names that no site on the internet has."""


class NoWebPages:
    """Requests by an address, by a name without a public domain, by Google's names, and by `own` pass."""

    def __init__(self, app: ASGIApp, own: str) -> None:
        self._app = app
        self._own = _host(own)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        refusal = self.refusal(Headers(scope=scope)) if scope["type"] == "http" else None
        if refusal is None:
            await self._app(scope, receive, send)
        else:
            await error_response(ApiError("PERMISSION_DENIED", refusal))(scope, receive, send)

    def refusal(self, headers: Headers) -> str | None:
        """Why the request is refused, None where it is not."""
        origin, host = headers.get("origin"), _host(headers.get("host", ""))
        if origin is not None and not self._is_near(urlsplit(origin).hostname or ""):
            return (
                f"The emulator answers no web page, and {origin} is the origin of one: "
                "only pages that this machine itself serves may ask it."
            )
        if host and not hosts.is_google(host) and not self._is_known(host):
            return (
                f"The emulator does not answer by the name {host}, which a web site may have led here: "
                f"start it with --public-url http://{host}:PORT where the name is its own."
            )
        return None

    def _is_near(self, host: str) -> bool:
        """Whether a page from there is of this machine."""
        if host in ("localhost", self._own) or host.endswith(".localhost"):
            return True
        return (address := _address(host)) is not None and address.is_loopback

    def _is_known(self, host: str) -> bool:
        first, _, last = host.rpartition(".")
        return host == self._own or not first or last in PRIVATE or _address(host) is not None


def _host(authority: str) -> str:
    """Without the port; in lower case."""
    try:
        return (urlsplit(f"//{authority}").hostname or "").rstrip(".")
    except ValueError:
        return authority.lower()


def _address(host: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    try:
        return ipaddress.ip_address(host)
    except ValueError:
        return None
