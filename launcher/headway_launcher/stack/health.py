"""Is a server well: its own process lives, owns its port and answers; a stranger there does not count."""

from __future__ import annotations

import http.client
from dataclasses import dataclass
from typing import Literal
from urllib.parse import urlsplit

import psutil

from headway_launcher.stack import processes
from headway_launcher.stack.record import Server
from headway_launcher.stack.servers import HEALTH_PATH

State = Literal["healthy", "unhealthy", "crashed"]

ANSWER_SECONDS = 2.0


@dataclass(frozen=True)
class Health:
    """What a look at a server said; `reason` is for people, empty where it is healthy."""

    state: State
    reason: str = ""


def look(server: Server, nonce: str) -> Health:
    """Look at a recorded server: crashed where its process is gone, unhealthy where it does not answer."""
    process = processes.find(server.pid, server.create_time)
    if process is None:
        return Health("crashed", "its process is gone")
    return look_at(process, server, nonce)


def look_at(process: psutil.Process, server: Server, nonce: str) -> Health:
    """The same, for a process at hand."""
    if not processes.is_alive(process):
        return Health("crashed", "its process is gone")
    if not processes.listens(process, server.port):
        return Health("unhealthy", f"it does not listen on port {server.port}")
    answer = _get(server.url + HEALTH_PATH[server.name])
    if answer is None:
        return Health("unhealthy", f"it listens on port {server.port} but does not answer")
    if server.name == "emulator" and nonce.encode() not in answer:
        return Health("unhealthy", "it answers for another stack")
    return Health("healthy")


def _get(url: str) -> bytes | None:
    """The body of a 200 answer, or None. No proxy is used: these are addresses of this machine."""
    parts = urlsplit(url)
    connection = http.client.HTTPConnection(parts.hostname or "", parts.port, timeout=ANSWER_SECONDS)
    try:
        connection.request("GET", parts.path)
        response = connection.getresponse()
        body = response.read(65_536)
    except (OSError, http.client.HTTPException):
        return None
    finally:
        connection.close()
    return body if response.status == 200 else None
