"""The HTTP CONNECT proxy: Google's hosts are answered here, others are tunnelled or refused as told.

A tunnel to one of Google's hosts ends here: TLS with a certificate of this stack's authority, then HTTP/1.1
to the emulator's own application, or (by ALPN) HTTP/2 to the gRPC front.
"""

from __future__ import annotations

import asyncio
import ipaddress
import socket
import ssl
from collections.abc import Callable, Coroutine, Sequence
from typing import Any, Literal

from uvicorn.server import ServerState

from headway_emulator import hosts
from headway_emulator.authority import Authority
from headway_emulator.transparent.front import Front, FrontFailed
from headway_emulator.transparent.splice import Arrival, Gone, splice

Tunnel = Literal["refuse", "pass"]
HEAD_SECONDS = 10.0
"""From the connection's first byte to the end of the CONNECT request's head."""
HANDSHAKE_SECONDS = 15.0
DIAL_SECONDS = 15.0
GOODBYE_SECONDS = 0.5
"""Wait for the peer's half of TLS's goodbye; pooled connections never send it."""
MAX_HEAD = 16 << 10
LOOPBACK = "127.0.0.1"
ESTABLISHED = b"HTTP/1.1 200 Connection established\r\n\r\n"


class Refused(Exception):
    """The answer to a CONNECT other than 200: its status line's end and a text for people."""

    def __init__(self, status: str, text: str) -> None:
        super().__init__(text)
        self.status = status

    def answer(self) -> bytes:
        body = f"headway-emulator: {self}\n".encode()
        head = f"HTTP/1.1 {self.status}\r\nContent-Type: text/plain; charset=utf-8\r\n"
        return f"{head}Content-Length: {len(body)}\r\nConnection: close\r\n\r\n".encode() + body


class Proxy:
    """Every connection that is not plain HTTP/1.1 to this server; each ends with the server."""

    def __init__(self, authority: Authority, front: Front, tunnel: Tunnel) -> None:
        self._authority = authority
        self._front = front
        self._tunnel = tunnel

    def connect(
        self,
        transport: asyncio.Transport,
        first: bytes,
        state: ServerState,
        http: Callable[[], asyncio.Protocol],
    ) -> None:
        arrival = Arrival(transport, first, state)
        self._begin(state, arrival, self._connect(arrival, http))

    def grpc(self, transport: asyncio.Transport, first: bytes, state: ServerState) -> None:
        arrival = Arrival(transport, first, state)
        self._begin(state, arrival, self._to_front(arrival, ""))

    def _begin(self, state: ServerState, arrival: Arrival, work: Coroutine[Any, Any, None]) -> None:
        arrival.work = asyncio.get_running_loop().create_task(_guarded(arrival, work))
        state.tasks.add(arrival.work)
        arrival.work.add_done_callback(state.tasks.discard)

    async def _connect(self, arrival: Arrival, http: Callable[[], asyncio.Protocol]) -> None:
        host, port = await _target(arrival)
        if not hosts.is_google(host):
            await self._pass(arrival, host, port)
        elif port != 443:
            raise Refused("403 Forbidden", f"Google's APIs are on port 443, not {port}: {host}.")
        else:
            await self._terminate(arrival, host, http)

    async def _terminate(self, arrival: Arrival, host: str, http: Callable[[], asyncio.Protocol]) -> None:
        context = await asyncio.to_thread(self._authority.context, host)
        arrival.transport.write(ESTABLISHED)
        secure = await asyncio.get_running_loop().start_tls(
            arrival.transport,
            arrival,
            context,
            server_side=True,
            ssl_handshake_timeout=HANDSHAKE_SECONDS,
            ssl_shutdown_timeout=GOODBYE_SECONDS,
        )
        if secure is None:
            raise Gone
        arrival.transport = secure
        found: ssl.SSLObject = secure.get_extra_info("ssl_object")
        if found.selected_alpn_protocol() == "h2":
            await self._to_front(arrival, hosts.prefix(host) or "")
        else:
            arrival.go_on_with(http())

    async def _to_front(self, arrival: Arrival, prefix: str) -> None:
        """HTTP/2 is gRPC here: its bytes go to the process that speaks it."""
        try:
            port = await self._front.port(prefix)
        except FrontFailed as error:
            raise Refused("503 Service Unavailable", str(error)) from error
        await _join(arrival, f"127.0.0.1:{port}", [LOOPBACK], port)

    async def _pass(self, arrival: Arrival, host: str, port: int) -> None:
        if self._tunnel == "refuse":
            raise Refused(
                "403 Forbidden",
                f"{host}:{port} is none of Google's APIs, and the emulator runs with --tunnel refuse. "
                "Add the host to no_proxy, or start the emulator with --tunnel pass.",
            )
        await _join(arrival, f"{host}:{port}", await _addresses(arrival, host, port), port, ESTABLISHED)


async def _join(
    arrival: Arrival, place: str, addresses: Sequence[str], port: int, greeting: bytes = b""
) -> None:
    try:
        async with asyncio.timeout(DIAL_SECONDS):
            await splice(arrival, addresses, port, greeting)
    except TimeoutError as error:
        raise Refused("504 Gateway Timeout", f"{place} does not answer.") from error
    except OSError as error:
        raise Refused("502 Bad Gateway", f"{place} cannot be reached: {error}.") from error


async def _addresses(arrival: Arrival, host: str, port: int) -> Sequence[str]:
    """The host's; Refused for what listens on this machine's loopback, where a container asks."""
    loop = asyncio.get_running_loop()
    try:
        async with asyncio.timeout(DIAL_SECONDS):
            found = await loop.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except TimeoutError as error:
        raise Refused("504 Gateway Timeout", f"{host} is not found in time.") from error
    except (OSError, UnicodeError) as error:  # UnicodeError: it is no name at all
        raise Refused("502 Bad Gateway", f"{host}:{port} cannot be reached: {error}.") from error
    addresses = [str(address[0]) for *_, address in found]
    peer = arrival.transport.get_extra_info("peername") or [""]
    if any(map(_is_loopback, addresses)) and not _is_loopback(str(peer[0])):
        text = f"{host} is the emulator's own machine, whose loopback is not for containers and others."
        raise Refused("403 Forbidden", text)
    return addresses


def _is_loopback(address: str) -> bool:
    """Unspecified addresses lead there as well."""
    try:
        found = ipaddress.ip_address(address.partition("%")[0])
    except ValueError:
        return False
    plain = getattr(found, "ipv4_mapped", None) or found
    return bool(plain.is_loopback or plain.is_unspecified)


async def _guarded(arrival: Arrival, work: Coroutine[Any, Any, None]) -> None:
    """Whatever fails ends this one connection, with a reason where the peer can still read one."""
    try:
        await work
    except Refused as refused:
        arrival.transport.write(refused.answer())
        arrival.transport.close()
    except (Gone, OSError, ssl.SSLError, TimeoutError):
        # for instance a client that does not trust the authority, and says so by leaving
        arrival.drop()
    except BaseException:  # a mistake of the emulator's own, for its log, or the server's end
        arrival.drop()
        raise


async def _target(arrival: Arrival) -> tuple[str, int]:
    """Host and port of the request; what a client sends behind the head before it is answered is an error."""
    try:
        async with asyncio.timeout(HEAD_SECONDS):
            head = await arrival.until(b"\r\n\r\n", MAX_HEAD)
    except TimeoutError as error:
        raise Refused("408 Request Timeout", "The CONNECT request did not end.") from error
    except ValueError as error:
        raise Refused("431 Request Header Fields Too Large", "The CONNECT request is too long.") from error
    words = head.split(b"\r\n", 1)[0].decode("latin-1").split(" ")
    host, _, port = words[1].rpartition(":") if len(words) == 3 else ("", "", "")
    if not host or not port.isdecimal() or not 0 < int(port) < 65536:
        raise Refused("400 Bad Request", "A CONNECT request names HOST:PORT.")
    return host.strip("[]").lower().rstrip("."), int(port)
