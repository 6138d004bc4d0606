"""What is followed from the laptop, a run's job or a sweep's: looked at, waited for, and cancelled."""

from __future__ import annotations

import time
from abc import ABC, abstractmethod
from collections.abc import Iterator
from functools import partial
from typing import Generic, TypeVar

from headway.cloud import vertex
from headway.cloud.services import Services
from headway.errors import DeadlinePassed, Refused, Unreadable
from headway.jobs.attempts import obtain
from headway.jobs.cancelling import cancel_run
from headway.jobs.lookup import NotGranted, as_cancelled, find_job, goes_on, jobs_client, may_go_on
from headway.jobs.patience import patiently, pause_after
from headway.jobs.progress import Progress, Silent
from headway.spec.plan import Plan

J = TypeVar("J", bound=vertex.Job)


class Followed(ABC, Generic[J]):
    """The job of a plan that was claimed. Every call asks Google; nothing is kept here."""

    def __init__(self, plan: Plan, services: Services, job: J | None = None) -> None:
        """`job` as it was told last, where that is known."""
        self.plan = plan
        self.services = services
        self._job = job

    @abstractmethod
    def _found(self, job: vertex.Job | None) -> J:
        """The plan's job. Raises NotFound where Vertex AI has none."""

    @property
    @abstractmethod
    def _later(self) -> str:
        """How a person looks at it later."""

    @property
    def state(self) -> str:
        """Google's JobState in lower case: queued, pending, running, succeeded, failed, cancelled, ..."""
        return self.job().state

    def job(self) -> J:
        """The job as Vertex AI tells it now. Raises NotFound where it was never made, or was deleted."""
        job: vertex.Job | None = self._job
        if job is None or job.state not in vertex.ENDED:
            job = self._read(job) if job else find_job(self.services, self.plan)
        self._job = self._found(as_cancelled(job, self.plan))
        return self._job

    def cancel(self, progress: Progress | None = None) -> bool:
        """Ask for the end of the job; False where it had ended already, and stays as it is.

        Where another one might follow, or the first is not there yet, none is made after this, by whichever
        submit: the run then reads cancelled. `progress` is told what is waited for.
        """
        job: vertex.Job | None = self._job
        if job is None or job.state not in vertex.ENDED:
            job = self._read(job) if job else find_job(self.services, self.plan)
        if job is None or may_go_on(job, self.plan):
            self.plan = cancel_run(self.plan, self.services, progress or Silent())
            self._job = None
            return True
        self._job = job = self._found(job)
        if job.state in vertex.ENDED:
            return False
        try:
            jobs_client(self.plan, self.services, job.region).cancel(job.name)
        except Refused:
            if self.job().state in vertex.ENDED:  # it ended between the two calls
                return False
            raise
        return True

    def _read(self, job: vertex.Job) -> vertex.Job:
        return jobs_client(self.plan, self.services, job.region).get(job.name)

    def _polls(self, deadline: float | None, progress: Progress) -> Iterator[J]:
        """The job at each look, the last time when it has ended; see `pause_after`.

        One that found no machines goes on as the plan's next candidate. Without a deadline it is looked at
        for as long as it lives, which its own timeout ends.
        """
        began = time.monotonic()
        while True:
            job = patiently(self.job, until=deadline)
            while goes_on(job, self.plan):  # at most once for each candidate of the plan
                # what was sent without an answer is found, or taken over, by the next look
                further = partial(obtain, self.plan, self.services, progress)
                self.plan, other = patiently(further, until=deadline, final=(Refused, NotGranted, Unreadable))
                if other.state not in vertex.ENDED:
                    other = patiently(partial(self._read, other), until=deadline)
                job = self._found(as_cancelled(other, self.plan))
                self._job, began = job, time.monotonic()
            yield job
            if job.state in vertex.ENDED:
                return
            pause = pause_after(time.monotonic() - began)
            if deadline is not None and time.monotonic() + pause > deadline:
                raise DeadlinePassed(f"{self.plan.run_id} still reads {job.state}", hint=self._later)
            time.sleep(pause)
