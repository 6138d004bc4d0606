"""Services: the clients of one place, each made on first use and kept."""

from __future__ import annotations

from functools import cached_property
from typing import TYPE_CHECKING

from headway.cloud import registry
from headway.cloud.session import Session
from headway.cloud.storage import ObjectStore
from headway.spec.place import Place

if TYPE_CHECKING:
    from headway.cloud.build import Builds
    from headway.cloud.functions import Functions
    from headway.cloud.logs import JobLog
    from headway.cloud.scheduler import ClockJobs
    from headway.cloud.tuning import TuningJobs
    from headway.cloud.vertex import CustomJobs


class Services:
    """What `headway.jobs` speaks to. Making it contacts nothing; tests put another in its place.

    Each client's module is loaded on its first use: a plan needs the bucket and the registry only.
    """

    def __init__(self, place: Place) -> None:
        self.place = place
        self._jobs: dict[str, CustomJobs] = {}
        self._tuning: dict[str, TuningJobs] = {}

    @cached_property
    def session(self) -> Session:
        return Session.of(self.place)

    @cached_property
    def store(self) -> ObjectStore:
        """The project's bucket."""
        return self.bucket(self.place.bucket)

    @cached_property
    def builds(self) -> Builds:
        from headway.cloud.build import Builds

        return Builds(self.session, self.place.region)

    @cached_property
    def clock_jobs(self) -> ClockJobs:
        """Cloud Scheduler's jobs."""
        from headway.cloud.scheduler import ClockJobs

        return ClockJobs(self.session, self.place.region)

    @cached_property
    def functions(self) -> Functions:
        from headway.cloud.functions import Functions

        return Functions(self.session, self.place.region)

    def bucket(self, name: str) -> ObjectStore:
        return ObjectStore(self.session, name)

    def jobs(self, region: str) -> CustomJobs:
        """The custom jobs of a region."""
        if region not in self._jobs:
            from headway.cloud.vertex import CustomJobs

            self._jobs[region] = CustomJobs(self.session, region)
        return self._jobs[region]

    def tuning(self, region: str) -> TuningJobs:
        """The hyperparameter tuning jobs of a region."""
        if region not in self._tuning:
            from headway.cloud.tuning import TuningJobs

            self._tuning[region] = TuningJobs(self.session, region)
        return self._tuning[region]

    def log(self, job_id: str, trial: str | None = None) -> JobLog:
        """A job's log, from its beginning; of a tuning job one trial's."""
        from headway.cloud.logs import JobLog

        return JobLog(self.session, job_id, trial)

    def image_digest(self, uri: str) -> str | None:
        """The sha256 of an image, None where there is none of that name."""
        return registry.digest_of(self.session, uri)
