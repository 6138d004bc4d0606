"""A job's log, read forward: each line once, in bounded memory."""

from __future__ import annotations

import re
from typing import Any, cast

from headway.cloud.logs import JobLog
from headway.cloud.session import Session


class Logging:
    """Cloud Logging with the entries that a test adds, two a page; it answers what it is asked for."""

    def __init__(self) -> None:
        self.entries: list[dict[str, Any]] = []

    project = "acme"

    def endpoint(self, service: str) -> str:
        return "http://logging"

    def call(self, method: str, url: str, what: str, *, json: dict[str, Any]) -> dict[str, Any]:
        since = re.search(r'timestamp>="([^"]+)"', json["filter"])
        found = [entry for entry in self.entries if since is None or entry["timestamp"] >= since[1]]
        first = int(json["pageToken"] or 0)
        token = {"nextPageToken": str(first + 2)} if first + 2 < len(found) else {}
        return {"entries": found[first : first + 2], **token}

    def add(self, second: int, text: str) -> None:
        self.entries.append(
            {
                "insertId": f"{second}-{text}",
                "timestamp": f"2026-11-22T10:{second // 60:02d}:{second % 60:02d}.000000Z",
                "jsonPayload": {"message": text},
            }
        )


def test_every_line_is_told_once_however_often_it_is_looked_for() -> None:
    logging = Logging()
    log = JobLog(cast(Session, logging), "1")
    told: list[str] = []
    for second in range(120):
        logging.add(second, f"line {second}")
        told += [line.text for line in log.new()]
    assert told == [f"line {second}" for second in range(120)]


def test_a_line_that_comes_late_is_told_too() -> None:
    logging = Logging()
    log = JobLog(cast(Session, logging), "1")
    logging.add(10, "of the second node")
    list(log.new())
    logging.add(9, "of the first node")
    assert [line.text for line in log.new()] == ["of the first node"]


def test_what_was_told_long_ago_is_not_kept() -> None:
    logging = Logging()
    log = JobLog(cast(Session, logging), "1")
    for second in range(600):
        logging.add(second, "x")
    assert len(list(log.new())) == 600
    assert len(log._seen) < 10
