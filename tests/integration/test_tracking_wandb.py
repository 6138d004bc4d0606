"""Weights & Biases without a key: the run is kept offline, below the outputs."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from headway.tracking.sinks import Outcome
from headway.tracking.wandb_sink import WandbSink
from tests.unit.runtime.world import RUN, make_plan


def test_without_a_key_the_run_is_written_below_the_outputs(tmp_path: Path) -> None:
    sink = WandbSink(make_plan(b"", args={"lr": 0.1}, wandb=True), {}, tmp_path)
    sink.open()
    sink.deliver([{"kind": "params", "time": 1.0, "values": {"depth": 3}}, _metrics(0), _metrics(1)])
    sink.deliver([{"kind": "system", "time": 2.0, "step": 0, "values": {"system/cpu": 50.0}}])
    assert sink.finish(Outcome("finished", None, "gs://bucket/model.ckpt")) is None
    (written,) = (tmp_path / "wandb").glob(f"offline-run-*-{RUN}/run-{RUN}.wandb")
    data = written.read_bytes()
    assert b"loss" in data
    assert b"depth" in data


def _metrics(step: int) -> dict[str, Any]:
    return {"kind": "metrics", "time": 1.0, "step": step, "epoch": 0, "values": {"loss": 1.0}}
