"""The heartbeat: written while the run lives, right at its end, and never the run's undoing."""

from __future__ import annotations

import threading
import time
from pathlib import Path
from typing import Any

import pytest

from headway.runtime import status
from headway.runtime.status import Heartbeat
from headway.spec.status import RunStatus
from headway.tracking.spool import Spool
from tests.unit.runtime.world import MemoryStore


def _read(store: MemoryStore) -> RunStatus:
    return RunStatus.model_validate_json(store.objects["status.json"])


def test_the_status_is_written_at_once_and_again_while_the_run_lives(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(status, "BEAT_S", 0.1)
    monkeypatch.setattr(status, "CHANGE_S", 0.05)
    store = MemoryStore()
    with Heartbeat("run", store, "status.json", tmp_path):
        deadline = time.monotonic() + 5
        while "status.json" not in store.objects and time.monotonic() < deadline:
            time.sleep(0.01)
        first = _read(store)
        while _read(store).updated == first.updated and time.monotonic() < deadline:
            time.sleep(0.01)
        assert _read(store).updated > first.updated
        assert first.phase == "fetching"


def test_the_last_metrics_are_in_the_last_status(tmp_path: Path) -> None:
    store, spool = MemoryStore(), Spool(tmp_path)
    with Heartbeat("run", store, "status.json", tmp_path) as heartbeat:
        spool.metrics({"loss": 2.0, "acc": 0.5}, step=1, epoch=0)
        spool.system({"system/cpu": 1.0}, step=0)
        heartbeat.update(phase="done")
        spool.metrics({"loss": 1.0}, step=2, epoch=1)
    last = _read(store)
    assert (last.metrics, last.step, last.epoch) == ({"loss": 1.0, "acc": 0.5}, 2, 1)
    assert last.phase == "done"


def test_a_metric_that_is_no_number_any_more_is_left_out(tmp_path: Path) -> None:
    store, spool = MemoryStore(), Spool(tmp_path)
    with Heartbeat("run", store, "status.json", tmp_path):
        spool.metrics({"loss": 2.0}, step=1)
        spool.metrics({"loss": float("nan")}, step=2)
    assert (_read(store).metrics, _read(store).step) == ({}, 2)


def test_a_bucket_that_takes_nothing_is_one_warning(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(status, "LAST_PAUSES_S", (0.0, 0.0))
    store = MemoryStore()
    store.down_for = {"status.json"}
    with Heartbeat("run", store, "status.json", tmp_path):
        pass
    assert capsys.readouterr().err.count("the status cannot be written") == 1


def test_a_spool_that_cannot_be_read_does_not_end_the_heartbeat(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(status, "LAST_PAUSES_S", (0.0, 0.0))
    (tmp_path / "events.jsonl").mkdir()
    with Heartbeat("run", MemoryStore(), "status.json", tmp_path):
        pass
    assert "the status cannot be written: [Errno 21]" in capsys.readouterr().err


def test_a_warning_is_said_and_kept_once(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    store = MemoryStore()
    with Heartbeat("run", store, "status.json", tmp_path) as heartbeat:
        heartbeat.warning("disk slow")
        heartbeat.warning("disk slow")
    assert _read(store).warnings == ("disk slow",)
    assert capsys.readouterr().err == "headway: warning: disk slow\n"


def test_nodes_other_than_the_chief_write_nothing(tmp_path: Path) -> None:
    with Heartbeat("run", None, "status.json", tmp_path) as heartbeat:
        heartbeat.update(phase="training")
        assert heartbeat.status.phase == "training"


@pytest.mark.parametrize("slow_s", [0.3, 0.05], ids=["longer than the end waits", "shorter"])
def test_a_beat_that_arrives_after_the_last_status_does_not_stand(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, slow_s: float
) -> None:
    """The server takes the document at once, and writes it when it likes."""
    monkeypatch.setattr(status, "FINAL_WAIT_S", 0.1)
    begun = threading.Event()

    class Slow(MemoryStore):
        def write(self, name: str, data: bytes, **how: Any) -> bool:
            if threading.current_thread().name == "heartbeat":
                begun.set()
                time.sleep(slow_s)
            return super().write(name, data, **how)

    store = Slow()
    with Heartbeat("run", store, "status.json", tmp_path) as heartbeat:
        assert begun.wait(5)
        heartbeat.update(phase="done", exit_code=0)
    time.sleep(2 * slow_s)
    assert _read(store).phase == "done"
