"""All state in one SQLite file: JSON documents by kind and name, and log entries in the order they came."""

from __future__ import annotations

import json
import sqlite3
import sys
import threading
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from headway_emulator.engine.log_table import Document, LogEntry, LogQuery, LogTable

__all__ = ["Document", "LogEntry", "LogQuery", "Store"]

SCAN_ROWS = 200
SCHEMA = """
CREATE TABLE IF NOT EXISTS documents (
  seq INTEGER PRIMARY KEY AUTOINCREMENT, kind TEXT NOT NULL, name TEXT NOT NULL, json TEXT NOT NULL,
  UNIQUE (kind, name));
CREATE INDEX IF NOT EXISTS documents_by_kind ON documents (kind, seq);
"""


class Store:
    """Safe for many threads: each statement runs under one lock on one connection."""

    def __init__(self, path: Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        self._lock = threading.RLock()
        self._closed = False
        self._db = sqlite3.connect(path, check_same_thread=False, isolation_level=None)
        # WAL without a sync per commit: survives the end of the process, which is what is promised.
        self._db.executescript("PRAGMA journal_mode=WAL; PRAGMA synchronous=NORMAL;" + SCHEMA)
        self._logs = LogTable(self._db)

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

    def keep_newest(self, kind: str, count: int) -> None:
        """Delete all but so many documents of the kind."""
        with self._lock:
            self._db.execute(
                "DELETE FROM documents WHERE kind = ? AND seq <= "
                "(SELECT seq FROM documents WHERE kind = ? ORDER BY seq DESC LIMIT 1 OFFSET ?)",
                (kind, kind, count),
            )

    def add_logs(self, entries: Iterable[LogEntry]) -> None:
        """A disk that takes no more costs these lines, never the job or build that wrote them."""
        lines = list(entries)
        try:
            self.write_logs(lines)
        except sqlite3.OperationalError as error:
            sys.stderr.write(f"headway-emulator: {len(lines)} log lines are lost: {error}\n")

    def write_logs(self, entries: Iterable[LogEntry]) -> int:
        """How many were written, all or none; sqlite3.OperationalError where the disk takes no more."""
        with self._lock:
            if self._closed:
                return 0  # the emulator is ending: the next one reads these lines again from the engine
            with self.transaction():
                return self._logs.add(entries)

    def logs(self, query: LogQuery, limit: int) -> Sequence[LogEntry]:
        """At most `limit` entries, ordered by time, then by insert id, then by arrival."""
        with self._lock:
            return self._logs.page(query, limit)

    def arrived_logs(self, query: LogQuery, after: int, limit: int) -> Sequence[LogEntry]:
        """At most `limit` entries in the order in which they came, from the one after number `after` on."""
        with self._lock:
            return self._logs.arrived(query, after, limit)

    def newest_log(self) -> int:
        """The number of the entry that came last, 0 where none ever did."""
        with self._lock:
            return self._logs.newest()

    def count_logs(self, owner: str, task: str, since: str) -> int:
        """How many entries of one replica are not older than `since` by the executor's own time."""
        with self._lock:
            return self._logs.count(owner, task, since)

    def log_names(self) -> Sequence[str]:
        """The ids of the logs that have entries, sorted."""
        with self._lock:
            return self._logs.names()

    def delete_log(self, log: str) -> bool:
        """True where there was such a log."""
        with self.transaction():
            return self._logs.delete(log)


def _document(text: str) -> Document:
    document: Document = json.loads(text)
    return document
