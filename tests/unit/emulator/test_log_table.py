"""Log entries in the store: order, duplicates, replicas' own lines, and states of the first version."""

from __future__ import annotations

import sqlite3
from pathlib import Path

import pytest

from headway_emulator.engine.clock import VirtualClock, nano_timestamp
from headway_emulator.engine.executors.protocol import Line
from headway_emulator.engine.jobs.log import JobLog
from headway_emulator.engine.store import LogEntry, LogQuery, Store

TASK = "workerpool0-0"


def entry(moment: int, text: str, **more: str) -> LogEntry:
    return LogEntry("ml_job", "1", TASK, nano_timestamp(moment), "INFO", {"message": text}, **more)  # type: ignore[arg-type]


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path / "state.sqlite3")


def texts(store: Store, query: LogQuery) -> list[str]:
    return [found.payload["message"] for found in store.logs(query, 100)]


def test_entries_of_one_time_are_in_the_order_of_their_insert_ids(store: Store) -> None:
    store.add_logs([entry(1, "c", insert_id="c"), entry(1, "a", insert_id="a"), entry(1, "b", insert_id="b")])
    assert texts(store, LogQuery()) == ["a", "b", "c"]
    assert texts(store, LogQuery(descending=True)) == ["c", "b", "a"]
    first = store.logs(LogQuery(), 1)[0]
    assert texts(store, LogQuery(after=(first.timestamp, first.seq))) == ["b", "c"]


def test_an_entry_of_known_time_and_insert_id_is_left_out(store: Store) -> None:
    assert store.write_logs([entry(1, "a", insert_id="x"), entry(1, "b", insert_id="x")]) == 1
    assert store.write_logs([entry(1, "c", insert_id="x"), entry(2, "d", insert_id="x")]) == 1
    assert texts(store, LogQuery()) == ["a", "d"]


def test_what_came_is_followed_by_number(store: Store) -> None:
    store.add_logs([entry(3, "a"), entry(1, "b")])
    start = store.newest_log()
    store.add_logs([entry(2, "c"), entry(0, "d")])
    arrived = store.arrived_logs(LogQuery(owner="1"), start, 10)
    assert [found.payload["message"] for found in arrived] == ["c", "d"]


def test_a_clients_entry_that_names_a_replica_is_no_line_of_it(store: Store) -> None:
    """Or a container's output would go on too late after a restart."""
    store.add_logs([entry(5, "own", origin=nano_timestamp(7))])
    store.add_logs([LogEntry("ml_job", "1", TASK, nano_timestamp(9), "INFO", {}, more={"textPayload": "x"})])
    assert (
        store.count_logs("1", TASK, nano_timestamp(7)),
        store.count_logs("1", TASK, nano_timestamp(8)),
    ) == (
        1,
        0,
    )


def test_under_a_virtual_clock_a_line_keeps_both_times(store: Store) -> None:
    clock = VirtualClock(1_000)
    log = JobLog(store, clock, "1")
    clock.advance(3600)
    log.lines(TASK, [Line(nano_timestamp(2_000), "stdout", "x")])
    assert log.taken(TASK, nano_timestamp(2_000)) == 1
    (found,) = store.logs(LogQuery(), 10)
    assert (found.timestamp, found.origin) == (nano_timestamp(clock.now_ns()), nano_timestamp(2_000))
    clock.close()


def test_a_log_that_is_deleted_is_listed_no_more_until_it_is_written_again(store: Store) -> None:
    store.add_logs([entry(1, "a", log="mine"), entry(1, "b")])
    assert store.log_names() == ["mine", TASK]
    assert store.delete_log("mine")
    assert not store.delete_log("mine")
    assert (store.log_names(), texts(store, LogQuery())) == ([TASK], ["b"])
    store.add_logs([entry(2, "c", log="mine")])
    assert store.log_names() == ["mine", TASK]


def test_a_write_that_is_rolled_back_leaves_no_name(store: Store) -> None:
    def write() -> None:
        with store.transaction():
            store.write_logs([entry(1, "a", log="gone")])
            raise KeyError

    with pytest.raises(KeyError):
        write()
    assert store.log_names() == []
    store.add_logs([entry(1, "a", log="gone")])
    assert store.log_names() == ["gone"]


def test_a_state_of_the_first_version_is_read_on(tmp_path: Path) -> None:
    path = tmp_path / "state.sqlite3"
    old = sqlite3.connect(path)
    old.executescript(
        "CREATE TABLE logs (seq INTEGER PRIMARY KEY AUTOINCREMENT, kind TEXT NOT NULL, owner TEXT NOT NULL, "
        "task TEXT NOT NULL, timestamp TEXT NOT NULL, severity TEXT NOT NULL, payload TEXT NOT NULL);"
        "INSERT INTO logs VALUES (1, 'ml_job', '1', 'workerpool0-0', 't', 'INFO', '{\"message\": \"old\"}');"
        "INSERT INTO logs VALUES (2, 'build', '2', '', 'u', 'INFO', '{\"message\": \"built\"}');"
    )
    old.close()
    store = Store(path)
    assert texts(store, LogQuery(owner="1")) == ["old"]
    assert (store.count_logs("1", TASK, "t"), store.count_logs("1", TASK, "u")) == (1, 0)
    assert store.log_names() == ["cloudbuild", TASK]
    store.close()
