"""Google's GAPIC clients in every form, sync and async, over REST and over gRPC, called alike."""

from __future__ import annotations

import asyncio
import importlib
import inspect
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from tests.contract.servers import Emulator

CALL_SECONDS = 30.0
"""For an operation to end, and for a call."""


@dataclass(frozen=True)
class Service:
    """A client's module and class, and the prefix of its REST address here, where it has REST."""

    module: str
    client: str
    prefix: str = ""

    def kind(self, transport: str) -> Any:
        asynchronous = "asyncio" in transport
        name = self.client.replace("Client", "AsyncClient") if asynchronous else self.client
        return getattr(importlib.import_module(self.module), name)


@dataclass(frozen=True)
class Form:
    """One client; a call that is awaited in the async forms is awaited."""

    client: Any
    runner: asyncio.Runner

    def call(self, method: str, **request: Any) -> Any:
        """The reply; of a method that answers with an operation, the operation's result."""
        reply = self._awaited(getattr(self.client, method)(request=request, timeout=CALL_SECONDS))
        if hasattr(reply, "operation"):
            return self._awaited(reply.result(timeout=CALL_SECONDS))
        return reply

    def all(self, method: str, **request: Any) -> list[Any]:
        """The items of a list, over all its pages."""
        pager = self._awaited(getattr(self.client, method)(request=request, timeout=CALL_SECONDS))
        return self.runner.run(_items(pager)) if hasattr(pager, "__aiter__") else list(pager)

    def _awaited(self, reply: Any) -> Any:
        return self.runner.run(_result(reply)) if inspect.isawaitable(reply) else reply


@contextmanager
def opened(emulator: Emulator, service: Service, transport: str) -> Iterator[Form]:
    """A client of the service over `transport`: grpc, grpc_asyncio, rest or rest_asyncio."""
    with asyncio.Runner() as runner:
        client = runner.run(_made(emulator, service, transport))
        yield Form(client, runner)
        closed = client.transport.close()
        if inspect.isawaitable(closed):
            runner.run(_result(closed))


async def _made(emulator: Emulator, service: Service, transport: str) -> Any:
    """Made inside the loop, which is where the async forms want to be."""
    import grpc
    from google.auth.aio.credentials import AnonymousCredentials as AsyncCredentials
    from google.auth.credentials import AnonymousCredentials

    kind = service.kind(transport)
    if "rest" in transport:
        credentials = AsyncCredentials() if transport == "rest_asyncio" else AnonymousCredentials()
        options = {"api_endpoint": f"{emulator.url}/{service.prefix}"}
        return kind(transport=transport, credentials=credentials, client_options=options)
    address = emulator.url.removeprefix("http://")
    channel = (grpc.aio if transport == "grpc_asyncio" else grpc).insecure_channel(address)
    return kind(transport=kind.get_transport_class(transport)(channel=channel))


async def _items(pager: Any) -> list[Any]:
    return [item async for item in pager]


async def _result(reply: Any) -> Any:
    return await reply
