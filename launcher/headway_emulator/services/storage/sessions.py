"""Resumable uploads: how far each has come, what of a request is new, and where it ends.

fake-gcs-server 1.54 takes the bytes of every request for the next ones, also where they are sent again, and
a question how far an upload has come ("bytes */*") for its end. So the front knows, and the server is asked
only for what is new. Source of the rules: Google's page "Resumable uploads".
"""

from __future__ import annotations

import re
from collections import OrderedDict
from collections.abc import AsyncIterator
from dataclasses import dataclass

from starlette.responses import Response

from headway_emulator.services.storage.checks import Declared
from headway_emulator.services.storage.exchange import refuse
from headway_emulator.services.storage.upstream import Reply

REMEMBERED = 1000
"""Uploads that are known, the finished ones among them: their end may be asked for again."""
PLACE = re.compile(r"bytes (?:(?P<first>\d+)-(?P<last>\d+|\*)|\*)/(?P<total>\d+|\*)")


@dataclass(frozen=True)
class Place:
    """Where in the object the bytes of a request are: `first` is None for none, a question.

    `last` is None where they go on to the object's end; `total` where the object's size is not known yet.
    """

    first: int | None
    last: int | None = None
    total: int | None = None

    @property
    def is_final(self) -> bool:
        return self.first is not None and (self.last is None or self.last + 1 == self.total)


@dataclass
class Session:
    """One upload: `size` is how many bytes the server has, `sums` those of them that a checksum is of."""

    sums: Declared
    size: int = 0
    finished: Reply | None = None

    def so_far(self) -> Response:
        """The answer while there is more to come."""
        known = {"range": f"bytes=0-{self.size - 1}"} if self.size else {}
        return Response(status_code=308, headers={**known, "x-goog-stored-content-length": str(self.size)})

    def ends_at(self, place: Place) -> bool:
        """Whether the object is whole once the request's bytes are there."""
        return place.total == self.size if place.first is None else place.is_final

    def begin(self, place: Place) -> int:
        """Where the bytes begin; Refused where some before them are missing."""
        first = self.size if place.first is None else place.first
        if first > self.size:
            text = (
                f"Invalid request. According to the Content-Range header, the upload offset is {first} "
                f"byte(s), which exceeds already uploaded size of {self.size} byte(s)."
            )
            raise refuse(400, text, "badRequest")
        return first


class Sessions:
    """By the upload's id; the oldest are forgotten."""

    def __init__(self) -> None:
        self._known: OrderedDict[str, Session] = OrderedDict()

    def begin(self, upload: str, sums: Declared) -> None:
        self._known[upload] = Session(sums)
        while len(self._known) > REMEMBERED:
            self._known.popitem(last=False)

    def find(self, upload: str) -> Session:
        """Refused 404 where there is none, at which clients begin anew."""
        found = self._known.get(upload)
        if found is None:
            raise refuse(404, "No such upload: it has ended, or the emulator was started again.", "notFound")
        self._known.move_to_end(upload)
        return found

    def forget(self, upload: str) -> None:
        self._known.pop(upload, None)


def place(content_range: str) -> Place:
    """Of the header; without one the whole object follows. Refused where it cannot be read."""
    if not content_range:
        return Place(0)
    found = PLACE.fullmatch(content_range.strip())
    if found is None:
        raise refuse(400, "Failed to parse Content-Range header.", "badRequest")
    numbers = {name: int(text) if text and text != "*" else None for name, text in found.groupdict().items()}
    return Place(**numbers)


async def without(body: AsyncIterator[bytes], known: int) -> AsyncIterator[bytes]:
    """The bytes after the first `known` ones, which were sent before."""
    async for piece in body:
        rest = piece[known:]
        known = max(known - len(piece), 0)
        if rest:
            yield rest
