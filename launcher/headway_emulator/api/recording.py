"""Every request, written down: what it was, who asked, what came of it, and the permission that it needs.

In a SQLite file of its own, so that the record never waits for the state's lock; written in batches by a
thread. The last half second is lost when the process is killed.
"""

from __future__ import annotations

import sqlite3
import sys
import threading
import time
from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import astuple, dataclass
from pathlib import Path
from typing import Any

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from headway_emulator.api import passage
from headway_emulator.api.passage import Passage
from headway_emulator.engine.clock import Clock, timestamp
from headway_emulator.engine.faults import Faults

KEPT = 10_000
"""Requests that are remembered; the permissions of all are."""
LONGEST_PATH = 2000
"""Characters: an object's name has 1024 at most."""
GATHER_SECONDS = 0.3
OWN = "/emulator"
COLUMNS = ("time", "method", "verb", "path", "status", "ms", "caller", "permission", "fault")
SCHEMA = """
CREATE TABLE IF NOT EXISTS requests (
  seq INTEGER PRIMARY KEY AUTOINCREMENT, time TEXT, method TEXT, verb TEXT, path TEXT, status INTEGER,
  ms REAL, caller TEXT, permission TEXT, fault TEXT);
CREATE TABLE IF NOT EXISTS permissions (
  permission TEXT, method TEXT, requests INTEGER, refused INTEGER, first TEXT, last TEXT,
  PRIMARY KEY (permission, method));
"""
UPSERT = (
    "INSERT INTO permissions VALUES (?, ?, 1, ?, ?, ?) ON CONFLICT DO UPDATE SET "
    "requests = requests + 1, refused = refused + excluded.refused, last = excluded.last"
)


@dataclass(frozen=True)
class Recorded:
    """One request; `status` is 0 where the connection ended without an answer."""

    time: str
    method: str
    verb: str
    path: str
    status: int
    ms: float
    caller: str
    permission: str
    fault: str


class Recorder:
    """The last requests and the permissions of all, in one file; safe for many threads."""

    def __init__(self, path: Path, kept: int = KEPT) -> None:
        self._kept = kept
        self._pending: deque[Recorded] = deque(maxlen=kept)
        self._lock = threading.Lock()
        self._wanted = threading.Event()
        self._closing = threading.Event()
        self._db = sqlite3.connect(path, check_same_thread=False, isolation_level=None)
        self._db.executescript("PRAGMA journal_mode=WAL; PRAGMA synchronous=OFF;" + SCHEMA)
        self._thread = threading.Thread(target=self._run, name="recorder", daemon=True)
        self._thread.start()

    def add(self, request: Recorded) -> None:
        """Costs the caller nothing but a place in a queue."""
        self._pending.append(request)
        self._wanted.set()

    def flush(self) -> None:
        """Everything that was added is in the file when this returns."""
        with self._lock:
            batch = [self._pending.popleft() for _ in range(len(self._pending))]
            if not batch:
                return
            try:
                self._write(batch)
            except sqlite3.OperationalError as error:  # a full disk costs these, not what comes after
                if self._db.in_transaction:
                    self._db.execute("ROLLBACK")
                sys.stderr.write(f"headway-emulator: {len(batch)} requests are not recorded: {error}\n")

    def _write(self, batch: Sequence[Recorded]) -> None:
        marks = ", ".join("?" * len(COLUMNS))
        self._db.execute("BEGIN")
        self._db.executemany(
            f"INSERT INTO requests ({', '.join(COLUMNS)}) VALUES ({marks})",
            [astuple(request) for request in batch],
        )
        self._db.executemany(UPSERT, [row for request in batch for row in _permissions(request)])
        self._db.execute(
            "DELETE FROM requests WHERE seq <= (SELECT max(seq) FROM requests) - ?", (self._kept,)
        )
        self._db.execute("COMMIT")

    def requests(
        self, method: str = "*", since: str = "", before: int = 0, size: int = 100
    ) -> Sequence[tuple[int, Mapping[str, Any]]]:
        """With their numbers, newest first: those whose method fits the pattern, from `since` on."""
        self.flush()
        with self._lock:
            rows = self._db.execute(
                f"SELECT seq, {', '.join(COLUMNS)} FROM requests "
                "WHERE method GLOB ? AND time >= ? AND (? = 0 OR seq < ?) ORDER BY seq DESC LIMIT ?",
                (method, since, before, before, size),
            ).fetchall()
        return [(row[0], dict(zip(COLUMNS, row[1:], strict=True))) for row in rows]

    def permissions(self) -> Sequence[Mapping[str, Any]]:
        """Each permission with the methods that needed it, in alphabetical order."""
        self.flush()
        with self._lock:
            rows = self._db.execute("SELECT * FROM permissions ORDER BY permission, method").fetchall()
        names = ("permission", "method", "requests", "refused", "first", "last")
        return [dict(zip(names, row, strict=True)) for row in rows]

    def clear(self) -> None:
        """Forget all: what comes next is one program's."""
        self.flush()
        with self._lock:
            self._db.executescript("DELETE FROM requests; DELETE FROM permissions;")

    def close(self) -> None:
        self._closing.set()
        self._wanted.set()
        self._thread.join(5)
        self.flush()
        self._db.close()

    def _run(self) -> None:
        while not self._closing.is_set():
            self._wanted.wait()
            self._closing.wait(GATHER_SECONDS)
            self._wanted.clear()
            self.flush()


def _permissions(request: Recorded) -> list[tuple[str, str, int, str, str]]:
    refused = int(request.status in (401, 403))
    wanted = [part for part in request.permission.split(", ") if part]
    return [(part, request.method, refused, request.time, request.time) for part in wanted]


class Recording:
    """The outermost ASGI layer: begins each request's passage, and writes it down when it is over."""

    def __init__(
        self, app: ASGIApp, recorder: Recorder, faults: Faults, clock: Clock, *, checks_replies: bool
    ) -> None:
        self._app = app
        self._recorder = recorder
        self._faults = faults
        self._clock = clock
        self._checks_replies = checks_replies

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or scope["path"] == "/" or scope["path"].startswith(OWN):
            await self._app(scope, receive, send)
            return
        here = scope[passage.KEY] = Passage(self._faults, self._checks_replies)
        begun = time.perf_counter()
        verb, path, caller = scope["method"], scope["path"][:LONGEST_PATH], _caller(scope)
        now = timestamp(self._clock.now_ns())
        status, written = 0, False

        def write() -> None:
            nonlocal written
            ms = round((time.perf_counter() - begun) * 1000, 2)
            done = Recorded(now, here.method, verb, path, status, ms, caller, here.permission, here.fault)
            self._recorder.add(done)
            written = True

        async def noted(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
            elif not message.get("more_body", False):
                write()  # before its last byte is out: who has the answer finds it in the record
            await send(message)

        try:
            await self._app(scope, receive, noted)
        except Exception:
            status = 500  # answered by the layer around this one
            raise
        finally:
            if not written:
                write()


def _caller(scope: Scope) -> str:
    """Google's clients name themselves in x-goog-api-client; whoever does not, by the user agent."""
    headers = dict(scope["headers"])
    found: bytes = headers.get(b"x-goog-api-client") or headers.get(b"user-agent") or b""
    return found.decode("latin-1")[:300]
