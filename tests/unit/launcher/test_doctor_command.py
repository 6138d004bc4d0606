"""`launch doctor` as a user types it: a table or a document, and the exit code."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from headway.jobs import doctor
from headway.jobs.doctor import Report, Row
from headway_launcher.main import run

Capture = pytest.CaptureFixture[str]


@pytest.fixture
def rows(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> list[Row]:
    """What the doctor finds; a test says it."""
    found: list[Row] = []
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(doctor, "examine", lambda *_, **__: Report("prod", "acme", False, tuple(found)))
    return found


def test_a_failure_ends_with_one_and_what_mends_it(rows: list[Row], capsys: Capture) -> None:
    rows += [Row("config", "ok", "digits", None), Row("bucket", "failure", "there is none", "make one")]

    assert run(["doctor"]) == 1
    assert "bucket  failure  there is none   make one" in capsys.readouterr().out


def test_warnings_end_with_zero_and_what_was_not_checked_is_named(rows: list[Row], capsys: Capture) -> None:
    rows += [Row("engine", "warning", "none", "start it"), Row("APIs", "not checked", "offline", None)]

    assert run(["doctor"]) == 0
    assert capsys.readouterr().err == "could not check: APIs\n"


def test_with_json_it_prints_the_document_alone(rows: list[Row], capsys: Capture) -> None:
    rows.append(Row("bucket", "failure", "there is none", "make one"))

    assert run(["doctor", "--json"]) == 1
    document = json.loads(capsys.readouterr().out)
    assert document == {
        "profile": "prod",
        "project": "acme",
        "online": False,
        "failed": True,
        "checks": [
            {"check": "bucket", "state": "failure", "found": "there is none", "fix": "make one"},
        ],
    }
