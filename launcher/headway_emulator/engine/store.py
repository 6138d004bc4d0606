"""All state in one SQLite file: JSON documents by kind and name, and log entries in the order they came."""

from __future__ import annotations

import json
import sqlite3
import sys
import threading
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

Document = dict[str, Any]

SCAN_ROWS = 200
SCHEMA = """
CREATE TABLE IF NOT EXISTS documents (
  seq INTEGER PRIMARY KEY AUTOINCREMENT, kind TEXT NOT NULL, name TEXT NOT NULL, json TEXT NOT NULL,
  UNIQUE (kind, name));
CREATE INDEX IF NOT EXISTS documents_by_kind ON documents (kind, seq);
CREATE TABLE IF NOT EXISTS logs (
  seq INTEGER PRIMARY KEY AUTOINCREMENT, kind TEXT NOT NULL, owner TEXT NOT NULL, task TEXT NOT NULL,
  timestamp TEXT NOT NULL, severity TEXT NOT NULL, payload TEXT NOT NULL);
CREATE INDEX IF NOT EXISTS logs_by_owner ON logs (owner, timestamp, seq);
CREATE INDEX IF NOT EXISTS logs_by_time ON logs (timestamp, seq);
"""


@dataclass(frozen=True)
class LogEntry:
    """One line that a job or build wrote; `kind` is the monitored resource, such as ml_job."""

    kind: str
    owner: str
    task: str
    timestamp: str
    severity: str
    payload: Document
    seq: int = 0


@dataclass(frozen=True)
class LogQuery:
    """Which entries to read: an empty string leaves a bound open; `after` is where the last page ended."""

    owner: str = ""
    kind: str = ""
    since: str = ""
    until: str = ""
    descending: bool = False
    after: tuple[str, int] | None = None


class Store:
    """Safe for many threads: each statement runs under one lock on one connection."""

    def __init__(self, path: Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        self._lock = threading.RLock()
        self._closed = False
        self._db = sqlite3.connect(path, check_same_thread=False, isolation_level=None)
        # WAL without a sync per commit: survives the end of the process, which is what is promised.
        self._db.executescript("PRAGMA journal_mode=WAL; PRAGMA synchronous=NORMAL;" + SCHEMA)

    def close(self) -> None:
        with self._lock:
            self._closed = True
            self._db.close()

    @contextmanager
    def transaction(self) -> Iterator[None]:
        """Everything inside is written together or not at all."""
        with self._lock:
            if self._db.in_transaction:
                yield
                return
            self._db.execute("BEGIN IMMEDIATE")
            try:
                yield
                self._db.execute("COMMIT")
            except BaseException:
                # a full disk may have ended it already; left open, it would swallow all that follows
                if self._db.in_transaction:
                    self._db.execute("ROLLBACK")
                raise

    def put(self, kind: str, name: str, document: Document) -> None:
        """Create or replace."""
        with self._lock:
            self._db.execute(
                "INSERT INTO documents (kind, name, json) VALUES (?, ?, ?) "
                "ON CONFLICT (kind, name) DO UPDATE SET json = excluded.json",
                (kind, name, json.dumps(document)),
            )

    def get(self, kind: str, name: str) -> Document | None:
        with self._lock:
            row = self._db.execute(
                "SELECT json FROM documents WHERE kind = ? AND name = ?", (kind, name)
            ).fetchone()
        return None if row is None else _document(row[0])

    def list(self, kind: str, prefix: str = "") -> list[Document]:
        """The documents whose name begins with `prefix`, newest first."""
        with self._lock:
            rows = self._db.execute(
                "SELECT json FROM documents WHERE kind = ? AND substr(name, 1, ?) = ? ORDER BY seq DESC",
                (kind, len(prefix), prefix),
            ).fetchall()
        return [_document(row[0]) for row in rows]

    def scan(self, kind: str, prefix: str = "", before: int = 0) -> Iterator[tuple[int, Document]]:
        """The same with their sequence numbers, from the one below `before` on, read some at a time."""
        while True:
            with self._lock:
                rows = self._db.execute(
                    "SELECT seq, json FROM documents WHERE kind = ? AND substr(name, 1, ?) = ? "
                    "AND (? = 0 OR seq < ?) ORDER BY seq DESC LIMIT ?",
                    (kind, len(prefix), prefix, before, before, SCAN_ROWS),
                ).fetchall()
            for seq, text in rows:
                before = seq
                yield seq, _document(text)
            if len(rows) < SCAN_ROWS:
                return

    def delete(self, kind: str, name: str) -> bool:
        """True where there was one."""
        with self._lock:
            done = self._db.execute("DELETE FROM documents WHERE kind = ? AND name = ?", (kind, name))
        return done.rowcount > 0

    def add_logs(self, entries: Iterable[LogEntry]) -> None:
        """A disk that takes no more costs these lines, never the job or build that wrote them."""
        rows = [(e.kind, e.owner, e.task, e.timestamp, e.severity, json.dumps(e.payload)) for e in entries]
        try:
            with self._lock:
                if self._closed:
                    return  # the emulator is ending: the next one reads these lines again from the engine
                with self.transaction():
                    self._db.executemany(
                        "INSERT INTO logs (kind, owner, task, timestamp, severity, payload) "
                        "VALUES (?, ?, ?, ?, ?, ?)",
                        rows,
                    )
        except sqlite3.OperationalError as error:
            sys.stderr.write(f"headway-emulator: {len(rows)} log lines are lost: {error}\n")

    def logs(self, query: LogQuery, limit: int) -> Sequence[LogEntry]:
        """At most `limit` entries, ordered by time and then by arrival."""
        way, beyond = ("DESC", "<") if query.descending else ("ASC", ">")
        clauses, values = _bounds(query)
        if query.after is not None:
            clauses.append(f"(timestamp, seq) {beyond} (?, ?)")
            values.extend(query.after)
        where = f"WHERE {' AND '.join(clauses)}" if clauses else ""
        with self._lock:
            rows = self._db.execute(
                "SELECT kind, owner, task, timestamp, severity, payload, seq FROM logs "
                f"{where} ORDER BY timestamp {way}, seq {way} LIMIT ?",
                (*values, limit),
            ).fetchall()
        return [_entry(row) for row in rows]

    def last_log_time(self, owner: str, task: str) -> str:
        """The timestamp of the newest entry of one replica, or an empty string."""
        with self._lock:
            row = self._db.execute(
                "SELECT max(timestamp) FROM logs WHERE owner = ? AND task = ?", (owner, task)
            ).fetchone()
        return row[0] or ""


def _bounds(query: LogQuery) -> tuple[list[str], list[Any]]:
    wanted = [
        ("owner = ?", query.owner),
        ("kind = ?", query.kind),
        ("timestamp >= ?", query.since),
        ("timestamp <= ?", query.until),
    ]
    kept = [(clause, value) for clause, value in wanted if value]
    return [clause for clause, _ in kept], [value for _, value in kept]


def _entry(row: tuple[Any, ...]) -> LogEntry:
    kind, owner, task, stamp, severity, payload, seq = row
    return LogEntry(kind, owner, task, stamp, severity, _document(payload), seq)


def _document(text: str) -> Document:
    document: Document = json.loads(text)
    return document
