"""Which job is a run's: found by its label, in all the regions of its plan; of several one counts."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import replace
from datetime import datetime

from headway.cloud import vertex
from headway.cloud.asking import ask_each
from headway.cloud.services import Services
from headway.cloud.tuning import TuningJob, TuningJobs
from headway.errors import Refused, RemoteError
from headway.jobs.progress import Progress
from headway.spec import layout
from headway.spec.plan import Plan

_RESOURCE_EXHAUSTED = 8
"""google.rpc.Code of a job that found no machines."""


class NotGranted(RemoteError):
    """Vertex AI made another job than was asked for; it is cancelled."""


def jobs_client(plan: Plan, services: Services, region: str) -> vertex.CustomJobs | TuningJobs:
    """Vertex AI's jobs of the plan's kind: a sweep is a tuning job."""
    return services.tuning(region) if plan.sweep else services.jobs(region)


def find_job(services: Services, plan: Plan) -> vertex.Job | None:
    """The run's job: of those that carry its label, in all of the plan's regions, the one that counts.

    Of a plan that was cancelled it is told as `as_cancelled` does.
    """
    return as_cancelled(next(iter(_jobs_of(plan, services)), None), plan)


def only_job(plan: Plan, services: Services, progress: Progress) -> vertex.Job | None:
    """The run's job, where there are several the one that counts: the others are cancelled.

    Two are made where a server answers a creation later than its claim lives, whether or not the submit that
    sent it lives still. Of a plan that was cancelled all are, however late they came.
    """
    jobs = _jobs_of(plan, services)
    for number, other in enumerate(jobs):
        if number == 0 and plan.cancelled is None:
            continue
        if other.state not in (*vertex.ENDED, "cancelling"):
            why = f"another submit made {jobs[0].name}" if plan.cancelled is None else "so is its run"
            client = jobs_client(plan, services, other.region)
            with suppress(Refused):  # it ended meanwhile
                client.cancel(other.name)
                progress.step("job", f"{other.name} is cancelled: {why}")
            if number == 0:
                jobs[0] = client.get(other.name)
    return as_cancelled(jobs[0] if jobs else None, plan)


def _jobs_of(plan: Plan, services: Services) -> list[vertex.Job]:
    """All of the run's jobs, the one that counts first: of the last attempt, by who had the claim last.

    Everybody finds the same first one, so that of two that were made for one attempt nobody ends both.
    """

    def made(region: str) -> list[vertex.Job]:
        jobs = jobs_client(plan, services, region).labelled(layout.LABEL_RUN, plan.run_id)
        wanted = plan.labels.get(layout.LABEL_SWEEP)  # a sweep that went on has several, each with its plan
        return [job for job in jobs if job.labels.get(layout.LABEL_SWEEP) == wanted]

    regions = plan.regions
    found = [made(regions[0])] if len(regions) == 1 else ask_each(made, regions)
    return sorted((job for each in found for job in each), key=rank, reverse=True)


def rank(job: vertex.Job) -> tuple[int, int, datetime, str]:
    """Of a run's jobs the one with the largest counts."""
    holder = int(job.labels.get(layout.LABEL_HOLDER, 1))
    return attempt_of(job), holder, job.made, job.name


def attempt_of(job: vertex.Job) -> int:
    """Which of its plan's candidates the job is on, counted from 1."""
    return int(job.labels.get(layout.LABEL_ATTEMPT, 1))


def goes_on(job: vertex.Job, plan: Plan) -> bool:
    """Whether the job ended before it ever ran, for want of machines, and the plan has another candidate."""
    return _stocked_out(job) and attempt_of(job) < len(plan.candidates)


def may_go_on(job: vertex.Job, plan: Plan) -> bool:
    """Whether another job of the run may follow this one."""
    waits = job.state not in vertex.ENDED and job.started is None
    return (waits or _stocked_out(job)) and attempt_of(job) < len(plan.candidates)


def _stocked_out(job: vertex.Job) -> bool:
    return job.state == "failed" and job.started is None and job.error_code == _RESOURCE_EXHAUSTED


def as_cancelled(job: vertex.Job | None, plan: Plan) -> vertex.Job | None:
    """The job, where its run was cancelled told as that: with no successor, or where none was ever made.

    Vertex AI does not know of such a cancel. The job that was never made has no id.
    """
    if plan.cancelled is None:
        return job
    if job is not None:
        return replace(job, state="cancelled") if _stocked_out(job) else job
    first = plan.candidates[0]
    kind = TuningJob if plan.sweep else vertex.Job
    return kind(
        name=f"projects/{plan.project}/locations/{first.region}/customJobs/",
        state="cancelled",
        display_name=plan.run_id,
        labels=plan.labels,
        created=None,
        started=None,
        ended=plan.cancelled,
        error=None,
        machine=first.type,
        accelerator=first.accelerator,
        accelerator_count=first.accelerator_count if first.accelerator else 0,
        nodes=plan.machine.nodes,
        image=plan.image.uri,
        strategy=plan.machine.strategy,
    )


def granted(job: vertex.Job, plan: Plan, services: Services) -> vertex.Job:
    """The job, where it is what its candidate asks for: another machine than one's own choice costs money.

    Raises NotGranted, with the job cancelled, where it is not. One that has ended is taken as it is.
    """
    if job.state in vertex.ENDED:
        return job
    wanted = plan.candidates[min(attempt_of(job), len(plan.candidates)) - 1]
    asked: dict[str, object] = {
        "machine": wanted.type,
        "accelerator": wanted.accelerator,
        "count": wanted.accelerator_count if wanted.accelerator else 0,
        "strategy": plan.machine.strategy,
        "replicas": plan.machine.nodes,
    }
    got: dict[str, object] = {
        "machine": job.machine,
        "accelerator": job.accelerator,
        "count": job.accelerator_count,
        "strategy": job.strategy,
        "replicas": job.nodes,
    }
    unlike = [key for key in asked if asked[key] != got[key]]
    if not unlike:
        return job
    with suppress(Refused):  # it ended meanwhile
        jobs_client(plan, services, job.region).cancel(job.name)
    raise NotGranted(
        f"Vertex AI did not grant {plan.run_id} what was asked for; its job is cancelled",
        details=[*(f"{key}: asked for {asked[key]}, got {got[key]}" for key in unlike), job.name],
        hint="ask for what can be had (launch gpus), or submit with --again to try once more",
    )
