"""A small HTTP server on loopback that notes what Cloud Scheduler sends it and answers as it was told."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


@dataclass(frozen=True)
class Received:
    """One request; header names in lower case."""

    method: str
    path: str
    headers: dict[str, str]
    body: bytes


@dataclass
class Target:
    """`answers` are statuses for the next requests, 200 once they are used up; 0 never answers."""

    url: str = ""
    answers: list[int] = field(default_factory=list)
    redirect: str = ""
    received: list[Received] = field(default_factory=list)
    ended: threading.Event = field(default_factory=threading.Event)

    @property
    def ticks(self) -> list[str]:
        return [request.headers["x-cloudscheduler-scheduletime"] for request in self.received]


@contextmanager
def listening() -> Iterator[Target]:
    """The server of a target, for as long as the context lasts."""
    target = Target()

    class Handler(BaseHTTPRequestHandler):
        def _answer(self) -> None:
            body = self.rfile.read(int(self.headers.get("content-length") or 0))
            headers = {name.lower(): value for name, value in self.headers.items()}
            target.received.append(Received(self.command, self.path, headers, body))
            status = target.answers.pop(0) if target.answers else 200
            if status == 0:
                target.ended.wait(60)
                return
            self.send_response(status)
            if status in (302, 307):
                self.send_header("Location", target.redirect)
            self.send_header("Content-Length", "0")
            self.end_headers()

        do_GET = do_POST = do_PUT = do_DELETE = _answer  # noqa: N815 - the names that http.server calls

        def log_message(self, format: str, *args: object) -> None:
            """Not to the terminal."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    target.url = f"http://127.0.0.1:{server.server_address[1]}/target"
    thread = threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True)
    thread.start()
    yield target
    target.ended.set()
    server.shutdown()
    thread.join(5)
    server.server_close()
