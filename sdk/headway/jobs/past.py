"""What a schedule's job did before: its runs, the last success, and which number of a content is free."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import count, islice

from headway.cloud import vertex
from headway.cloud.services import Services
from headway.errors import InputError, NotFound, RemoteError, Unreadable
from headway.jobs import lookup
from headway.jobs.claim import read_plan
from headway.spec import layout
from headway.spec.decision import Content, Past, content_of
from headway.spec.plan import Plan

_LOOKED_AT = 200
"""So many jobs of a name, the newest, are looked at in each region."""


def regions_of(plan: Plan, services: Services) -> tuple[str, ...]:
    """Where runs of the plan's name are looked for."""
    return tuple(dict.fromkeys((*plan.regions, services.place.region)))


def runs_of(plan: Plan, services: Services) -> dict[str, vertex.Job]:
    """The newest runs of a job's name, newest first, each with the job that counts."""
    found = [
        job
        for region in regions_of(plan, services)
        for job in islice(services.jobs(region).labelled(layout.LABEL_NAME, plan.name), _LOOKED_AT)
    ]
    newest: dict[str, vertex.Job] = {}
    for job in sorted(found, key=lookup.rank):
        newest[job.labels.get(layout.LABEL_RUN, job.name)] = job
    return dict(sorted(newest.items(), key=lambda item: item[1].made, reverse=True))


def last_success(runs: Mapping[str, vertex.Job], services: Services) -> Past | None:
    """The newest run that succeeded."""
    for run_id, job in runs.items():
        if job.state == "succeeded":
            return Past(run_id, job.labels.get(layout.LABEL_CLAIM, ""), job.ended, _content(run_id, services))
    return None


def _content(run_id: str, services: Services) -> Content | None:
    try:
        return content_of(read_plan(run_id, services))
    except (RemoteError, InputError):
        return None  # its folder in the bucket is gone, or of another version: its label is compared


def free_number(plan: Plan, services: Services) -> int:
    """The first number of this content that has no run which ended: a run that is being made is taken up.

    One that was cancelled before it had a job, or between two of them, has ended too.
    """
    ended = {
        job.labels.get(layout.LABEL_RUN)
        for region in plan.regions
        for job in services.jobs(region).labelled(layout.LABEL_CLAIM, plan.labels[layout.LABEL_CLAIM])
        if job.state in vertex.ENDED and not lookup.goes_on(job, plan)
    }
    numbered = ((number, plan.with_data(plan.data, number).run_id) for number in count(1))
    return next(
        number for number, run_id in numbered if not (run_id in ended or _cancelled(run_id, services))
    )


def _cancelled(run_id: str, services: Services) -> bool:
    try:
        return read_plan(run_id, services).cancelled is not None
    except (NotFound, Unreadable):
        return False
