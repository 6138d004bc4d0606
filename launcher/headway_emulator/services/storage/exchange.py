"""One storage request on its way, and the answer that refuses it."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from typing import Any

from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from headway_emulator.api import payload
from headway_emulator.errors import ApiError
from headway_emulator.services.storage.conditions import conditions
from headway_emulator.services.storage.marks import Marks
from headway_emulator.services.storage.paths import PRECONDITIONS, SOURCE_PRECONDITIONS, Target

FRONTS_OWN = (*PRECONDITIONS, *SOURCE_PRECONDITIONS, "matchGlob")
"""Parameters whose work is done here, and that the server is not asked."""


class Refused(Exception):
    """Ends a request with this answer, once its body is read."""

    def __init__(self, response: Response) -> None:
        super().__init__(response.status_code)
        self.response = response


def refuse(status: int, message: str, reason: str) -> Refused:
    """An error as Cloud Storage's JSON API writes it."""
    errors = [{"message": message, "domain": "global", "reason": reason}]
    error = {"code": status, "message": message, "errors": errors}
    return Refused(JSONResponse({"error": error}, status_code=status))


def not_emulated(what: str) -> Refused:
    """400, not 501: clients of Cloud Storage ask again and again after any 5xx."""
    return refuse(400, f"The emulator does not implement {what} of Cloud Storage.", "notImplemented")


class Exchange:
    """What it is about, its query, and its body as a stream."""

    def __init__(self, request: Request, wanted: Target, metadata: Mapping[str, Any], marks: Marks) -> None:
        self.request = request
        self.method = request.method
        self.target = wanted
        self.metadata = metadata
        """Of a multipart upload: what its first part says of the object."""
        self.query = dict(request.query_params if wanted.query is None else wanted.query)
        self.conditions = conditions(request.query_params)
        self.body = request.stream()
        self.base = f"{request.url.scheme}://{request.headers.get('host', request.url.netloc)}/"
        self._marks = marks

    def forwarded_query(self) -> dict[str, str]:
        """Without what is done here, and with the server's own generations."""
        query = {name: value for name, value in self.query.items() if name not in FRONTS_OWN}
        about = {"generation": (self.target.bucket, self.target.name), "sourceGeneration": self.target.source}
        for name, owner in about.items():
            if name in query and owner is not None:
                query[name] = self._marks.real(*owner, query[name])
        return query

    async def drain(self) -> None:
        """Read and drop the body, so that a client in the middle of sending it gets to read the answer."""
        async for _ in self.body:
            pass

    async def whole(self, most: int = payload.MAX_BODY) -> bytes:
        """The body in memory; Refused beyond `most` bytes."""
        pieces, size = [], 0
        async for chunk in self.body:
            size += len(chunk)
            if size > most:
                raise refuse(413, f"Request payload size exceeds the limit: {most} bytes.", "uploadTooLarge")
            pieces.append(chunk)
        return b"".join(pieces)

    def document(self, raw: bytes) -> dict[str, Any]:
        """A JSON body; Refused where it is none."""
        try:
            found = payload.parsed(raw or b"{}")
        except ApiError as error:
            raise refuse(400, "Parse Error", "parseError") from error
        if not isinstance(found, dict):
            raise refuse(400, "Parse Error", "parseError")
        return found


async def joined(head: bytes, rest: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    if head:
        yield head
    async for chunk in rest:
        if chunk:
            yield chunk
