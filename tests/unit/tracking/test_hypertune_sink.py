"""The hypertune sink: what it writes is what cloudml-hypertune writes, and what the emulator reads."""

from __future__ import annotations

import errno
import importlib
import os
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from headway.errors import MachineError
from headway.spec.layout import METRIC_FILE_VARIABLE, TRIAL_VARIABLE
from headway.tracking.hypertune_sink import HypertuneSink
from headway.tracking.sinks import Outcome

STUDY = {"metrics": [{"metricId": "val_loss", "goal": "MINIMIZE"}]}


def _sink(folder: Path, metric: str = "val_loss") -> HypertuneSink:
    variables = {TRIAL_VARIABLE: "3", METRIC_FILE_VARIABLE: str(folder / "hypertune" / "output.metrics")}
    return HypertuneSink(metric, variables, folder / "theirs.metrics")


def _file(folder: Path) -> Path:
    return folder / "hypertune" / "output.metrics"


def _event(moment: float, step: int | None, **values: float) -> dict[str, Any]:
    return {"kind": "metrics", "time": moment, "step": step, "values": values}


def _hypertune(path: Path, reports: Sequence[tuple[float, float, int]], tag: str = "val_loss") -> None:
    """What the package writes when it is told each (time, value, step)."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv(METRIC_FILE_VARIABLE, str(path))
        patch.setenv(TRIAL_VARIABLE, "3")
        tune = importlib.import_module("hypertune").HyperTune()
        for moment, value, step in reports:
            patch.setattr(time, "time", lambda moment=moment: moment)
            tune.report_hyperparameter_tuning_metric(tag, value, step)


def _measured(path: Path) -> list[tuple[int, float]]:
    """Steps and values as the emulated Vertex AI takes them from a trial's file."""
    from headway_emulator.engine.tuning import measurements

    found = measurements.merged([], measurements.read(path.read_text(), STUDY, began=0.0))
    return [(int(one["stepCount"]), one["metrics"][0]["value"]) for one in found]


@pytest.mark.parametrize("count", [1, 3, 250])
def test_the_file_is_the_one_that_cloudml_hypertune_writes(tmp_path: Path, count: int) -> None:
    reports = [(1e9 + n + 0.25, 1 / (n + 1), n * 10) for n in range(count)]
    _hypertune(tmp_path / "package" / "output.metrics", reports)
    sink = _sink(tmp_path)
    sink.open()
    for moment, value, step in reports:
        sink.deliver([_event(moment, step, val_loss=value)])
    sink.finish(Outcome("finished"))
    assert _file(tmp_path).read_bytes() == (tmp_path / "package" / "output.metrics").read_bytes()
    assert _measured(_file(tmp_path))[-1] == ((count - 1) * 10, 1 / count)
    assert sink.value == 1 / count


def test_other_metrics_are_known_but_not_reported(tmp_path: Path) -> None:
    sink = _sink(tmp_path)
    sink.open()
    sink.deliver([_event(1.0, 1, train_loss=2.0, val_acc=0.5)])
    sink.deliver([{"kind": "system", "time": 1.0, "step": 0, "values": {"system/cpu": 1.0}}])
    sink.finish(Outcome("finished"))
    assert not _file(tmp_path).exists()
    assert (sink.value, sink.met, sink.logged) == (None, False, {"train_loss", "val_acc"})


def test_a_value_that_is_no_number_is_met_but_not_reported(tmp_path: Path) -> None:
    sink = _sink(tmp_path)
    sink.open()
    sink.deliver([_event(1.0, 1, val_loss=float("nan"))])
    assert (sink.value, sink.met) == (None, True)
    sink.deliver([_event(2.0, 2, val_loss=0.5), _event(3.0, 3, val_loss=float("inf"))])
    assert _measured(_file(tmp_path)) == [(2, 0.5)]


def test_a_value_that_several_callbacks_see_at_one_step_is_reported_once(tmp_path: Path) -> None:
    sink = _sink(tmp_path)
    sink.open()
    sink.deliver([_event(1.0, 5, val_loss=0.5), _event(1.1, 5, val_loss=0.5), _event(2.0, 9, val_loss=0.5)])
    assert _measured(_file(tmp_path)) == [(5, 0.5), (9, 0.5)]


def test_what_a_second_trainer_logs_counts_as_the_later(tmp_path: Path) -> None:
    sink = _sink(tmp_path)
    sink.open()
    sink.deliver([_event(1.0, 100, val_loss=0.5), _event(2.0, 10, val_loss=0.25)])
    assert _measured(_file(tmp_path))[-1] == (100, 0.25)
    assert sink.value == 0.25


def test_a_container_that_starts_again_on_the_same_disk_goes_on_with_the_file(tmp_path: Path) -> None:
    first = _sink(tmp_path)
    first.open()
    first.deliver([_event(1.0, 1, val_loss=0.5)])
    again = _sink(tmp_path)
    again.open()
    again.open()
    assert again.value == 0.5
    again.deliver([_event(2.0, 2, val_loss=0.25)])
    assert _measured(_file(tmp_path)) == [(1, 0.5), (2, 0.25)]


def test_a_container_that_starts_again_takes_over_no_report_of_the_code_twice(tmp_path: Path) -> None:
    _hypertune(tmp_path / "theirs.metrics", [(1.0, 0.5, 10), (2.0, 0.25, 20)])
    for _ in range(2):
        sink = _sink(tmp_path)
        sink.open()
        sink.finish(Outcome("finished"))
        assert _measured(_file(tmp_path)) == [(10, 0.5), (20, 0.25)]
        assert len(_file(tmp_path).read_text().splitlines()) == 2


def test_what_the_code_reports_by_itself_is_taken_over_once(tmp_path: Path) -> None:
    sink = _sink(tmp_path)
    sink.open()
    _hypertune(tmp_path / "theirs.metrics", [(1.0, 0.5, 10), (2.0, 0.25, 20)])
    sink.deliver([_event(1.5, 15, val_acc=0.5)])
    _hypertune(tmp_path / "theirs.metrics", [(1.0, 0.5, 10), (2.0, 0.25, 20), (3.0, 0.125, 30)])
    with (tmp_path / "theirs.metrics").open("a") as file:
        file.write('{"timestamp": 4.0, "val_lo')
    sink.finish(Outcome("finished"))
    sink.finish(Outcome("finished"))
    assert _measured(_file(tmp_path)) == [(10, 0.5), (20, 0.25), (30, 0.125)]
    assert (sink.value, sink.logged) == (0.125, {"val_acc", "val_loss"})


def test_a_disk_that_is_full_for_a_while_costs_no_value(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sink = _sink(tmp_path)
    sink.open()
    events = [_event(float(n), n, val_loss=1.0 / n) for n in (1, 2, 3)]

    def full(*_: object, **__: object) -> int:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with monkeypatch.context() as patch:
        patch.setattr(Path, "write_text", full)
        sink.deliver(events)
        with pytest.raises(MachineError, match="No space left on device"):
            sink.finish(Outcome("finished"))
    sink.finish(Outcome("finished"))
    assert _measured(_file(tmp_path)) == [(1, 1.0), (2, 0.5), (3, 1 / 3)]


def test_garbage_in_the_files_is_passed_over(tmp_path: Path) -> None:
    _file(tmp_path).parent.mkdir()
    lines = ["", "garbage", "[1]", "3", '{"val_loss": "0.5"}', '{"timestamp": 1.0, "global_step": "x"}']
    lines.append('{"timestamp": 1.0, "val_loss": "0.5", "global_step": Infinity}')
    for path in (_file(tmp_path), tmp_path / "theirs.metrics"):
        path.write_text("\n".join(lines))
    sink = _sink(tmp_path)
    sink.open()
    sink.finish(Outcome("finished"))
    assert sink.value is None
