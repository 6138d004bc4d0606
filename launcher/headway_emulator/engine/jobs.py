"""Custom jobs as a collection: made, found, cancelled, deleted, and picked up again after a restart."""

from __future__ import annotations

import random
import threading
from collections.abc import Mapping
from typing import Any

from headway_emulator.engine.clock import Clock, timestamp
from headway_emulator.engine.executor import Executor
from headway_emulator.engine.job_life import FINAL, KIND, JobLife
from headway_emulator.engine.store import Document, Store
from headway_emulator.errors import not_found, precondition
from headway_emulator.settings import Settings

LEAVE_SECONDS = 5.0


class Jobs:
    """Every custom job of the project; each unfinished one has a thread that lives its life."""

    def __init__(self, settings: Settings, store: Store, clock: Clock, executor: Executor) -> None:
        self._settings = settings
        self._store = store
        self._clock = clock
        self._executor = executor
        self._lives: dict[str, JobLife] = {}
        self._lock = threading.Lock()

    def create(self, parent: str, body: Mapping[str, Any]) -> Document:
        """Store a validated CustomJob as pending and start its life; ids have 19 digits, as Vertex AI's."""
        now = timestamp(self._clock.now_ns())
        job = {
            "name": f"{parent}/customJobs/{random.randint(10**18, 9 * 10**18)}",
            **body,
            "state": "JOB_STATE_PENDING",
            "createTime": now,
            "updateTime": now,
        }
        self._store.put(KIND, job["name"], job)
        self._live(job["name"], resumed=False)
        return job

    def get(self, name: str) -> Document:
        job = self._store.get(KIND, name)
        if job is None:
            raise not_found(name)
        return job

    def list(self, parent: str) -> list[Document]:
        """Newest first."""
        return self._store.list(KIND, f"{parent}/customJobs/")

    def cancel(self, name: str) -> None:
        """Asks for it: the state becomes CANCELLING at once and CANCELLED when every replica has ended.

        That a finished job refuses is our reading of "FAILED_PRECONDITION"; Google's text is not established.
        """
        state = self.get(name)["state"]
        if state in ("JOB_STATE_CANCELLED", "JOB_STATE_CANCELLING"):
            return
        life = self._lives.get(name)
        if life is None or not life.cancel():
            raise precondition(f"The CustomJob {name} is in state {state} and cannot be cancelled.")

    def delete(self, name: str) -> None:
        """Only a job that is over; its log stays, as in Cloud Logging."""
        state = self.get(name)["state"]
        if state not in FINAL:
            raise precondition(f"The CustomJob {name} is in state {state}; cancel it before deleting it.")
        self._store.delete(KIND, name)

    def recover(self) -> None:
        """Pick up the unfinished jobs of the emulator before this one."""
        unfinished = [job["name"] for job in self._store.list(KIND) if job["state"] not in FINAL]
        self._executor.sweep({name.rsplit("/", 1)[1] for name in unfinished})
        for name in unfinished:
            self._live(name, resumed=True)

    def close(self) -> None:
        """End the supervision; what becomes of running replicas is the executor's own rule."""
        with self._lock:
            lives = list(self._lives.values())
        for life in lives:
            life.leave()
        self._executor.close()
        for life in lives:
            life.join(LEAVE_SECONDS)

    def _live(self, name: str, *, resumed: bool) -> None:
        life = JobLife(
            name, self._settings, self._store, self._clock, self._executor, self._forget, resumed=resumed
        )
        with self._lock:
            self._lives[name] = life
        life.start()

    def _forget(self, name: str) -> None:
        with self._lock:
            self._lives.pop(name, None)
