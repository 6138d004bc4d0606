"""Listening on several addresses with one port, and running the server until a signal.

One port is the API, the HTTP CONNECT proxy and plaintext gRPC: a connection's first bytes tell which.
"""

from __future__ import annotations

import asyncio
import signal
import socket
import struct
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any, Protocol, cast

import uvicorn
from starlette.types import ASGIApp
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol
from uvicorn.server import ServerState

PORT_TRIES = 20
SHUTDOWN_SECONDS = 3
BACKLOG = 512
TRANSPORT = "headway.transport"
"""Key of the scope's extensions below which a request finds its connection (an asyncio.Transport)."""
ABSOLUTE = "headway.absolute"
"""Likewise the host that a request line such as `GET http://host/path` names, as sent to a proxy."""
CONNECT = b"CONNECT "
PRIOR_KNOWLEDGE = b"PRI * HT"
"""How an HTTP/2 connection without TLS begins (RFC 9113, 3.4): a gRPC client with an insecure channel."""


def listen(hosts: Sequence[str], port: int) -> list[socket.socket]:
    """One socket for each host, all on one port; 0 picks one that is free on all. OSError where none is."""
    for attempt in range(PORT_TRIES):
        sockets: list[socket.socket] = []
        try:
            for host in hosts:
                sockets.append(_socket(host, sockets[0].getsockname()[1] if sockets else port))
        except OSError:
            for opened in sockets:
                opened.close()
            if port != 0 or not sockets or attempt == PORT_TRIES - 1:
                raise
        else:
            return sockets
    raise OSError("no port is free on all hosts")


def _socket(host: str, port: int) -> socket.socket:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    # With the protocol named, asyncio turns Nagle's algorithm off; without it each reply costs 40 ms.
    made = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    try:
        made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        made.bind((host, port))
        made.listen(BACKLOG)
    except OSError as error:
        made.close()
        raise OSError(error.errno, f"cannot listen on {host}:{port}: {error.strerror}") from error
    return made


class Doors(Protocol):
    """What takes over a connection that does not begin as HTTP/1.1 to this server.

    `first` is what came so far; `http` makes a protocol that goes on with HTTP/1.1 on a transport. What takes
    over is in `state.connections`, with a `shutdown` method, until its connection is closed.
    """

    def connect(
        self,
        transport: asyncio.Transport,
        first: bytes,
        state: ServerState,
        http: Callable[[], asyncio.Protocol],
    ) -> None: ...

    def grpc(self, transport: asyncio.Transport, first: bytes, state: ServerState) -> None: ...


class Gateway(HttpToolsProtocol):
    """uvicorn's HTTP/1.1, which hands other connections on and shows each request its connection."""

    def __init__(self, doors: Doors | None = None, **uvicorn_gives: Any) -> None:
        super().__init__(**uvicorn_gives)
        self._again = partial(Gateway, None, **uvicorn_gives)
        self._doors = doors
        self._first = b""

    def data_received(self, data: bytes) -> None:
        if self._doors is None:
            super().data_received(data)
            return
        self._first += data
        known = len(CONNECT)
        if any(begin.startswith(self._first[:known]) for begin in (CONNECT, PRIOR_KNOWLEDGE)):
            if len(self._first) >= known:
                self._hand_over(self._doors)
            return
        self._doors = None
        first, self._first = self._first, b""
        super().data_received(first)

    def _hand_over(self, doors: Doors) -> None:
        self.connections.discard(self)
        self._unset_keepalive_if_required()
        if self._first.startswith(CONNECT):
            doors.connect(self.transport, self._first, self.server_state, self._again)
        else:
            doors.grpc(self.transport, self._first, self.server_state)

    def on_message_begin(self) -> None:
        super().on_message_begin()
        self.scope["extensions"] = {TRANSPORT: cast("dict[Any, Any]", self.transport)}

    def on_headers_complete(self) -> None:
        if not self.url.startswith(b"/"):
            host = self.url.partition(b"://")[2].partition(b"/")[0].decode("ascii", "replace")
            self.scope["extensions"][ABSOLUTE] = cast("dict[Any, Any]", host)
        super().on_headers_complete()


def reset(transport: asyncio.Transport) -> None:
    """End a connection as a crash does: the peer sees RST, and what was not sent yet is lost."""
    held = transport.get_extra_info("socket")
    held.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    transport.abort()


def serve(
    app: ASGIApp, sockets: list[socket.socket], started: Callable[[], None], doors: Doors | None = None
) -> None:
    """Serve until SIGTERM or SIGINT; `started` is called when requests are answered."""
    config = uvicorn.Config(
        app,
        # any callable with the protocol's arguments will do, which the annotation does not say
        http=cast("type[asyncio.Protocol]", partial(Gateway, doors)),
        ws="none",
        proxy_headers=False,
        log_level="warning",
        access_log=False,
        timeout_graceful_shutdown=SHUTDOWN_SECONDS,
        timeout_keep_alive=75,
        server_header=False,
        lifespan="on",
    )
    asyncio.run(_run(uvicorn.Server(config), sockets, started))


async def _run(server: uvicorn.Server, sockets: list[socket.socket], started: Callable[[], None]) -> None:
    # uvicorn raises the signal again when it has stopped: this keeps the process alive to close its state.
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: setattr(server, "should_exit", True))
    serving = asyncio.create_task(server.serve(sockets=sockets))
    while not server.started and not serving.done():
        await asyncio.sleep(0.01)
    if server.started:
        started()
    await serving


def write_port(path: Path, port: int) -> None:
    """The port as text, whole or not at all: a reader never sees half of it."""
    partial = path.with_name(f"{path.name}.partial")
    partial.write_text(f"{port}\n")
    partial.replace(path)
