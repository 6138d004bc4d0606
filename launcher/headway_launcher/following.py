"""Following a run to its end: its log, and a progress line with phase, epoch, step and metrics."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from headway_launcher.place import Where
from headway_launcher.render import Screen

if TYPE_CHECKING:
    from headway.cloud.logs import LogLine
    from headway.cloud.vertex import Job
    from headway.jobs import Run, RunView
    from headway.spec.status import RunStatus

_STATUS_SECONDS = 1.0
_METRICS_SHOWN = 4


def follow(
    run: Run, where: Where, out: Screen, *, timeout: float | None = None, logs: bool = True
) -> RunView:
    """Wait for the run's end, its log printed on the way. Ctrl-C leaves it running and says so."""
    from headway.errors import interruptible

    several = run.plan.machine.nodes > 1

    def tell(line: LogLine) -> None:
        out.line(f"{line.replica}: {line.text}" if several else line.text)

    with (
        interruptible(
            f"stopped following {run.run_id}; the run goes on",
            f"follow it again: launch logs -f{where.words} {run.run_id}; "
            f"stop it: launch cancel{where.words} {run.run_id}",
        ),
        out.progress(f"{run.run_id}: waiting for its machine"),
    ):
        return run.wait(timeout, on_log=tell if logs else None, on_poll=_Progress(run, out), progress=out)


class _Progress:
    """Called at each look at the job; asks for the container's own status once a second at most."""

    def __init__(self, run: Run, out: Screen) -> None:
        self._run = run
        self._out = out
        self._began = time.monotonic()
        self._asked = 0.0
        self._status: RunStatus | None = None

    def __call__(self, job: Job) -> None:
        if not self._out.shows_progress:
            return
        now = time.monotonic()
        if now - self._asked >= _STATUS_SECONDS:
            self._asked = now
            self._ask()
        self._out.update(progress_text(self._run.run_id, job.state, self._status, now - self._began))

    def _ask(self) -> None:
        from headway.errors import RemoteError

        try:
            self._status = self._run.status
        except RemoteError:
            return  # the line keeps what it shows; waiting itself notices an outage


def progress_text(run_id: str, state: str, status: RunStatus | None, seconds: float) -> str:
    """`digits-1a2b3c4d  running · training · epoch 2 · step 140 · loss 0.31 · 0:42`."""
    parts = [state]
    if status is not None:
        parts.append(status.phase)
        parts += [f"epoch {status.epoch}"] if status.epoch is not None else []
        parts += [f"step {status.step}"] if status.step is not None else []
        shown = [item for item in sorted(status.metrics.items()) if not item[0].startswith("system/")]
        parts += [f"{name} {value:.4g}" for name, value in shown[:_METRICS_SHOWN]]
    minutes, rest = divmod(int(seconds), 60)
    return f"{run_id}  {' · '.join([*parts, f'{minutes}:{rest:02d}'])}"
