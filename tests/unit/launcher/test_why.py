"""`launch why` as a user types it: which words are runs, which a config, and what is printed."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from headway import jobs
from headway.config import profile
from headway.jobs import Difference, PreviewStep, Why
from headway_launcher.main import run

from . import fake_jobs

Capture = pytest.CaptureFixture[str]
CHANGED = Difference("config", "args.lr", "0.1", "0.2")
STEP = PreviewStep("image", "build", "trainer:abc", "changed: requirements")


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[tuple[Any, ...]]:
    """What the library was asked, in place of asking it."""
    calls: list[tuple[Any, ...]] = []

    def two(before: str, after: str, place: object) -> Why:
        calls.append((before, after))
        return Why(before, after, (CHANGED,))

    def anew(config: Path, *, overrides: list[str], place: object) -> Why:
        calls.append((config, overrides))
        return Why(None, "digits-2", (), (STEP,))

    monkeypatch.setattr(jobs, "why_two", two)
    monkeypatch.setattr(jobs, "why_anew", anew)
    monkeypatch.setattr(jobs, "check", lambda *_: None)
    monkeypatch.setattr(profile, "find_place", fake_jobs.place)
    return calls


def test_two_runs_are_compared(asked: list[tuple[Any, ...]], capsys: Capture) -> None:
    assert run(["why", "--local", "digits-1", "digits-2"]) == 0
    assert asked == [("digits-1", "digits-2")]
    assert capsys.readouterr().out.splitlines()[-1].split() == ["config", "args.lr", "0.1", "0.2"]


def test_runs_that_were_pulled_here_are_runs_still(
    asked: list[tuple[Any, ...]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "digits-1").mkdir()
    (tmp_path / "digits-2").mkdir()
    assert run(["why", "--local", "digits-1", "digits-2"]) == 0
    assert asked == [("digits-1", "digits-2")]


def test_a_config_tells_what_would_be_done_anew(asked: list[tuple[Any, ...]], capsys: Capture) -> None:
    assert run(["why", "--local", "config.yaml", "args.lr=0.2"]) == 0
    assert asked == [(Path("config.yaml"), ["args.lr=0.2"])]
    out = capsys.readouterr().out
    assert "no run of this name" in out
    assert "changed: requirements" in out


def test_as_json_it_is_one_document(asked: list[tuple[Any, ...]], capsys: Capture) -> None:
    run(["why", "--local", "digits-1", "digits-2", "--json"])
    document = json.loads(capsys.readouterr().out)
    assert document["differences"] == [vars(CHANGED)]
    assert document["steps"] == []


@pytest.mark.parametrize("words", [["digits-1"], ["digits-1", "digits-2", "digits-3"], ["digits-1", "a=b"]])
def test_one_run_or_three_are_none_of_both(
    asked: list[tuple[Any, ...]], capsys: Capture, words: list[str]
) -> None:
    assert run(["why", "--local", *words]) == 2
    assert "launch why RUN RUN2" in capsys.readouterr().err
    assert asked == []
