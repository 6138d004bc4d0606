"""Connections to the one port: deadlines, pieces, and what the server does with them at its end."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from typing import Any, cast

import pytest
import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse
from starlette.routing import Route
from uvicorn.server import ServerState

from headway_emulator import serving
from headway_emulator.authority import Authority
from headway_emulator.transparent import connect
from headway_emulator.transparent.by_host import ByHost
from headway_emulator.transparent.front import Front
from headway_emulator.transparent.splice import Arrival

Streams = tuple[asyncio.StreamReader, asyncio.StreamWriter]
Dial = Callable[[], Coroutine[Any, Any, Streams]]


def in_loop(work: Callable[..., Coroutine[Any, Any, None]], *given: Any) -> None:
    async def bounded() -> None:
        async with asyncio.timeout(20):
            await work(*given)

    asyncio.run(bounded())


@asynccontextmanager
async def served(folder: Path) -> AsyncIterator[tuple[Dial, ServerState]]:
    """A server that says by which path and host it was asked, or resets the connection it was asked on."""

    async def say(request: Request) -> PlainTextResponse:
        if request.url.path == "/reset":
            serving.reset(request.scope["extensions"][serving.TRANSPORT])
        return PlainTextResponse(f"{request.url.path} {request.scope['scheme']}")

    app = ByHost(Starlette(routes=[Route("/{path:path}", say)]), "emulator:1")
    config = uvicorn.Config(app, ws="none", lifespan="off", log_level="critical")
    config.load()
    state = ServerState()
    proxy = connect.Proxy(Authority(folder), Front("http://127.0.0.1:1"), "refuse")
    make = partial(serving.Gateway, proxy, config=config, server_state=state, app_state={})
    server = await asyncio.get_running_loop().create_server(make, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    async with server:
        yield partial(asyncio.open_connection, "127.0.0.1", port), state


async def _ask(dial: Dial, *pieces: bytes) -> bytes:
    reader, writer = await dial()
    for piece in pieces:
        writer.write(piece)
        await asyncio.sleep(0.01)
    answer = await reader.read(-1)
    writer.close()
    return answer


def test_a_request_that_comes_byte_by_byte_is_told_from_a_tunnel(tmp_path: Path) -> None:
    async def work() -> None:
        async with served(tmp_path) as (dial, _):
            close = b"Host: x\r\nConnection: close\r\n\r\n"
            for head in (b"COPY /a HTTP/1.1\r\n", b"PATCH /a HTTP/1.1\r\n", b"GET /a HTTP/1.1\r\n"):
                answer = await _ask(dial, *(bytes([byte]) for byte in head), close)
                assert answer.startswith((b"HTTP/1.1 200", b"HTTP/1.1 405")), answer
            tunnel = b"CONNECT example.com:443 HTTP/1.1\r\n\r\n"
            assert (await _ask(dial, *(bytes([byte]) for byte in tunnel))).startswith(b"HTTP/1.1 403")

    in_loop(work)


def test_a_host_of_googles_is_a_prefix(tmp_path: Path) -> None:
    async def work() -> None:
        async with served(tmp_path) as (dial, _):
            for host, said in (
                (b"us-central1-aiplatform.googleapis.com", b"/aiplatform/v1/x http"),
                (b"storage.googleapis.com", b"/v1/x http"),
                (b"127.0.0.1:8585", b"/v1/x http"),
                (b"pubsub.googleapis.com", b"pubsub.googleapis.com (GET /v1/x)"),
            ):
                head = b"GET /v1/x HTTP/1.1\r\nHost: %s\r\nConnection: close\r\n\r\n" % host
                assert said in await _ask(dial, head)

    in_loop(work)


def test_an_address_of_another_in_the_request_line_is_refused(tmp_path: Path) -> None:
    async def work() -> None:
        async with served(tmp_path) as (dial, _):
            for host, status in (
                (b"example.com", b"403"),
                (b"emulator:1", b"200"),
                (b"localhost:1", b"403"),
            ):
                head = b"GET http://%s/a HTTP/1.1\r\nHost: %s\r\nConnection: close\r\n\r\n" % (host, host)
                assert (await _ask(dial, head)).startswith(b"HTTP/1.1 " + status)

    in_loop(work)


def test_a_tunnel_request_and_a_handshake_have_their_time(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A client that stops in the middle does not hold a connection for ever."""
    monkeypatch.setattr(connect, "HEAD_SECONDS", 0.1)
    monkeypatch.setattr(connect, "HANDSHAKE_SECONDS", 0.2)

    async def work() -> None:
        async with served(tmp_path) as (dial, state):
            assert (await _ask(dial, b"CONNECT log")).startswith(b"HTTP/1.1 408")
            head = b"CONNECT logging.googleapis.com:443 HTTP/1.1\r\n\r\n"
            assert await _ask(dial, head) == connect.ESTABLISHED
            assert (await _ask(dial, head, b"\x16\x03")) == connect.ESTABLISHED
            await _until(lambda: not state.connections)

    in_loop(work)


def test_a_request_without_an_end_is_cut_off(tmp_path: Path) -> None:
    async def work() -> None:
        async with served(tmp_path) as (dial, _):
            answer = await _ask(dial, b"CONNECT " + b"x" * (connect.MAX_HEAD + 1))
            assert answer.startswith(b"HTTP/1.1 431")

    in_loop(work)


def test_the_servers_end_is_the_end_of_every_connection(tmp_path: Path) -> None:
    """In whatever state it is; uvicorn asks each of its connections to shut down, and waits for them."""

    async def work() -> None:
        async with served(tmp_path) as (dial, state):
            half, handshake, idle = await dial(), await dial(), await dial()
            half[1].write(b"CONNECT log")
            handshake[1].write(b"CONNECT logging.googleapis.com:443 HTTP/1.1\r\n\r\n")
            idle[1].write(b"GET /a HTTP/1.1\r\nHost: x\r\n\r\n")
            assert await handshake[0].readline() == b"HTTP/1.1 200 Connection established\r\n"
            await idle[0].readuntil(b"/a http")
            for connection in list(state.connections):
                connection.shutdown()
            await _until(lambda: not state.connections and not state.tasks)
            for _, writer in (half, handshake, idle):
                writer.close()

    in_loop(work)


def test_a_reset_is_seen_as_one(tmp_path: Path) -> None:
    async def work() -> None:
        async with served(tmp_path) as (dial, _):
            with pytest.raises(ConnectionResetError):
                await _ask(dial, b"GET /reset HTTP/1.1\r\nHost: x\r\n\r\n")

    in_loop(work)


async def _until(question: Callable[[], bool]) -> None:
    async with asyncio.timeout(5):
        while not question():
            await asyncio.sleep(0.01)


def test_a_hosts_name_is_never_a_path(tmp_path: Path) -> None:
    async def work() -> None:
        async with served(tmp_path / "state") as (dial, _):
            answer = await _ask(dial, b"CONNECT ../../../evil.googleapis.com:443 HTTP/1.1\r\n\r\n")
            assert answer.startswith(b"HTTP/1.1 403")
        assert not list(tmp_path.rglob("*evil*"))

    in_loop(work)


class Come:
    """A connection from an address."""

    def __init__(self, address: str) -> None:
        self.transport = self
        self._address = address

    def get_extra_info(self, name: str) -> tuple[str, int]:
        assert name == "peername"
        return self._address, 1


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "0.0.0.0", "::1", "::ffff:127.0.0.1"])
def test_the_machines_loopback_is_for_the_machine_alone(host: str) -> None:
    async def work() -> None:
        assert await connect._addresses(cast("Arrival", Come("127.0.0.1")), host, 1)
        with pytest.raises(connect.Refused, match="whose loopback is not for containers"):
            await connect._addresses(cast("Arrival", Come("172.18.0.5")), host, 1)
        assert await connect._addresses(cast("Arrival", Come("172.18.0.5")), "192.0.2.1", 1) == ["192.0.2.1"]

    in_loop(work)
