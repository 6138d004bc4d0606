"""Delivery: events reach the sink once it answers, and a sink that never does costs a bounded time."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from headway.spec.status import ModelVersion
from headway.tracking import delivery
from headway.tracking.delivery import Delivery
from headway.tracking.sinks import Opened, Outcome
from headway.tracking.spool import Spool
from tests.unit.tracking.memory import MemorySink


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(delivery, "PAUSES_S", (0.01,))
    monkeypatch.setattr(delivery, "LAST_PAUSE_S", 0.01)
    monkeypatch.setattr(delivery, "LOOK_S", 0.01)


class Told:
    def __init__(self, sink: MemorySink, spool: Path) -> None:
        self.opened: list[Opened] = []
        self.warnings: list[str] = []
        self.delivery = Delivery(sink, spool, opened=self.opened.append, told=self.warnings.append)

    def end(self, within: float = 5.0) -> bool:
        self.delivery.end(Outcome("finished"))
        return self.delivery.join(time.monotonic() + within)


def test_what_was_spooled_is_delivered_and_the_run_is_ended(tmp_path: Path) -> None:
    spool, sink = Spool(tmp_path), MemorySink()
    told = Told(sink, tmp_path)
    spool.metrics({"loss": 1.0}, step=1)
    told.delivery.start()
    spool.metrics({"loss": 2.0}, step=2)
    assert told.end()
    assert sink.steps == [1, 2]
    assert sink.outcome == Outcome("finished")
    assert told.opened == [Opened("http://tracking/1", "1")]
    assert told.delivery.registered == ModelVersion(name="digits", version="1")
    assert told.warnings == []


def test_a_server_that_comes_back_gets_everything(tmp_path: Path) -> None:
    spool, sink = Spool(tmp_path), MemorySink()
    sink.failures = 3
    told = Told(sink, tmp_path)
    spool.metrics({"loss": 1.0}, step=1)
    told.delivery.start()
    assert told.end()
    assert sink.steps == [1]
    assert len(told.warnings) == 1


def test_a_server_that_never_answers_is_given_up_at_the_deadline(tmp_path: Path) -> None:
    sink = MemorySink()
    sink.failures = 10**9
    told = Told(sink, tmp_path)
    told.delivery.start()
    started = time.monotonic()
    assert not told.end(within=0.3)
    assert time.monotonic() - started < 2
    assert "not all of the run is in mlflow: no answer" in told.warnings


def test_a_signal_shortens_the_wait(tmp_path: Path) -> None:
    sink = MemorySink()
    sink.failures = 10**9
    told = Told(sink, tmp_path)
    told.delivery.start()
    told.delivery.end(Outcome("killed"))
    assert not told.delivery.join(time.monotonic() + 60, hurried=lambda: True)


def test_events_that_are_refused_do_not_hold_up_the_rest(tmp_path: Path) -> None:
    spool, sink = Spool(tmp_path), MemorySink()
    sink.refuses = lambda event: bool(event["step"] == 1)
    told = Told(sink, tmp_path)
    spool.metrics({"b@d": 1.0}, step=1)
    told.delivery.start()
    deadline = time.monotonic() + 5
    while not told.warnings and time.monotonic() < deadline:
        time.sleep(0.01)
    spool.metrics({"loss": 1.0}, step=2)
    assert told.end()
    assert sink.steps == [2]
    assert "bad name" in told.warnings[0]


def test_of_a_batch_only_the_refused_events_are_left_out(tmp_path: Path) -> None:
    spool, sink = Spool(tmp_path), MemorySink()
    sink.refuses = lambda event: bool(event["step"] in (3, 7))
    told = Told(sink, tmp_path)
    for step in range(10):
        spool.metrics({"loss": 1.0}, step=step)
    told.delivery.start()
    assert told.end()
    assert sink.steps == [0, 1, 2, 4, 5, 6, 8, 9]
    assert told.warnings == ["mlflow refused events, which are left out: bad name"]


def test_a_fault_in_the_sink_is_a_warning(tmp_path: Path) -> None:
    class Faulty(MemorySink):
        def open(self) -> Opened:
            raise ZeroDivisionError("oops")

    told = Told(Faulty(), tmp_path)
    told.delivery.start()
    assert told.end()
    assert told.warnings == ["tracking with mlflow ended: ZeroDivisionError: oops"]
