"""When a failed attempt is made again: https://cloud.google.com/scheduler/docs/configuring/retry-jobs."""

from __future__ import annotations

from headway_emulator.engine.store import Document

DEFAULTS: Document = {
    "maxRetryDuration": "0s",
    "minBackoffDuration": "5s",
    "maxBackoffDuration": "3600s",
    "maxDoublings": 5,
}
MOST_RETRIES = 5


def seconds(duration: str) -> float:
    return float(duration.removesuffix("s"))


def next_try(config: Document, tries: int, elapsed: float) -> float | None:
    """Seconds to wait after `tries` failed attempts, `elapsed` seconds after the first of them; or None.

    With both limits given, retries go on until both are reached.
    """
    settings = DEFAULTS | config
    retries, longest = int(settings.get("retryCount", 0)), seconds(settings["maxRetryDuration"])
    wait = backoff(settings, tries - 1)
    by_count = tries <= retries
    by_time = longest > 0 and elapsed + wait <= longest
    return wait if by_count or by_time else None


def backoff(settings: Document, retry: int) -> float:
    """Doubling `maxDoublings` times from the shortest wait, then growing by the last step, up to the longest.

    10 s, 300 s and 3 doublings give 10, 20, 40, 80, 160, 240, 300, 300, ...: Google's own example.
    """
    shortest, longest = seconds(settings["minBackoffDuration"]), seconds(settings["maxBackoffDuration"])
    doublings = int(settings["maxDoublings"])
    last = shortest * 2.0 ** min(retry, doublings)
    return min(longest, last * max(1, retry - doublings + 1))
