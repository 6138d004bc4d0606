"""Runs that need no cloud: what the commands call of `headway.jobs`, answered from values."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from headway.cloud.logs import LogLine
from headway.errors import NotFound
from headway.jobs import Progress, RunView
from headway.spec.place import UNSTARTED, Place

CREATED = datetime(2026, 11, 22, 10, 0, tzinfo=UTC)


def view(**changes: Any) -> RunView:
    values: dict[str, Any] = {
        "run_id": "digits-1a2b3c4d",
        "name": "digits",
        "state": "succeeded",
        "phase": "done",
        "metrics": {"test_acc": 0.975, "system/cpu": 80.0},
        "step": 205,
        "epoch": 4,
        "outputs": "gs://b/headway/runs/digits-1a2b3c4d/outputs",
        "checkpoints": ("gs://b/first.ckpt", "gs://b/last.ckpt"),
        "model": "gs://b/model.ckpt",
        "registered": "models:/digits/1",
        "tracking_url": "http://mlflow/run",
        "created": CREATED,
        "started": CREATED,
        "ended": CREATED + timedelta(seconds=83),
        "region": "us-central1",
        "machine": "1 x a2-highgpu-1g with 1 x NVIDIA_TESLA_A100",
        "image": "trainer:abc",
        "job": "projects/1/locations/us-central1/customJobs/7",
        "exit_code": 0,
        "error": None,
        "warnings": (),
        "cost": {
            "spent_usd": 0.0974,
            "left_usd": 1.9026,
            "budget_usd": 2,
            "usd_hour": 4.2244,
            "price_date": "2025-08",
        },
    }
    return RunView.model_validate({**values, **changes})


FAILED = view(state="failed", exit_code=3, error="ValueError: no such layer", model=None, registered=None)


@dataclass
class FakeRun:
    """A run whose wait tells two log lines and then gives `seen`, or raises."""

    seen: RunView
    interrupt: bool = False
    nodes: int = 1
    cancelled: bool = False
    status: None = None
    run_id: str = "digits-1a2b3c4d"

    @property
    def plan(self) -> SimpleNamespace:
        return SimpleNamespace(machine=SimpleNamespace(nodes=self.nodes))

    @property
    def state(self) -> str:
        return "cancelling" if self.cancelled else self.seen.state

    def view(self) -> RunView:
        return self.seen

    def wait(
        self,
        timeout: float | None = None,
        *,
        on_log: Callable[[LogLine], None] | None = None,
        on_poll: Callable[[Any], None] | None = None,
        progress: Progress | None = None,
    ) -> RunView:
        for line in self.logs():
            if on_log:
                on_log(line)
        if on_poll:
            on_poll(SimpleNamespace(state="running"))
        if self.interrupt:
            raise KeyboardInterrupt
        return self.seen

    def logs(self, follow: bool = False) -> Iterator[LogLine]:
        yield LogLine(CREATED, "INFO", "workerpool0-0", "epoch 0")
        yield LogLine(CREATED, "ERROR", "workerpool1-0", "epoch 1")
        if follow and self.interrupt:
            raise KeyboardInterrupt

    def cancel(self, progress: Progress | None = None) -> bool:
        self.cancelled = self.seen.ended is None
        return self.cancelled

    def pull(self, folder: Path) -> list[Path]:
        return [folder / "model" / "model.ckpt"]


@dataclass
class FakeJobs:
    """Stands for the functions of `headway.jobs`; `calls` is what they were called with."""

    run: FakeRun = field(default_factory=lambda: FakeRun(view()))
    calls: list[tuple[str, dict[str, Any]]] = field(default_factory=list)
    error: Exception | None = None
    wrong: Exception | None = None

    def check(self, config: Path, overrides: list[str], flags: dict[str, object]) -> None:
        if self.wrong:
            raise self.wrong

    def submit(self, config: Path, **given: Any) -> FakeRun:
        self.calls.append(("submit", {"config": config, **given}))
        if self.error:
            raise self.error
        given["progress"].step("image", "reuse trainer:abc")
        return self.run

    def runs(self, place: Place, *, limit: int, progress: object) -> list[RunView]:
        self.calls.append(("runs", {"limit": limit}))
        return [self.run.seen]

    def attach(self, run_id: str, place: Place) -> FakeRun:
        if run_id != self.run.run_id:
            raise NotFound(f"there is no run {run_id}", hint="list them with: launch list")
        return self.run

    def cancel_build(self, build_id: str, place: Place) -> None:
        self.calls.append(("cancel_build", {"build_id": build_id}))


def place(**_: Any) -> Place:
    return UNSTARTED
