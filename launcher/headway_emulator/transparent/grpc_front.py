"""The gRPC front's process: any method of any service, answered by the emulator's REST API.

One loopback port for each service, because gRPC does not tell a handler what host a client called, and
methods that all services have (operations, locations, policies) are told apart by nothing else.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import os
import signal
import sys
import threading
from collections.abc import AsyncIterator, Mapping
from http import HTTPStatus
from typing import Any

import grpc
from google.rpc import code_pb2

from headway_emulator import hosts
from headway_emulator.transparent.backend import Backend
from headway_emulator.transparent.methods import Method, Unknown, find
from headway_emulator.transparent.transcoding import Failed, failed, from_rest, to_rest

MOST_SECONDS = 3600.0
"""For a call whose client sets no deadline."""
MESSAGE_BYTES = 64 << 20
STOP_SECONDS = 1.0
DETAILS = "grpc-status-details-bin"
PASSED_ON = ("x-", "authorization", "user-agent")
"""The metadata that a REST client would send as headers."""
OTHER_OWNERS = ("/artifactregistry", "/cloudfunctions")
"""Their operations have the paths of Vertex AI's, which come first where no host tells whose it is."""
OPTIONS = (("grpc.max_receive_message_length", MESSAGE_BYTES), ("grpc.so_reuseport", 0))


class Handler(grpc.GenericRpcHandler):  # type: ignore[misc,unused-ignore]
    """Every method, as a stream of bytes: a unary call is a stream of one message, on the wire as well."""

    def __init__(self, backend: Backend, prefix: str) -> None:
        self._backend = backend
        self._prefix = prefix

    def service(self, handler_call_details: Any) -> Any:
        name = handler_call_details.method.lstrip("/")
        headers = _headers(handler_call_details.invocation_metadata)

        async def answer(requests: AsyncIterator[bytes], context: Any) -> AsyncIterator[bytes]:
            left = context.time_remaining()
            try:
                async for reply in self._replies(
                    name, requests, headers, MOST_SECONDS if left is None else left
                ):
                    yield reply
            except Failed as error:
                await _abort(context, error)

        return grpc.stream_stream_rpc_method_handler(answer)

    async def _replies(
        self, name: str, requests: AsyncIterator[bytes], headers: Mapping[str, str], seconds: float
    ) -> AsyncIterator[bytes]:
        """Of a stream of requests only the first counts: it says what is wanted."""
        try:
            method = await asyncio.to_thread(find, name)
        except Unknown as error:
            raise failed(code_pb2.UNIMPLEMENTED, f"The emulator does not implement {error}.") from error
        async for request in requests:
            if method.streams:
                rest = to_rest(method, request, self._prefix)
                async for status, element in self._backend.stream(rest, headers, seconds):
                    yield from_rest(method, status, element)
            else:
                yield from_rest(method, *await self._reply(method, request, headers, seconds))
            return
        raise failed(code_pb2.INVALID_ARGUMENT, f"{name} was called without a request.")

    async def _reply(
        self, method: Method, request: bytes, headers: Mapping[str, str], seconds: float
    ) -> tuple[int, bytes]:
        """The status and body of the REST call; of the first owner that has it where no host names one."""
        rest = to_rest(method, request, self._prefix)
        found = await self._backend.call(rest, headers, seconds)
        if found[0] != HTTPStatus.NOT_FOUND or method.prefix is not None or self._prefix:
            return found
        for owner in OTHER_OWNERS:
            other = await self._backend.call(to_rest(method, request, owner), headers, seconds)
            if other[0] != HTTPStatus.NOT_FOUND:
                return other
        return found


def _headers(metadata: Any) -> dict[str, str]:
    given = {str(key).lower(): value for key, value in metadata or () if isinstance(value, str)}
    kept = {key: value for key, value in given.items() if key.startswith(PASSED_ON)}
    return {**kept, "content-type": "application/json"}


async def _abort(context: Any, error: Failed) -> None:
    code = next(code for code in grpc.StatusCode if code.value[0] == error.status.code)
    details = ((DETAILS, error.status.SerializeToString()),) if error.status.details else ()
    await context.abort(code, error.status.message, details)


async def serve(url: str) -> None:
    """Until standard input ends, as it does with the emulator; the ports are the one line printed."""
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    loop.add_signal_handler(signal.SIGTERM, stop.set)
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the emulator's to obey
    threading.Thread(target=_wait_for_end, args=(loop, stop), daemon=True).start()
    backend = Backend(url)
    servers, ports = [], {}
    for prefix in ("", *(f"/{service}" for service in hosts.SERVICES.values())):
        server = grpc.aio.server(handlers=[Handler(backend, prefix)], options=OPTIONS)
        ports[prefix] = server.add_insecure_port("127.0.0.1:0")
        await server.start()
        servers.append(server)
    sys.stdout.write(json.dumps(ports) + "\n")
    sys.stdout.flush()
    await stop.wait()
    await asyncio.gather(*(server.stop(STOP_SECONDS) for server in servers))
    await backend.close()


def _wait_for_end(loop: asyncio.AbstractEventLoop, stop: asyncio.Event) -> None:
    while os.read(0, 4096):  # not by sys.stdin, whose lock a thread may not hold when Python ends
        pass
    with contextlib.suppress(RuntimeError):  # the loop has ended already
        loop.call_soon_threadsafe(stop.set)


def main() -> None:
    """Started by `front`, not by people."""
    parser = argparse.ArgumentParser(prog="headway-emulator gRPC front")
    parser.add_argument("--url", required=True)
    asyncio.run(serve(parser.parse_args().url))


if __name__ == "__main__":
    main()
