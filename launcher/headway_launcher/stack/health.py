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
PATIENT_SECONDS = 15.0
"""Before a server that listens is ended for not answering: on a busy machine it may only be slow."""


@dataclass(frozen=True)
class Health:
    """What a look at a server said; `reason` is for people, empty where it is healthy."""

    state: State
    reason: str = ""


def look(server: Server, nonce: str, *, patient: bool = False) -> Health:
    """Look at a recorded server: crashed where its process is gone, unhealthy where it does not answer."""
    process = processes.find(server.pid, server.create_time)
    if process is None:
        return Health("crashed", "its process is gone")
    return look_at(process, server, nonce, patient=patient)


def look_at(process: psutil.Process, server: Server, nonce: str, *, patient: bool = False) -> Health:
    """The same, for a process at hand."""
    if not processes.is_alive(process):
        return Health("crashed", "its process is gone")
    if not processes.listens(process, server.port):
        return Health("unhealthy", f"it does not listen on port {server.port}")
    answer = _get(server.url + HEALTH_PATH[server.name], PATIENT_SECONDS if patient else ANSWER_SECONDS)
    if answer is None:
        return Health("unhealthy", f"it listens on port {server.port} but does not answer")
    if server.name == "emulator" and nonce.encode() not in answer:
        return Health("unhealthy", "it answers for another stack")
    return Health("healthy")


def _get(url: str, seconds: float) -> bytes | None:
    """The body of a 200 answer, or None. No proxy is used: these are addresses of this machine."""
    parts = urlsplit(url)
    connection = http.client.HTTPConnection(parts.hostname or "", parts.port, timeout=seconds)
    try:
        connection.request("GET", parts.path)
        response = connection.getresponse()
        body = response.read(65_536)
    except (OSError, http.client.HTTPException):
        return None
    finally:
        connection.close()
    return body if response.status == 200 else None
