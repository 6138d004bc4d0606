"""The runs and the sweeps of a place, newest first."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from itertools import islice
from typing import TypeVar

from headway.cloud import vertex
from headway.cloud.asking import ask_each
from headway.cloud.services import Services
from headway.cloud.tuning import TuningJob
from headway.errors import NotFound, RemoteError, Unreadable
from headway.jobs.claim import read_plan
from headway.jobs.lookup import goes_on
from headway.jobs.progress import Progress, Silent
from headway.jobs.run import Run, RunView, bare_view
from headway.jobs.sweep import attach_sweep
from headway.jobs.sweep_view import SweepView, bare_sweep_view
from headway.spec import layout
from headway.spec.place import Place

J = TypeVar("J", bound=vertex.Job)


def runs(
    place: Place,
    *,
    limit: int = 20,
    services: Services | None = None,
    progress: Progress | None = None,
) -> list[RunView]:
    """The newest runs, by Vertex AI's own lists: of the place's region, and of each that a run went to.

    One of the latter that cannot be asked hides no other: `progress` is told.
    """
    services, progress = services or Services(place), progress or Silent()
    newest = _newest(services, limit, progress, lambda r: services.jobs(r).labelled(layout.LABEL_RUN))
    views = ask_each(lambda job: _run(job, services), newest)
    return [view for view in views if view is not None]


def sweeps(
    place: Place,
    *,
    limit: int = 20,
    services: Services | None = None,
    progress: Progress | None = None,
) -> list[SweepView]:
    """The newest sweeps, found as runs are."""
    services, progress = services or Services(place), progress or Silent()
    newest = _newest(services, limit, progress, lambda r: services.tuning(r).labelled(layout.LABEL_SWEEP))
    views = ask_each(lambda job: _sweep(job, services), newest)
    return [view for view in views if view is not None]


def _newest(
    services: Services, limit: int, progress: Progress, jobs_in: Callable[[str], Iterable[J]]
) -> list[J]:
    """Of each of the newest runs (or sweeps) its newest job: those before it were other attempts."""

    def listing(region: str) -> list[J]:
        try:
            return list(islice(jobs_in(region), 2 * limit))
        except RemoteError as error:
            if region == services.place.region:
                raise
            progress.step(region, f"what ran there is left out: {error.message}")
            return []

    regions = dict.fromkeys((services.place.region, *_others(services)))
    listed = ask_each(listing, regions)
    jobs = sorted((job for each in listed for job in each), key=lambda job: job.made)
    newest = {job.labels[layout.LABEL_RUN]: job for job in jobs if layout.LABEL_RUN in job.labels}
    return sorted(newest.values(), key=lambda job: job.made, reverse=True)[:limit]


def _others(services: Services) -> list[str]:
    prefix = layout.BucketLayout(services.place.bucket).regions
    return [item.name.removeprefix(prefix) for item in services.store.list(prefix)]


def _run(job: vertex.Job, services: Services) -> RunView | None:
    """None where the bucket no longer holds the run's plan."""
    try:
        plan = read_plan(job.labels[layout.LABEL_RUN], services)
    except NotFound:
        return None
    except Unreadable as error:
        return bare_view(job, services.place, error)
    # one that found no machines may have gone on in a region that was not listed
    run = Run(plan, services) if goes_on(job, plan) else Run(plan, services, job=job)
    try:
        return run.view()
    except Unreadable as error:
        return bare_view(job, services.place, error)


def _sweep(job: TuningJob, services: Services) -> SweepView | None:
    """None where the bucket no longer holds the sweep's plan."""
    place = services.place
    try:
        return attach_sweep(job.labels[layout.LABEL_RUN], place, services=services).view()
    except NotFound:
        return None
    except Unreadable as error:
        return bare_sweep_view(job, place, error)
