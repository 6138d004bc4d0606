"""The record of requests where the disk takes no more."""

from __future__ import annotations

from pathlib import Path

import pytest

from headway_emulator.api.recording import Recorded, Recorder


def request(path: str) -> Recorded:
    return Recorded("2026-11-22T00:00:00Z", "m.get", "GET", path, 200, 1.0, "c", "", "")


def test_a_full_disk_costs_the_requests_of_that_time_and_no_others(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    recorder = Recorder(tmp_path / "requests.sqlite3")
    recorder._db.execute("PRAGMA max_page_count = 1")
    for number in range(2000):
        recorder.add(request(f"/{number}" + "x" * 1000))
    recorder.flush()
    assert "are not recorded" in capsys.readouterr().err
    recorder._db.execute("PRAGMA max_page_count = 1000000")
    recorder.add(request("/after"))
    assert recorder.requests()[0][1]["path"] == "/after"
    recorder.close()
