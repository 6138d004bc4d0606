"""The runs of a place, newest first."""

from __future__ import annotations

from collections.abc import Iterable
from itertools import islice

from headway.cloud import vertex
from headway.cloud.asking import ask_each
from headway.cloud.services import Services
from headway.errors import NotFound, Unreadable
from headway.jobs.claim import read_plan
from headway.jobs.lookup import goes_on
from headway.jobs.run import Run, RunView, bare_view
from headway.spec import layout
from headway.spec.place import Place


def runs(place: Place, *, limit: int = 20, services: Services | None = None) -> list[RunView]:
    """The newest runs, by Vertex AI's own lists: of the place's region, and of each that a run went to."""
    services = services or Services(place)
    regions = dict.fromkeys((place.region, *_others(services)))
    listed = ask_each(lambda region: list(islice(_jobs(services, region), limit)), regions)
    jobs = [job for each in listed for job in each]
    jobs.sort(key=lambda job: job.made, reverse=True)
    newest = {job.labels[layout.LABEL_RUN]: job for job in reversed(jobs)}  # of a run's attempts the last
    shown = sorted(newest.values(), key=lambda job: job.made, reverse=True)[:limit]
    views = ask_each(lambda job: _view(job, services), shown)
    return [view for view in views if view is not None]


def _jobs(services: Services, region: str) -> Iterable[vertex.Job]:
    return services.jobs(region).labelled(layout.LABEL_RUN)


def _others(services: Services) -> list[str]:
    prefix = layout.BucketLayout(services.place.bucket).regions
    return [item.name.removeprefix(prefix) for item in services.store.list(prefix)]


def _view(job: vertex.Job, services: Services) -> RunView | None:
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
