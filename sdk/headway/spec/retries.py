"""How Cloud Scheduler calls again after an answer that was no success: what is asked for, and when it is."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import timedelta

from headway.spec.schedule import Overlap


@dataclass(frozen=True)
class Retries:
    """Cloud Scheduler's RetryConfig, in seconds; `count` is at most 5, `longest_s` goes on beyond it."""

    count: int = 3
    shortest_wait_s: int = 30
    longest_wait_s: int = 600
    doublings: int = 4
    longest_s: int = 0

    def waits(self) -> Iterator[timedelta]:
        """The times of the retries after the first call: until both limits are reached."""
        passed, number = 0.0, 0
        while True:
            doubled = min(number, self.doublings)
            wait = self.shortest_wait_s * 2.0**doubled * max(1, number - self.doublings + 1)
            passed += min(float(self.longest_wait_s), wait)
            number += 1
            if number > self.count and passed > self.longest_s:
                return
            yield timedelta(seconds=passed)


def retries(overlap: Overlap) -> Retries:
    """What a schedule asks for: a tick that waits for the run before is brought back for a day."""
    return Retries(count=5, longest_s=86400) if overlap == "queue" else Retries()
