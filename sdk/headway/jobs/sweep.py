"""Sweep: what a tuning job, and those that went on with it, became; followed from the laptop."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from headway.cloud import vertex
from headway.cloud.logs import LogLine
from headway.cloud.services import Services
from headway.cloud.tuning import TuningJob
from headway.errors import NotFound
from headway.jobs import sweep_tracking
from headway.jobs.claim import read_sweep
from headway.jobs.followed import Followed
from headway.jobs.lookup import find_job
from headway.jobs.progress import Progress, Silent
from headway.jobs.sweep_view import SweepView, TrialView, label, pin_of, trial_views, view_of
from headway.spec.place import Place
from headway.spec.plan import Plan

if TYPE_CHECKING:
    import pandas

    from headway.jobs.sweep_plot import Plot


class Sweep(Followed[TuningJob]):
    """A sweep, followed from the laptop. `plan` is that of its last tuning job."""

    def __init__(self, plan: Plan, services: Services) -> None:
        super().__init__(plan, services)
        self.pin = pin_of(plan)
        self._earlier: tuple[TuningJob, ...] | None = None

    def __repr__(self) -> str:
        return f"<Sweep {self.sweep_id}>"

    @property
    def sweep_id(self) -> str:
        return self.plan.run_id

    @property
    def best(self) -> TrialView | None:
        """The best trial so far of those that ended well."""
        return self.view().best

    def _found(self, job: vertex.Job | None) -> TuningJob:
        if not isinstance(job, TuningJob):
            raise NotFound(
                f"{self.sweep_id} is claimed, but Vertex AI has no tuning job of it",
                hint="start the same sweep again: that repairs it",
            )
        return job

    @property
    def _later(self) -> str:
        return f"it goes on: launch sweep status{self.services.place.words} {self.sweep_id}"

    def view(self) -> SweepView:
        """Everything about the sweep in one document."""
        return view_of(self.plan, self.jobs(), self.services)

    def jobs(self) -> tuple[TuningJob, ...]:
        """All its tuning jobs, the last one at the end."""
        return (*self._before(), self.job())

    def trials(self) -> pandas.DataFrame:
        """One row a trial: its number, state, values, the metric, seconds and run id."""
        import pandas

        view = self.view()
        rows = [
            {
                "trial": label(each),
                "state": each.state,
                **{name: each.values.get(name) for name in view.parameters},
                view.metric: each.value,
                "step": each.step,
                "seconds": each.seconds,
                "run_id": each.run_id,
            }
            for each in view.trials
        ]
        columns = ["trial", "state", *view.parameters, view.metric, "step", "seconds", "run_id"]
        return pandas.DataFrame(rows, columns=columns).set_index("trial")

    def logs(self, trial: str) -> Iterator[LogLine]:
        """The lines of one trial, named as in the table (`7`, `2-7`) or by its run id. Raises NotFound."""
        for job in self.jobs():
            for each in trial_views(self.plan, job):
                if trial in (label(each), each.run_id):
                    return iter(list(self.services.log(job.job_id, each.trial).new()))
        raise NotFound(
            f"{self.sweep_id} has no trial {trial}",
            hint=f"see them: launch sweep status{self.services.place.words} {self.sweep_id}",
        )

    def plot(self, path: str | Path | None = None) -> Plot:
        """The objective against each parameter; in a notebook it shows itself. `path`: a PNG too."""
        from headway.jobs.sweep_plot import draw

        drawn = draw(self.view(), self.pin.parameters)
        if path is not None:
            drawn.save(Path(path))
        return drawn

    def wait(
        self,
        timeout: float | None = None,
        *,
        on_poll: Callable[[TuningJob], None] | None = None,
        progress: Progress | None = None,
    ) -> SweepView:
        """Wait until the sweep has ended, whatever the end; `on_poll` gets each look.

        `timeout` is in seconds. Raises DeadlinePassed (the sweep goes on), RemoteError after a long outage.
        """
        deadline = time.monotonic() + timeout if timeout is not None else None
        for job in self._polls(deadline, progress or Silent()):
            if on_poll:
                on_poll(job)
        view = self.view()
        self.record(view)
        return view

    def record(self, view: SweepView) -> None:
        """Tell the tracking server how the sweep ended; one that does not answer changes nothing."""
        if view.state in vertex.ENDED:
            sweep_tracking.close(self.plan, self.services, view.state, _told(view))

    def _before(self) -> tuple[TuningJob, ...]:
        """The tuning jobs that this one went on with: they have ended, and are asked for once."""
        if self._earlier is None:
            plans = [read_sweep(self.sweep_id, self.services, n) for n in range(1, self.pin.attempt)]
            found = [find_job(self.services, plan) for plan in plans]
            self._earlier = tuple(job for job in found if isinstance(job, TuningJob))
        return self._earlier


def attach_sweep(sweep_id: str, place: Place, *, services: Services | None = None) -> Sweep:
    """The sweep of that id. Raises NotFound where the bucket holds no plan of it."""
    services = services or Services(place)
    plan = read_sweep(sweep_id, services)
    return Sweep(read_sweep(sweep_id, services, last_attempt(plan, services)), services)


def last_attempt(plan: Plan, services: Services) -> int:
    """How many tuning jobs of the sweep were claimed; 0 where none was."""
    prefix = plan.layout.sweep(plan.run_id) + "/plan"
    names = {entry.name for entry in services.store.list(prefix)}
    attempt = 0
    while plan.layout.sweep_plan(plan.run_id, attempt + 1) in names:
        attempt += 1
    return attempt


def _told(view: SweepView) -> sweep_tracking.Told:
    best = view.best
    return sweep_tracking.Told(
        metric=view.metric,
        value=best.value if best else None,
        values=dict(best.values) if best else {},
        trial=best.run_id if best else None,
    )
