"""Log entries in SQLite: what jobs and builds wrote and what clients sent, in Cloud Logging's order."""

from __future__ import annotations

import json
import sqlite3
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

Document = dict[str, Any]

LOG_OF_KIND = {"build": "cloudbuild"}
"""The log of a resource whose entries name none; the task's name for others."""
ADDED = {
    "origin": "timestamp",
    "insert_id": "printf('%016x', seq)",
    "log": "CASE kind WHEN 'build' THEN 'cloudbuild' ELSE task END",
    "more": "''",
}
"""Columns that states of the first version lack, and what fills them there."""
SCHEMA = """
CREATE TABLE IF NOT EXISTS logs (
  seq INTEGER PRIMARY KEY AUTOINCREMENT, kind TEXT NOT NULL, owner TEXT NOT NULL, task TEXT NOT NULL,
  timestamp TEXT NOT NULL, severity TEXT NOT NULL, payload TEXT NOT NULL, origin TEXT NOT NULL DEFAULT '',
  insert_id TEXT NOT NULL DEFAULT '', log TEXT NOT NULL DEFAULT '', more TEXT NOT NULL DEFAULT '');
CREATE TABLE IF NOT EXISTS log_names (log TEXT PRIMARY KEY);
"""
INDEXES = """
DROP INDEX IF EXISTS logs_by_owner;
DROP INDEX IF EXISTS logs_by_time;
CREATE INDEX IF NOT EXISTS logs_of_owner ON logs (owner, timestamp, insert_id);
CREATE INDEX IF NOT EXISTS logs_in_time ON logs (timestamp, insert_id);
CREATE INDEX IF NOT EXISTS logs_of_replica ON logs (owner, task, origin) WHERE more = '' AND owner != '';
"""
OF_REPLICA = "WHERE more = '' AND owner != '' AND owner = ? AND task = ?"
"""What a replica itself wrote: a client's entry may name it too."""
COLUMNS = "kind, owner, task, timestamp, severity, payload, origin, insert_id, log, more"


@dataclass(frozen=True)
class LogEntry:
    """One entry; `kind` is its resource's type, such as ml_job, `owner` the job or build that it names.

    The owner of a trial's entries has two more parts after slashes: the trial, and its custom job.
    """

    kind: str
    owner: str
    task: str
    timestamp: str
    severity: str
    payload: Document
    """Of a line that a job or build wrote; a client's entry has its payload in `more`."""
    seq: int = 0
    origin: str = ""
    """When it came to be by the executor's own time, or was received from a client."""
    insert_id: str = ""
    """Given by the client, or made here: later ones sort after earlier ones."""
    log: str = ""
    """The log's id, not URL-encoded; that of the resource or task where it is empty."""
    more: Document = field(default_factory=dict)
    """What else a client's entry has, as it is shown."""


@dataclass(frozen=True)
class LogQuery:
    """Which entries to read: what is empty leaves a bound open; `after` is where the last page ended."""

    owner: str = ""
    kind: str = ""
    task: str = ""
    log: str = ""
    severities: tuple[str, ...] = ()
    since: str = ""
    until: str = ""
    descending: bool = False
    after: tuple[str, int] | None = None
    """Timestamp and sequence number of the last entry."""


class LogTable:
    """The statements; the store calls them under its lock."""

    def __init__(self, db: sqlite3.Connection) -> None:
        self._db = db
        self._last_id = 0
        db.executescript(SCHEMA)
        self._upgrade()
        db.executescript(INDEXES)

    def _upgrade(self) -> None:
        present = {row[1] for row in self._db.execute("PRAGMA table_info(logs)")}
        missing = [name for name in ADDED if name not in present]
        for name in missing:
            self._db.execute(f"ALTER TABLE logs ADD COLUMN {name} TEXT NOT NULL DEFAULT ''")
            self._db.execute(f"UPDATE logs SET {name} = {ADDED[name]}")
        if missing:
            self._db.execute("INSERT OR IGNORE INTO log_names SELECT DISTINCT log FROM logs")

    def add(self, entries: Iterable[LogEntry]) -> int:
        """How many were written; one with time and insert id of an earlier one is a duplicate, left out."""
        rows: list[tuple[str, ...]] = []
        given: set[tuple[str, str]] = set()
        for entry in entries:
            key = (entry.timestamp, entry.insert_id)
            if entry.insert_id and (key in given or self._has(entry)):
                continue
            given.add(key)
            rows.append(self._row(entry))
        for log in {row[8] for row in rows}:
            self._db.execute("INSERT OR IGNORE INTO log_names VALUES (?)", (log,))
        self._db.executemany(f"INSERT INTO logs ({COLUMNS}) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)", rows)
        return len(rows)

    def page(self, query: LogQuery, limit: int) -> Sequence[LogEntry]:
        """At most `limit` entries, ordered by time, then by insert id, then by arrival."""
        way, beyond = ("DESC", "<") if query.descending else ("ASC", ">")
        clauses, values = self._bounds(query)
        if query.after is not None:
            clauses.append(
                f"(timestamp, insert_id, seq) {beyond} "
                "(?, coalesce((SELECT insert_id FROM logs WHERE seq = ?), ''), ?)"
            )
            values += [query.after[0], query.after[1], query.after[1]]
        order = f"ORDER BY timestamp {way}, insert_id {way}, seq {way}"
        return self._select(clauses, values, order, limit)

    def arrived(self, query: LogQuery, after: int, limit: int) -> Sequence[LogEntry]:
        """At most `limit` entries in the order in which they came, from the one after `after` on."""
        clauses, values = self._bounds(query)
        return self._select(["seq > ?", *clauses], [after, *values], "ORDER BY seq", limit)

    def newest(self) -> int:
        """The sequence number of the entry that came last, 0 where none ever did."""
        row = self._db.execute("SELECT seq FROM sqlite_sequence WHERE name = 'logs'").fetchone()
        return int(row[0]) if row else 0

    def count(self, owner: str, task: str, since: str) -> int:
        """How many lines of a replica are not older than `since` by their origin."""
        counted = f"SELECT count(*) FROM logs {OF_REPLICA} AND origin >= ?"
        row = self._db.execute(counted, (owner, task, since)).fetchone()
        return int(row[0])

    def names(self) -> list[str]:
        """The ids of the logs that have entries, sorted."""
        return [row[0] for row in self._db.execute("SELECT log FROM log_names ORDER BY log")]

    def delete(self, log: str) -> bool:
        """True where there was such a log."""
        known = self._db.execute("DELETE FROM log_names WHERE log = ?", (log,)).rowcount > 0
        self._db.execute("DELETE FROM logs WHERE log = ?", (log,))
        return known

    def _bounds(self, query: LogQuery) -> tuple[list[str], list[Any]]:
        """The owner's is a range only where it has parts: an equality is found faster."""
        clauses, values = _bounds(query)
        if not query.owner:
            return clauses, values
        parts = (f"{query.owner}/", f"{query.owner}0")
        if self._db.execute("SELECT 1 FROM logs WHERE owner > ? AND owner < ? LIMIT 1", parts).fetchone():
            return ["owner >= ? AND owner < ?", *clauses], [query.owner, parts[1], *values]
        return ["owner = ?", *clauses], [query.owner, *values]

    def _select(self, clauses: list[str], values: list[Any], order: str, limit: int) -> Sequence[LogEntry]:
        where = f"WHERE {' AND '.join(clauses)}" if clauses else ""
        rows = self._db.execute(
            f"SELECT {COLUMNS}, seq FROM logs {where} {order} LIMIT ?", (*values, limit)
        ).fetchall()
        return [_entry(row) for row in rows]

    def _has(self, entry: LogEntry) -> bool:
        row = self._db.execute(
            "SELECT 1 FROM logs WHERE timestamp = ? AND insert_id = ?", (entry.timestamp, entry.insert_id)
        ).fetchone()
        return row is not None

    def _row(self, entry: LogEntry) -> tuple[str, ...]:
        return (
            entry.kind,
            entry.owner,
            entry.task,
            entry.timestamp,
            entry.severity,
            json.dumps(entry.payload),
            entry.origin or entry.timestamp,
            entry.insert_id or self._next_id(),
            entry.log or LOG_OF_KIND.get(entry.kind) or entry.task or entry.kind,
            json.dumps(entry.more) if entry.more else "",
        )

    def _next_id(self) -> str:
        """Beyond every id before it, also those of the emulator before this one."""
        self._last_id = max(self._last_id + 1, time.time_ns())
        return f"{self._last_id:016x}"


def _bounds(query: LogQuery) -> tuple[list[str], list[Any]]:
    wanted = [
        ("kind = ? COLLATE NOCASE", query.kind),
        ("task = ? COLLATE NOCASE", query.task),
        ("log = ? COLLATE NOCASE", query.log),
        ("timestamp >= ?", query.since),
        ("timestamp <= ?", query.until),
    ]
    kept = [(clause, value) for clause, value in wanted if value]
    clauses, values = [clause for clause, _ in kept], [value for _, value in kept]
    if query.severities:
        clauses.append(f"severity IN ({', '.join('?' * len(query.severities))})")
        values.extend(query.severities)
    return clauses, values


def _entry(row: tuple[Any, ...]) -> LogEntry:
    kind, owner, task, stamp, severity, payload, origin, insert_id, log, more, seq = row
    return LogEntry(
        kind=kind,
        owner=owner,
        task=task,
        timestamp=stamp,
        severity=severity,
        payload=json.loads(payload),
        seq=seq,
        origin=origin,
        insert_id=insert_id,
        log=log,
        more=json.loads(more) if more else {},
    )
