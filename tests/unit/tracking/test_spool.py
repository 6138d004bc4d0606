"""The spool: nothing is lost, nothing is read twice once committed, training is never hurt."""

from __future__ import annotations

import errno
import os
import time
from pathlib import Path
from typing import Any

import pytest

from headway.tracking.spool import Spool, SpoolReader


def test_events_are_read_in_the_order_they_were_written(tmp_path: Path) -> None:
    spool = Spool(tmp_path)
    spool.params({"lr": 0.1, "where": Path("data")})
    spool.metrics({"loss": 1.5}, step=3, epoch=1)
    spool.system({"system/cpu": 50.0}, step=0)
    params, metrics, system = SpoolReader(tmp_path).read()
    assert params["values"] == {"lr": 0.1, "where": "data"}
    assert (metrics["kind"], metrics["step"], metrics["epoch"]) == ("metrics", 3, 1)
    assert abs(metrics["time"] - time.time()) < 60
    assert system["kind"] == "system"


def test_a_reader_goes_on_after_a_restart_where_it_committed(tmp_path: Path) -> None:
    spool = Spool(tmp_path)
    reader = SpoolReader(tmp_path, "mlflow")
    spool.metrics({"loss": 1.0}, step=1)
    reader.read()
    reader.commit()
    spool.metrics({"loss": 2.0}, step=2)
    assert reader.read() == reader.read()
    assert [event["step"] for event in SpoolReader(tmp_path, "mlflow").read()] == [2]
    assert [event["step"] for event in SpoolReader(tmp_path, "other").read()] == [1, 2]


def test_a_line_half_written_is_waited_for(tmp_path: Path) -> None:
    spool = Spool(tmp_path)
    spool.metrics({"loss": 1.0}, step=1)
    reader = SpoolReader(tmp_path)
    with spool.path.open("ab") as file:
        file.write(b'{"kind":"metrics","time":1,"step":2,')
    assert len(reader.read()) == 1
    reader.commit()
    assert reader.read() == []
    with spool.path.open("ab") as file:
        file.write(b'"values":{"loss":2.0}}\n')
    assert [event["step"] for event in reader.read()] == [2]


def test_a_malformed_line_is_counted_and_passed_over(tmp_path: Path) -> None:
    spool = Spool(tmp_path)
    spool.metrics({"loss": 1.0}, step=1)
    with spool.path.open("ab") as file:
        file.write(b"\x00garbage\n[1]\n")
    spool.metrics({"loss": 2.0}, step=2)
    reader = SpoolReader(tmp_path)
    assert [event["step"] for event in reader.read()] == [1, 2]
    assert reader.malformed == 2


def test_malformed_lines_longer_than_a_read_do_not_hold_up_what_follows(tmp_path: Path) -> None:
    spool = Spool(tmp_path)
    spool.path.write_bytes(b"\x00" * 5000 + b"\n" + b"garbage\n" * 500)
    spool.metrics({"loss": 2.0}, step=2)
    reader = SpoolReader(tmp_path)
    assert [event["step"] for event in reader.read(limit=100)] == [2]


@pytest.mark.parametrize(
    "line",
    [
        '{"values":{}}',
        '{"kind":"metrics","time":1,"values":{"loss":"high"}}',
        '{"kind":"metrics","values":{}}',
        '{"kind":"other","time":1,"values":{}}',
    ],
)
def test_a_line_without_what_the_readers_rely_on_is_malformed(tmp_path: Path, line: str) -> None:
    (tmp_path / "events.jsonl").write_text(f"{line}\n")
    reader = SpoolReader(tmp_path)
    assert reader.read() == []
    assert reader.malformed == 1


def test_a_metric_of_any_number_type_is_a_number_and_what_is_none_is_dropped(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    import numpy as np

    spool = Spool(tmp_path)
    given: dict[str, Any] = {"loss": np.float32(0.5), "acc": np.array(1.0), "rows": np.ones(3), "note": "x"}
    spool.metrics(given, step=1)
    spool.metrics({"big": 10**400}, step=2)
    (event,) = SpoolReader(tmp_path).read()
    assert event["values"] == {"loss": 0.5, "acc": 1.0}
    assert spool.dropped == 3
    assert "the value of rows is no number" in capsys.readouterr().err


def test_parameters_that_json_cannot_hold_do_not_stop_training(tmp_path: Path) -> None:
    spool = Spool(tmp_path)
    circle: dict[str, object] = {}
    circle["self"] = circle
    spool.params(circle)
    spool.params({"table": {(1, 2): 3}})
    spool.params({"lr": 0.1})
    assert [event["values"] for event in SpoolReader(tmp_path).read()] == [{"lr": 0.1}]


def test_a_disk_that_takes_no_mark_does_not_end_the_reading(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    spool, reader = Spool(tmp_path), SpoolReader(tmp_path, "mlflow")
    spool.metrics({"loss": 1.0}, step=1)
    reader.read()

    def full(*_: object, **__: object) -> int:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(Path, "write_text", full)
    reader.commit()
    spool.metrics({"loss": 2.0}, step=2)
    assert [event["step"] for event in reader.read()] == [2]


def test_reading_in_pieces_gives_every_event_once(tmp_path: Path) -> None:
    spool = Spool(tmp_path)
    for step in range(500):
        spool.metrics({"loss": step / 3}, step=step)
    reader, steps = SpoolReader(tmp_path), []
    while events := reader.read(limit=100):
        steps += [event["step"] for event in events]
        reader.commit()
    assert steps == list(range(500))
    assert reader.behind == 0


def test_a_full_disk_drops_events_with_one_warning_and_raises_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    spool = Spool(tmp_path)
    spool.metrics({"loss": 1.0}, step=1)

    def full(*_: object) -> int:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with monkeypatch.context() as patch:
        patch.setattr(os, "write", full)
        spool.metrics({"loss": 2.0}, step=2)
        spool.metrics({"loss": 3.0}, step=3)
    spool.metrics({"loss": 4.0}, step=4)
    assert spool.dropped == 2
    assert capsys.readouterr().err.count("No space left on device") == 1
    assert [event["step"] for event in SpoolReader(tmp_path).read()] == [1, 4]


def test_an_event_cut_off_by_a_full_disk_does_not_swallow_the_next(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    spool, write = Spool(tmp_path), os.write
    with monkeypatch.context() as patch:
        patch.setattr(os, "write", lambda file, data: write(file, data[:20]))
        spool.metrics({"loss": 1.0}, step=1)
    spool.metrics({"loss": 2.0}, step=2)
    assert [event["step"] for event in SpoolReader(tmp_path).read()] == [2]
    assert spool.dropped == 1


def test_an_event_costs_training_some_microseconds(tmp_path: Path) -> None:
    spool = Spool(tmp_path)
    values = {"loss": 0.123456, "acc": 0.9, "lr": 1e-3, "grad": 2.5}
    started = time.process_time()
    for step in range(2000):
        spool.metrics(values, step=step, epoch=0)
    assert (time.process_time() - started) / 2000 < 100e-6
