"""Attempts: a plan's candidates tried in their order until one has room; each becomes one job at most."""

from __future__ import annotations

import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, TypeAdapter, ValidationError

from headway.cloud import tuning, vertex
from headway.cloud.asking import ask_each
from headway.cloud.services import Services
from headway.cloud.tuning import TuningJob, TuningJobs
from headway.errors import (
    DeadlinePassed,
    Exhausted,
    InputError,
    NotFound,
    Refused,
    RemoteError,
    Unreadable,
    interruptible,
)
from headway.jobs.claim import Cancelled, Claim, read_plan, read_sweep
from headway.jobs.progress import Progress
from headway.spec import layout
from headway.spec.plan import Plan

_RESOURCE_EXHAUSTED = 8
"""google.rpc.Code of a job that found no machines."""
_SOUGHT_S = (0.5, 1.0, 2.0, 4.0, 8.0, 15.0)
"""Pauses between looks for a job whose creation was not answered."""
_LOOK_S = 2.0
"""Between looks for the job of another submit."""
_WAITED_S = 5.0
"""The longest pause of a submit that waits for another one's job."""
_BACKOFF_S = (2.0, 5.0, 15.0, 30.0)
"""Pauses after the first attempt, the second, ...; the last one from then on."""


class NotGranted(RemoteError):
    """Vertex AI made another job than was asked for; it is cancelled."""


class Attempt(BaseModel):
    """One candidate that was tried: the job it became, or why it did not. `time` is UTC."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    number: int
    region: str
    machine: str
    accelerator: str | None
    accelerator_count: int
    state: Literal["created", "refused", "stockout"]
    job: str | None
    reason: str | None
    time: datetime


_ATTEMPTS = TypeAdapter(tuple[Attempt, ...])


def jobs_client(plan: Plan, services: Services, region: str) -> vertex.CustomJobs | TuningJobs:
    """Vertex AI's jobs of the plan's kind: a sweep is a tuning job."""
    return services.tuning(region) if plan.sweep else services.jobs(region)


def find_job(services: Services, plan: Plan) -> vertex.Job | None:
    """The run's job: of those that carry its label, in all of the plan's regions, the one that counts.

    Of a plan that was cancelled it is told as `as_cancelled` does.
    """
    return as_cancelled(next(iter(_jobs_of(plan, services)), None), plan)


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


def read_attempts(services: Services, plan: Plan) -> tuple[Attempt, ...]:
    """What was tried; nothing where the first candidate took the run."""
    try:
        return _ATTEMPTS.validate_json(services.store.read(plan.folder.attempts))
    except NotFound:
        return ()
    except ValidationError as error:
        raise Unreadable(
            f"the attempts of {plan.run_id} cannot be read: another version of headway wrote them",
            hint="upgrade headway here",
        ) from error


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


def obtain(
    plan: Plan, services: Services, progress: Progress, *, take: bool = False
) -> tuple[Plan, vertex.Job]:
    """The run's job, with the plan that it was made of: the one that is there, or one made now.

    `take` claims a run that nobody has. A claim with no job is waited for: its submit creates one, or died,
    and then the claim becomes ours. Of a run that was cancelled no other job is made: the job then reads
    cancelled. Raises InputError, DeadlinePassed and RemoteError.
    """
    lapses_s = services.place.claim_lapses_s
    # as long as a claim lives whose submit died, and one that goes through the whole list
    deadline = time.monotonic() + (2 * lapses_s + 30) * len(plan.candidates)
    pause, free = 0.25, take
    while time.monotonic() < deadline:
        claim = Claim(plan, services.store)
        if free and claim.take():
            return create(claim, services, progress)
        try:
            theirs, free = same_run(plan, services), False
        except NotFound:
            if not take:
                raise
            free = True  # given up meanwhile: ours to claim
            continue
        job = only_job(theirs, services, progress)
        if job and not goes_on(job, theirs):
            progress.step("job", submitted_before(job, theirs))
            return theirs, granted(job, theirs, services)
        try:
            if job and _moved_on(claim := Claim(theirs, services.store), job, services, progress):
                return create(claim, services, progress)
            if claim.take_over(lapses_s):
                return _repaired(claim, theirs, services, progress)
        except Cancelled:  # since our look, or in our pause: the next look tells it
            continue
        if pause == 0.25:
            progress.step("job", f"{plan.run_id} is being created by another submit, waiting")
        time.sleep(pause)
        pause = min(pause * 1.5, _WAITED_S)  # of hundreds that wait, each asks seldom
    raise DeadlinePassed(
        f"another submit claimed {plan.run_id}, but no job came",
        hint="submit again, or with --again for a run of its own",
    )


def submitted_before(job: vertex.Job, plan: Plan) -> str:
    """What a submit says that found its run there."""
    if plan.sweep:
        return f"{plan.run_id} was started before: {job.state} (--again for another)"
    return f"{plan.run_id} was submitted before: {job.state} (--again for another)"


def same_run(plan: Plan, services: Services) -> Plan:
    """The plan that the run was claimed with: its job is where that one sent it, whatever ours would say.

    Raises NotFound where nobody has claimed it, and InputError where its content is another.
    """
    sweep = plan.sweep
    theirs = read_sweep(sweep.id, services, sweep.attempt) if sweep else read_plan(plan.run_id, services)
    if theirs.claim != plan.claim:  # an id holds 8 of its 64 characters
        raise InputError(
            f"a run of other content has the id {plan.run_id} by chance",
            hint="change anything in its config"
            if sweep
            else "submit with --again, which gives this one a number",
        )
    return theirs


def _repaired(claim: Claim, theirs: Plan, services: Services, progress: Progress) -> tuple[Plan, vertex.Job]:
    """The job of a claim that was taken over; what its submit had sent may have come since our last look."""
    late = only_job(theirs, services, progress)
    if late and attempt_of(late) >= claim.attempt:
        return theirs, granted(late, theirs, services)
    return create(claim, services, progress)


def cancel_run(plan: Plan, services: Services, progress: Progress) -> Plan:
    """See to it that no further job of the run is made, and cancel those that are there; the marked plan.

    A job that is just being created, by a submit that may die over it, is waited for: no longer than a claim
    lives that was written for it. Raises NotFound where the run was given up.
    """
    claim = Claim(plan, services.store)
    try:
        age_s = claim.cancel()
    except NotFound as error:
        raise NotFound(f"{plan.run_id} was given up by its submit: there is nothing to cancel") from error
    told, deadline = False, time.monotonic() + services.place.claim_lapses_s - age_s
    with interruptible(
        f"stopped while a job of {plan.run_id} was waited for: the run is cancelled, but that job may come",
        "where it came, the same cancel again stops it",
    ):
        while True:
            job = only_job(claim.plan, services, progress)
            came = job is not None and bool(job.job_id) and attempt_of(job) >= claim.attempt
            if came or time.monotonic() >= deadline or _was_refused(claim, services):
                return claim.plan
            if not told:
                progress.step("job", f"{plan.run_id} is cancelled; a job that is being created is waited for")
            told = True
            time.sleep(_LOOK_S)


def _was_refused(claim: Claim, services: Services) -> bool:
    """Whether the claim's candidate is known to have become no job: its submit was about to go on."""
    tried = read_attempts(services, claim.plan)
    return any(each.number == claim.attempt and each.state == "refused" for each in tried)


def _moved_on(claim: Claim, job: vertex.Job, services: Services, progress: Progress) -> bool:
    """Claim the candidate after one whose job found no machines."""
    number = attempt_of(job)
    _pause(number, services)
    if not claim.move_on(number):
        return False
    _record(claim.plan, services, number, "stockout", job=job.name, reason=job.error)
    progress.step(
        "job", f"no machines for attempt {number}, {claim.plan.candidates[number - 1]}: {job.error}"
    )
    return True


def _read_back(job: vertex.Job, plan: Plan, services: Services) -> vertex.Job:
    with suppress(RemoteError):  # then what its creation answered is compared
        job = jobs_client(plan, services, job.region).get(job.name)
    return granted(job, plan, services)


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


def create(claim: Claim, services: Services, progress: Progress) -> tuple[Plan, vertex.Job]:
    """Create the job of a claim that is ours, on the first candidate that is not refused for want of room.

    Where the run is cancelled meanwhile, no other candidate is tried, and a job that came too late is ended.
    Raises Refused, with the claim given up, and Exhausted where the last candidate was refused as well.
    """
    try:
        return claim.plan, _create(claim, services, progress)
    except Cancelled:
        job = only_job(claim.plan, services, progress)
        assert job is not None, "a cancelled run always has one to tell of"
        progress.step("job", f"{claim.plan.run_id} was cancelled meanwhile: no other job of it is created")
        return claim.plan, job


def _create(claim: Claim, services: Services, progress: Progress) -> vertex.Job:
    plan = claim.plan
    while True:
        number, candidate = claim.attempt, plan.candidates[claim.attempt - 1]
        if not claim.holds(services.place.answer_s / 2):
            raise _lost(plan)
        try:
            job = _create_one(claim, services)
        except Exhausted as error:
            _record(plan, services, number, "refused", reason=error.message)
            progress.step("job", f"no room for attempt {number}, {candidate}: {error.message}")
            if number == len(plan.candidates):
                _give_up(claim, services)
                raise _none_left(plan, error) from error
        except Refused:
            _give_up(claim, services)
            raise
        else:
            progress.step("job", f"created {plan.run_id} in {candidate.region}: {job.name}")
            if number > 1:
                _record(plan, services, number, "created", job=job.name)
                with suppress(
                    RemoteError
                ):  # as for a first one, which costs no look, the cancel itself waits
                    claim.look()
            if not claim.holds(services.place.answer_s / 2):
                job = _given_way(job, plan, services, progress)
            return _read_back(job, plan, services)
        _pause(number, services)
        if not claim.next():
            raise _lost(plan)


def _create_one(claim: Claim, services: Services) -> vertex.Job:
    """Send the creation once; where no answer came, look whether it was made nevertheless."""
    plan, candidate, number = claim.plan, claim.plan.candidates[claim.attempt - 1], claim.attempt
    launch, words = "launch sweep" if plan.sweep else "launch", services.place.words
    body = tuning.render(plan, candidate) if plan.sweep else vertex.render(plan, candidate)
    if number > 1:
        body["labels"] = {**body["labels"], layout.LABEL_ATTEMPT: str(number)}
    if claim.holder > 1:
        body["labels"] = {**body["labels"], layout.LABEL_HOLDER: str(claim.holder)}
    _note_region(plan, candidate.region, services)
    with interruptible(
        f"stopped while the job of {plan.run_id} was being created: it may have been",
        f"look with: {launch} status{words} {plan.run_id}; "
        f"stop it with: {launch} cancel{words} {plan.run_id}",
    ):
        try:
            return jobs_client(plan, services, candidate.region).create(body)
        except Refused:
            raise
        except RemoteError:
            for pause in _SOUGHT_S:
                time.sleep(pause)
                with suppress(RemoteError):
                    job = find_job(services, plan)
                    if job and attempt_of(job) == number:
                        return job
            raise


def _note_region(plan: Plan, region: str, services: Services) -> None:
    """So that a list of runs looks there too; before the creation, which a kill may follow."""
    if region != services.place.region:
        with suppress(RemoteError):  # the run is found by its id all the same
            services.store.write(f"{plan.layout.regions}{region}", b"", only_if_absent=True)


def _given_way(job: vertex.Job, plan: Plan, services: Services, progress: Progress) -> vertex.Job:
    """The one job of a run that another submit took over while the creation of ours was under way.

    It found ours, and has none of its own; or it did not, and then one is here before its claim lapses too.
    """
    deadline = time.monotonic() + services.place.claim_lapses_s
    while time.monotonic() < deadline:
        with suppress(RemoteError):  # a server that stalls is what brought us here: the next look may do
            if (one := only_job(plan, services, progress)) and one.name != job.name:
                return one
        time.sleep(_LOOK_S)
    return job


def _pause(number: int, services: Services) -> None:
    """After an attempt: short enough that the claim does not lapse meanwhile."""
    time.sleep(min(_BACKOFF_S[min(number, len(_BACKOFF_S)) - 1], services.place.answer_s / 2))


def _lost(plan: Plan) -> DeadlinePassed:
    return DeadlinePassed(
        f"another submit goes on with {plan.run_id}", hint="submit again: that finds its job"
    )


def _give_up(claim: Claim, services: Services) -> None:
    """A run without a job is nobody's again; one whose earlier attempt became a job stays a run."""
    with suppress(RemoteError):
        if find_job(services, claim.plan) is None:
            claim.give_up()


def _none_left(plan: Plan, error: Exhausted) -> Exhausted:
    if len(plan.candidates) == 1:
        return Exhausted(error.message, hint="list more: --gpu or --region take several, tried in order")
    tried = [f"{number}. {candidate}" for number, candidate in enumerate(plan.candidates, 1)]
    return Exhausted(
        f"{plan.run_id} found no room on any of its {len(tried)} candidates, the last: {error.message}",
        details=tried,
        hint="submit again later, or list more: --gpu and --region take several, tried in order",
    )


def _record(
    plan: Plan,
    services: Services,
    number: int,
    state: Literal["created", "refused", "stockout"],
    *,
    job: str | None = None,
    reason: str | None = None,
) -> None:
    """Write the attempt down, once for each number; the run goes on where the record cannot be written."""
    tried = plan.candidates[number - 1]
    attempt = Attempt(
        number=number,
        region=tried.region,
        machine=tried.type,
        accelerator=tried.accelerator,
        accelerator_count=tried.accelerator_count,
        state=state,
        job=job,
        reason=reason,
        time=datetime.now(UTC),
    )
    with suppress(RemoteError):
        others = [known for known in read_attempts(services, plan) if known.number != number]
        kept: Sequence[Any] = sorted([*others, attempt], key=lambda one: one.number)
        document = _ATTEMPTS.dump_json(tuple(kept), indent=1)
        services.store.write(plan.folder.attempts, document, content_type="application/json")
