"""Many HTTP clients in one thread: requests over kept connections, as fast as answered or at a pace.

Cheap enough that it is not what is measured: `Load.busy` says how much of one core it took itself.
"""

from __future__ import annotations

import selectors
import socket
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from statistics import median, quantiles

DEADLINE = 120.0
"""Seconds that a load may take."""
RECEIVE = 1 << 18

Request = tuple[str, bytes]
"""What it counts as, and its bytes."""


@dataclass(frozen=True)
class Load:
    """Seconds from each request to its answer, by what the request counts as."""

    taken: Mapping[str, list[float]]
    seconds: float
    busy: float

    @property
    def rate(self) -> float:
        """Requests per second, all together."""
        return sum(map(len, self.taken.values())) / self.seconds

    def p95(self, kind: str) -> float:
        return quantiles(self.taken[kind], n=20)[-1]

    def median(self, kind: str) -> float:
        return median(self.taken[kind])


def request(verb: str, path: str, body: bytes = b"", **headers: str) -> bytes:
    """A request on a connection that stays open."""
    head = {"Host": "127.0.0.1", "Content-Type": "application/json", **headers, "Content-Length": len(body)}
    lines = "".join(f"{name.replace('_', '-')}: {value}\r\n" for name, value in head.items())
    return f"{verb} {path} HTTP/1.1\r\n{lines}\r\n".encode() + body


@dataclass
class _Client:
    """One connection, on which a request waits for its answer or for its time."""

    due: float
    socket: socket.socket | None = None
    kind: str = ""
    began: float = 0.0
    data: bytearray = field(default_factory=bytearray)


class Clients:
    """So many clients of one server on the loopback address."""

    def __init__(self, port: int, count: int) -> None:
        self._port = port
        self._count = count

    def load(
        self,
        make: Callable[[], Request],
        requests: int,
        *,
        rate: float = 0.0,
        seen: Callable[[str, bytes], None] | None = None,
    ) -> Load:
        """Send so many requests, at `rate` a second in all where it is given; `seen` gets each answer's body.

        A request that was due while its client still waited counts from when it was due. RuntimeError for an
        answer other than 200, and where the deadline passes.
        """
        return _Run(self._port, self._count, make, requests, rate, seen).run()


class _Run:
    def __init__(
        self,
        port: int,
        count: int,
        make: Callable[[], Request],
        requests: int,
        rate: float,
        seen: Callable[[str, bytes], None] | None,
    ) -> None:
        self._port, self._make, self._seen = port, make, seen
        self._left = self._awaited = requests
        self._every = count / rate if rate else 0.0
        self._taken: dict[str, list[float]] = {}
        self._selector = selectors.DefaultSelector()
        now = time.perf_counter()
        self._idle = [_Client(now + self._every * number / count) for number in range(count)]

    def run(self) -> Load:
        began, used = time.perf_counter(), time.process_time()
        try:
            while self._awaited:
                self._send_due()
                for key, _ in self._selector.select(self._patience()):
                    self._receive(key.data)
                if time.perf_counter() - began > DEADLINE:
                    raise RuntimeError(f"{self._awaited} requests were not answered within {DEADLINE:g} s")
        finally:
            self._close()
        seconds = time.perf_counter() - began
        return Load(self._taken, seconds, (time.process_time() - used) / seconds)

    def _send_due(self) -> None:
        now = time.perf_counter()
        for client in [client for client in self._idle if client.due <= now][: self._left]:
            self._idle.remove(client)
            self._left -= 1
            if client.socket is None:
                client.socket = socket.create_connection(("127.0.0.1", self._port), timeout=10)
                client.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                self._selector.register(client.socket, selectors.EVENT_READ, client)
            client.kind, message = self._make()
            sent = time.perf_counter()
            client.began = client.due if self._every and client.began > client.due else sent
            client.socket.sendall(message)

    def _patience(self) -> float:
        """Until the next is due; an idle client without a pace is due already."""
        if not self._left or not self._idle:
            return 1.0
        return max(0.0, min(client.due for client in self._idle) - time.perf_counter())

    def _receive(self, client: _Client) -> None:
        assert client.socket is not None
        piece = client.socket.recv(RECEIVE)
        client.data += piece
        if not piece and not client.data:
            raise RuntimeError("the server closed a connection without an answer")
        answer = _whole(client.data, closed=not piece)
        if answer is None:
            return
        now = time.perf_counter()
        head, body = answer
        if not head.split(b" ", 2)[1].startswith(b"200"):
            raise RuntimeError(f"{client.kind}: {head.splitlines()[0]!r} {body[:500]!r}")
        self._taken.setdefault(client.kind, []).append(now - client.began)
        self._awaited -= 1
        if not piece or b"\r\nconnection: close" in head:
            self._selector.unregister(client.socket)
            client.socket.close()
            client.socket = None
        client.data.clear()
        client.began, client.due = now, client.due + self._every
        self._idle.append(client)
        if self._seen is not None:
            self._seen(client.kind, body)

    def _close(self) -> None:
        for key in tuple(self._selector.get_map().values()):
            key.data.socket.close()
        self._selector.close()


def _whole(data: bytearray, *, closed: bool) -> tuple[bytes, bytes] | None:
    """Head, in small letters, and body, once all of it is there."""
    head, end, rest = bytes(data).partition(b"\r\n\r\n")
    if not end:
        return None
    head = head.lower()
    _, told, after = head.partition(b"\r\ncontent-length:")
    if not told:
        return (head, rest) if closed else None
    return (head, rest) if len(rest) >= int(after.split(b"\r\n", 1)[0]) else None
