"""The end of a run that somebody no longer wants, whoever is making its job at the moment."""

from __future__ import annotations

import time

from headway.cloud.services import Services
from headway.errors import NotFound, interruptible
from headway.jobs.claim import Claim
from headway.jobs.lookup import attempt_of, only_job
from headway.jobs.progress import Progress
from headway.jobs.tried import read_attempts
from headway.spec.plan import Plan

_LOOK_S = 2.0
"""Between looks for the job of a submit."""


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
