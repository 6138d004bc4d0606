"""Listening on several addresses with one port, and running the server until a signal."""

from __future__ import annotations

import asyncio
import signal
import socket
from collections.abc import Callable, Sequence
from pathlib import Path

import uvicorn
from starlette.applications import Starlette

PORT_TRIES = 20
SHUTDOWN_SECONDS = 3
BACKLOG = 512


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


def serve(app: Starlette, sockets: list[socket.socket], started: Callable[[], None]) -> None:
    """Serve until SIGTERM or SIGINT; `started` is called when requests are answered."""
    config = uvicorn.Config(
        app,
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
