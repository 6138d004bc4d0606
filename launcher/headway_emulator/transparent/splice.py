"""Connections that wait until it is known what goes on with them, and two connections that become one."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable, Sequence
from typing import Any, cast

from uvicorn.server import ServerState

KEPT = 256 << 10
"""A peer that sends more than this before it is answered is cut off."""


class Gone(Exception):
    """The peer left."""


class Arrival(asyncio.Protocol):
    """A connection whose bytes are kept until something goes on with it.

    It counts as one of the server's connections until its transport is closed, so that the server ends it.
    """

    def __init__(self, transport: asyncio.Transport, first: bytes, state: ServerState) -> None:
        self.transport = transport
        self.gone = False
        self.work: asyncio.Task[None] | None = None
        """What decides how to go on; it ends with the server."""
        self.ended_halves = 0
        self._kept = bytearray(first)
        self._news = asyncio.Event()
        self._state = state
        # the server asks nothing of its connections but `shutdown`
        state.connections.add(cast("Any", self))
        transport.set_protocol(self)

    def data_received(self, data: bytes) -> None:
        self._kept += data
        if len(self._kept) > KEPT:
            self.transport.abort()
        self._news.set()

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002
        self.gone = True
        self._news.set()
        self.leave()

    def shutdown(self) -> None:
        """The server ends."""
        if self.work is not None:
            self.work.cancel()
        self.drop()

    def drop(self) -> None:
        """End the connection at once; that it is lost is not told in the middle of a TLS handshake."""
        self.transport.abort()
        self.leave()

    def leave(self) -> None:
        """The server no longer counts it."""
        self._state.connections.discard(cast("Any", self))

    async def until(self, end: bytes, most: int) -> bytes:
        """What was sent up to and with `end`; ValueError beyond `most` bytes, Gone where the peer left."""
        while (at := self._kept.find(end)) < 0:
            if len(self._kept) > most:
                raise ValueError("no end")
            if self.gone:
                raise Gone
            self._news.clear()
            await self._news.wait()
        found = bytes(self._kept[: at + len(end)])
        del self._kept[: at + len(end)]
        return found

    def take(self) -> bytes:
        """What came meanwhile."""
        kept = bytes(self._kept)
        self._kept.clear()
        return kept

    def go_on_with(self, protocol: asyncio.Protocol) -> None:
        """Another protocol gets the connection and what came meanwhile; Gone where the peer left."""
        if self.gone:
            raise Gone
        self.leave()
        self.transport.set_protocol(protocol)
        protocol.connection_made(self.transport)
        if kept := self.take():
            protocol.data_received(kept)


class End(asyncio.Protocol):
    """One end of two joined connections; `other` is the transport that its bytes go to."""

    def __init__(self, arrival: Arrival, other: asyncio.Transport, greeting: bytes = b"") -> None:
        self._arrival = arrival
        self._other = other
        self._greeting = greeting

    def connection_made(self, transport: asyncio.BaseTransport) -> None:  # noqa: ARG002
        if self._greeting:
            self._other.write(self._greeting)

    def data_received(self, data: bytes) -> None:
        self._other.write(data)

    def eof_received(self) -> bool:
        """The other way stays open where a connection can be closed by halves, which TLS cannot."""
        self._arrival.ended_halves += 1
        if self._arrival.ended_halves > 1 or not self._arrival.transport.can_write_eof():
            return False
        self._other.write_eof()
        return True

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002
        self._other.close()
        self._arrival.leave()

    def pause_writing(self) -> None:
        self._other.pause_reading()

    def resume_writing(self) -> None:
        self._other.resume_reading()


async def splice(arrival: Arrival, addresses: Sequence[str], port: int, greeting: bytes) -> None:
    """Dial the first that answers, and join both connections until one ends; OSError where none does."""
    near = arrival.transport
    far = await _dial(lambda: End(arrival, near, greeting), addresses, port)
    if arrival.gone:
        far.abort()
        raise Gone
    near.set_protocol(End(arrival, far))
    far.write(arrival.take())


async def _dial(end: Callable[[], End], addresses: Sequence[str], port: int) -> asyncio.Transport:
    loop = asyncio.get_running_loop()
    refused = OSError("it has no address")
    for address in addresses:
        try:
            far, _ = await loop.create_connection(end, address, port, proto=socket.IPPROTO_TCP)
        except OSError as error:
            refused = error
        else:
            return far
    raise refused
