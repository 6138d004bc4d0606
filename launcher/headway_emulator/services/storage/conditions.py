"""Preconditions on objects, enforced here because fake-gcs-server 1.54 ignores most of them.

Source of the gaps: checks of November 2026; of the rules: Google's page "Request preconditions".
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

from starlette.responses import JSONResponse, Response

from headway_emulator.services.storage.paths import PRECONDITIONS, SOURCE_PRECONDITIONS


@dataclass(frozen=True)
class Refusal:
    """The answer to a precondition that does not hold: 412, or 304 for a read of something unchanged."""

    status: int
    condition: str

    def response(self) -> Response:
        if self.status == 304:
            return Response(status_code=304)
        message = "At least one of the pre-conditions you specified did not hold."
        reason = {
            "message": message,
            "domain": "global",
            "reason": "conditionNotMet",
            "locationType": "header",
            "location": "If-Match",
        }
        error = {"code": self.status, "message": message, "errors": [reason]}
        return JSONResponse({"error": error}, status_code=self.status)


def conditions(query: Mapping[str, str]) -> dict[str, str]:
    """Those of a request's query that concern its object."""
    return {name: query[name] for name in PRECONDITIONS if name in query}


def source_conditions(query: Mapping[str, str]) -> dict[str, str]:
    """Those of a rewrite's query that concern what it copies, under their plain names."""
    return {plain: query[name] for name, plain in SOURCE_PRECONDITIONS.items() if name in query}


def refusal(wanted: Mapping[str, str], current: Mapping[str, Any] | None, *, reading: bool) -> Refusal | None:
    """None where every precondition holds; `current` is the object's metadata, None where it does not exist.

    ifGenerationMatch=0 means "must not exist"; the Not forms hold for an object that does not exist.
    """
    for name, value in wanted.items():
        field = "metageneration" if "Metageneration" in name else "generation"
        have = str(current[field]) if current is not None else ("0" if field == "generation" else "")
        if name.endswith("NotMatch"):
            if current is None and value != "0":
                continue
            if have == value:
                return Refusal(304 if reading else 412, name)
        elif have != value:
            return Refusal(412, name)
    return None


class ObjectLocks:
    """One lock for each object that is being changed; kept only while somebody holds or waits for it."""

    def __init__(self) -> None:
        self._locks: dict[tuple[str, str], tuple[asyncio.Lock, int]] = {}

    @asynccontextmanager
    async def hold(self, bucket: str, name: str) -> AsyncIterator[None]:
        key = (bucket, name)
        lock, users = self._locks.get(key, (asyncio.Lock(), 0))
        self._locks[key] = (lock, users + 1)
        try:
            async with lock:
                yield
        finally:
            lock, users = self._locks[key]
            if users == 1:
                del self._locks[key]
            else:
                self._locks[key] = (lock, users - 1)
