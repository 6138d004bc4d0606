"""The emulator's REST API as the gRPC front calls it."""

from __future__ import annotations

from collections.abc import Mapping

import httpx
from google.rpc import code_pb2

from headway_emulator.transparent.transcoding import failed

LIMITS = httpx.Limits(max_connections=256, max_keepalive_connections=64)


class Backend:
    """A pool of connections; to be closed."""

    def __init__(self, url: str) -> None:
        self._client = httpx.AsyncClient(base_url=url, limits=LIMITS, trust_env=False)

    async def close(self) -> None:
        await self._client.aclose()

    async def call(
        self, verb: str, path: str, body: bytes | None, headers: Mapping[str, str], seconds: float
    ) -> httpx.Response:
        """Failed UNAVAILABLE or DEADLINE_EXCEEDED where no whole answer came."""
        try:
            return await self._client.request(
                verb, path, content=body, headers=dict(headers), timeout=max(seconds, 0.001)
            )
        except httpx.TimeoutException as error:
            raise failed(code_pb2.DEADLINE_EXCEEDED, "Deadline Exceeded") from error
        except httpx.TransportError as error:
            text = f"The connection broke: {str(error) or type(error).__name__}"
            raise failed(code_pb2.UNAVAILABLE, text) from error
