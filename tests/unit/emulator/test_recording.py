"""The record of requests: bounded, in batches, with the permissions of all."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from headway_emulator.api.recording import Recorded, Recorder
from headway_emulator.request_report import permission_table, request_table


@pytest.fixture
def recorder(tmp_path: Path) -> Iterator[Recorder]:
    made = Recorder(tmp_path / "requests.sqlite3", kept=10)
    yield made
    made.close()


def asked(number: int, permission: str = "a.b.get", status: int = 200) -> Recorded:
    time = f"2026-01-01T00:00:{number:02d}.000000Z"
    return Recorded(time, "a.b.get", "GET", f"/{number}", status, 1.5, "client/1", permission, "")


def test_the_last_requests_are_kept_and_the_permissions_of_all(recorder: Recorder) -> None:
    for number in range(25):
        recorder.add(asked(number, "a.b.get, a.b.list" if number < 5 else "a.b.get"))
        recorder.flush()
    assert [found["path"] for _, found in recorder.requests()] == [f"/{n}" for n in range(24, 14, -1)]
    counts = {found["permission"]: found["requests"] for found in recorder.permissions()}
    assert counts == {"a.b.get": 25, "a.b.list": 5}


def test_what_was_recorded_is_there_after_a_restart(tmp_path: Path) -> None:
    first = Recorder(tmp_path / "requests.sqlite3")
    first.add(asked(1))
    first.close()
    again = Recorder(tmp_path / "requests.sqlite3")
    assert [found["path"] for _, found in again.requests()] == ["/1"]
    again.clear()
    assert (again.requests(), again.permissions()) == ([], [])
    again.close()


def test_requests_are_found_by_pattern_and_time(recorder: Recorder) -> None:
    recorder.add(asked(1))
    recorder.add(asked(2))
    assert len(recorder.requests(method="a.*", since="2026-01-01T00:00:02")) == 1
    assert recorder.requests(method="storage.*") == []


def test_a_refused_request_is_counted_as_such(recorder: Recorder) -> None:
    recorder.add(asked(1, status=403))
    assert recorder.permissions()[0]["refused"] == 1


def test_the_tables_are_lined_up(recorder: Recorder) -> None:
    recorder.add(asked(1))
    table = request_table([found for _, found in recorder.requests()]).splitlines()
    assert table[1].split() == ["00:00:01.000", "200", "2", "ms", "a.b.get", "a.b.get", "client/1"]
    assert permission_table(recorder.permissions()).splitlines()[1].split() == ["a.b.get", "1", "a.b.get"]
