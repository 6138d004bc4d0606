"""Custom jobs as a collection: made, found, cancelled, deleted. Their running is `trainings`."""

from __future__ import annotations

import random
from collections.abc import Mapping
from typing import Any

from headway_emulator.engine.jobs.trainings import FINAL, Order, Trainings
from headway_emulator.engine.store import Document, Store
from headway_emulator.errors import not_found, precondition

KIND = "customJob"
SHOWN = ("state", "updateTime", "startTime", "endTime", "error")
"""Fields of a custom job that come from its training."""


class Jobs:
    """Every custom job of the project."""

    def __init__(self, store: Store, trainings: Trainings) -> None:
        self._store = store
        self._trainings = trainings
        trainings.observe(KIND, self.show)

    def create(self, parent: str, body: Mapping[str, Any]) -> Document:
        """Store a validated CustomJob and begin it; ids have 19 digits, as Vertex AI's."""
        job_id = str(random.randint(10**18, 9 * 10**18))
        name = f"{parent}/customJobs/{job_id}"
        region = parent.rsplit("/", 1)[1]
        order = Order(KIND, name, job_id, region, body["jobSpec"], body.get("displayName", ""))

        def written(training: Document) -> None:
            times = {field: training[field] for field in ("state", "createTime", "updateTime")}
            self._store.put(KIND, name, {"name": name, **body, **times})

        self._trainings.start(order, written)
        return self.get(name)

    def get(self, name: str) -> Document:
        job = self._store.get(KIND, name)
        if job is None:
            raise not_found(name)
        return job

    def cancel(self, name: str) -> None:
        """Asks for it: the state becomes CANCELLING at once and CANCELLED when every replica has ended.

        That a finished job refuses is our reading of "FAILED_PRECONDITION"; Google's text is not established.
        """
        if self._trainings.cancel(name):
            return
        if (state := self.get(name)["state"]) != "JOB_STATE_CANCELLED":
            raise precondition(f"The CustomJob {name} is in state {state} and cannot be cancelled.")

    def delete(self, name: str) -> None:
        """Only a job that is over; its log stays, as in Cloud Logging."""
        state = self.get(name)["state"]
        if state not in FINAL:
            raise precondition(f"The CustomJob {name} is in state {state}; cancel it before deleting it.")
        self._store.delete(KIND, name)

    def show(self, training: Document) -> None:
        """In the loop's thread: what the training came to is shown by its job."""
        job = self._store.get(KIND, training["name"])
        shown = {field: training[field] for field in SHOWN if field in training}
        if job is not None and any(job.get(f) != v for f, v in shown.items() if f != "updateTime"):
            self._store.put(KIND, training["name"], {**job, **shown})
