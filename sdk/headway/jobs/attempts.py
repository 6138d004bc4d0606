"""Attempts: a plan's candidates tried in their order until one has room; each becomes one job at most."""

from __future__ import annotations

import time
from contextlib import suppress

from headway.cloud import tuning, vertex
from headway.cloud.services import Services
from headway.errors import DeadlinePassed, Exhausted, NotFound, Refused, RemoteError, interruptible
from headway.jobs.claim import Cancelled, Claim, same_run
from headway.jobs.lookup import attempt_of, find_job, goes_on, granted, jobs_client, only_job
from headway.jobs.progress import Progress
from headway.jobs.tried import record
from headway.spec import layout
from headway.spec.plan import Plan

_SOUGHT_S = (0.5, 1.0, 2.0, 4.0, 8.0, 15.0)
"""Pauses between looks for a job whose creation was not answered."""
_LOOK_S = 2.0
"""Between looks for the job of another submit."""
_WAITED_S = 5.0
"""The longest pause of a submit that waits for another one's job."""
_BACKOFF_S = (2.0, 5.0, 15.0, 30.0)
"""Pauses after the first attempt, the second, ...; the last one from then on."""


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


def _repaired(claim: Claim, theirs: Plan, services: Services, progress: Progress) -> tuple[Plan, vertex.Job]:
    """The job of a claim that was taken over; what its submit had sent may have come since our last look."""
    late = only_job(theirs, services, progress)
    if late and attempt_of(late) >= claim.attempt:
        return theirs, granted(late, theirs, services)
    return create(claim, services, progress)


def _moved_on(claim: Claim, job: vertex.Job, services: Services, progress: Progress) -> bool:
    """Claim the candidate after one whose job found no machines."""
    number = attempt_of(job)
    _pause(number, services)
    if not claim.move_on(number):
        return False
    record(claim.plan, services, number, "stockout", job=job.name, reason=job.error)
    progress.step(
        "job", f"no machines for attempt {number}, {claim.plan.candidates[number - 1]}: {job.error}"
    )
    return True


def _read_back(job: vertex.Job, plan: Plan, services: Services) -> vertex.Job:
    with suppress(RemoteError):  # then what its creation answered is compared
        job = jobs_client(plan, services, job.region).get(job.name)
    return granted(job, plan, services)


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
            record(plan, services, number, "refused", reason=error.message)
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
                record(plan, services, number, "created", job=job.name)
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
