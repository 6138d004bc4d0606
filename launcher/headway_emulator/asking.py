"""Asking a running emulator, with nothing but the standard library: for commands, tests and fixtures."""

from __future__ import annotations

import http.client
import json
from collections.abc import Mapping
from typing import Any
from urllib.parse import urlsplit

DEADLINE = 60.0
"""Seconds; a step of the clock waits for the work that comes due."""


class Refused(Exception):
    """The emulator did not answer, or answered with an error; the message is its own."""

    def __init__(self, message: str, status: int = 0) -> None:
        super().__init__(message)
        self.status = status


def ask(url: str, verb: str, path: str, body: Mapping[str, Any] | None = None) -> Any:
    """The JSON of a successful answer. No proxy is used: an emulator is an address of this machine."""
    parts = urlsplit(url)
    if parts.scheme != "http" or not parts.hostname:
        raise Refused(f"{url} is no emulator's address: it looks like http://127.0.0.1:8585.")
    connection = http.client.HTTPConnection(parts.hostname or "", parts.port or 80, timeout=DEADLINE)
    headers = {"Content-Type": "application/json"} if body is not None else {}
    try:
        connection.request(verb, path, None if body is None else json.dumps(body), headers)
        response = connection.getresponse()
        text = response.read().decode(errors="replace")
    except (OSError, http.client.HTTPException) as error:
        raise Refused(f"No emulator answers at {url}: {error or type(error).__name__}.") from error
    finally:
        connection.close()
    try:
        answer = json.loads(text) if text else None
    except ValueError as error:
        raise Refused(f"{url} is no emulator: it answered {text[:80]!r}.", response.status) from error
    if response.status >= 400:
        said = _message(answer) or f"{url} is no emulator: it answered HTTP {response.status}."
        raise Refused(said, response.status)
    return answer


def _message(answer: Any) -> str:
    try:
        return str(answer["error"]["message"])
    except (KeyError, TypeError):
        return ""
