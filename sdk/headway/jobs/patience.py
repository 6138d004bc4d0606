"""Asking again while a server does not answer: one 503 during a wait of hours ends nothing."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TypeVar

from headway.errors import NotFound, Refused, RemoteError

OUTAGE_S = 300.0
"""So long may a server not answer before a wait gives up."""
REFUSALS_S = 60.0
"""So long may it say no: a rate limit passes within the minute, a missing role does not."""

_SHORTEST_S, _LONGEST_S, _PART = 0.3, 5.0, 0.03

T = TypeVar("T")


def pause_after(waited: float) -> float:
    """Seconds until the next look at what goes on in Google, after `waited` seconds of waiting for it.

    A small part of what it has taken so far, so that the end of what is short is not seen late.
    """
    return min(max(_SHORTEST_S, waited * _PART), _LONGEST_S)


def patiently(
    ask: Callable[[], T], *, until: float | None = None, final: tuple[type[RemoteError], ...] = ()
) -> T:
    """The answer, asked for again after growing pauses; not beyond `until` on the monotonic clock.

    Raises NotFound, and errors that are `final`, at once, and RemoteError after a long outage.
    """
    since, pause = time.monotonic(), 1.0
    while True:
        try:
            return ask()
        except RemoteError as error:
            if isinstance(error, (NotFound, *final)):
                raise
            now = time.monotonic()
            last = since + (REFUSALS_S if isinstance(error, Refused) else OUTAGE_S)
            if now + pause > (last if until is None else min(last, until)):
                raise
            time.sleep(pause)
            pause = min(pause * 2, 30.0)
