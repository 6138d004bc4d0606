"""The documented state machine of a custom job, small enough to be checked by eye.

It knows no threads, files or executors: events come in, and it says in which state each job must be and which
of its replicas must run. The property test holds the emulator's engine against it.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

GRACE = 30
NOTICE = 30
WEEK = 7 * 24 * 3600
FLEX_RETRY = 30
LATE = 23
FINAL = {"SUCCEEDED", "FAILED", "CANCELLED", "EXPIRED"}
TRANSIENT = {6, 11, 134, 139}


@dataclass
class Job:
    tasks: list[str]
    gpus: int
    scheduling: dict[str, Any]
    created: float
    region: str
    stubborn: bool | None = None
    """Whether its replicas ignore SIGTERM, where that is the job's own affair."""
    waiting_since: float = 0
    state: str = "QUEUED"
    started: float | None = None
    running: dict[str, bool] = field(default_factory=dict)
    """Each running replica, and whether it ignores SIGTERM."""
    launches: dict[str, int] = field(default_factory=dict)
    stopping: bool = False
    outcome: str = ""
    kill_at: float = 0
    next_try: float | None = None
    runs_at: float | None = None
    """When the state says that it runs, where that is late."""
    planned: dict[str, float] = field(default_factory=dict)
    """When notice is given of a preemption."""
    taken: dict[str, float] = field(default_factory=dict)
    restarts: dict[str, int] = field(default_factory=dict)
    retries: int = 0
    preemptions: int = 0

    @property
    def flexible(self) -> bool:
        return self.scheduling.get("strategy") == "FLEX_START"

    @property
    def quota(self) -> tuple[str, bool]:
        """Of its region, and which of the two there."""
        return self.region, self.scheduling.get("strategy") in ("SPOT", "FLEX_START")

    @property
    def expires(self) -> float:
        return self.waiting_since + float(self.scheduling.get("maxWaitDuration", "86400s").removesuffix("s"))

    @property
    def times_out(self) -> float:
        if self.started is None:
            return float("inf")
        return self.started + float(self.scheduling.get("timeout", f"{WEEK}s").removesuffix("s"))


class Model:
    """All jobs, the quota of one region, and what time it is."""

    def __init__(self, quota: int) -> None:
        self.quota = quota
        self.jobs: dict[str, Job] = {}
        self.now = 0.0
        self.stockout = False
        self.late = False
        self.broken: set[str] = set()
        """Tasks that do not start."""
        self.stubborn = False

    def create(
        self,
        name: str,
        tasks: list[str],
        gpus: int,
        scheduling: dict[str, Any],
        stubborn: bool | None = None,
        region: str = "us-central1",
    ) -> None:
        self.jobs[name] = Job(tasks, gpus, scheduling, self.now, region, stubborn)
        self._admit()

    def ended(self, name: str, task: str, how: str, code: int) -> None:
        """A replica ended by itself: `how` is exit, lost or out_of_memory."""
        job = self.jobs[name]
        del job.running[task]
        job.planned.pop(task, None)
        preempted = job.taken.pop(task, None) is not None
        if job.stopping:
            self._perhaps_over(name)
        elif preempted:
            self._fell(name, task, "preempted", code)
        elif how != "exit" or code != 0:
            self._fell(name, task, how, code)
        elif task == "workerpool0-0":
            self._stop(name, "SUCCEEDED")

    def cancel(self, name: str) -> bool:
        job = self.jobs[name]
        if job.state in FINAL:
            return job.state == "CANCELLED"
        if job.stopping and job.outcome:
            return True
        job.state = "CANCELLING"
        if job.stopping:
            job.outcome = "CANCELLED"
        else:
            self._stop(name, "CANCELLED")
        return True

    def preempt(self, name: str, task: str, after: float = 0) -> None:
        job = self.jobs[name]
        if after:
            job.planned[task] = self.now + after
            return
        job.planned.pop(task, None)
        job.taken[task] = self.now + NOTICE
        if not job.running[task]:
            self.ended(name, task, "exit", 143)

    def advance(self, seconds: float) -> None:
        target = self.now + seconds
        while (due := self._next_due()) is not None and due[0] <= target:
            self.now = max(self.now, due[0])
            due[1]()
        self.now = target

    def next_moment(self) -> float:
        """When something happens by itself next."""
        due = self._next_due()
        return float("inf") if due is None else due[0]

    def restarted(self) -> None:
        """Another emulator looks for machines at once."""
        for name, job in tuple(self.jobs.items()):
            if job.next_try is not None:
                self._provision(name)

    def _next_due(self) -> tuple[float, Any] | None:
        moments: list[tuple[float, Any]] = []
        for name, job in self.jobs.items():
            if job.state in FINAL:
                continue
            if not (job.stopping and job.outcome):
                moments.append((job.times_out, lambda n=name: self._time_out(n)))
            if job.stopping:
                moments.append((job.kill_at, lambda n=name: self._kill(n)))
            elif job.next_try is not None:
                moments.append((job.next_try, lambda n=name: self._provision(n)))
            if not job.stopping:
                if job.runs_at is not None:
                    moments.append((job.runs_at, lambda n=name: self._runs(n)))
                for task, at in job.planned.items():
                    moments.append((at, lambda n=name, t=task: self.preempt(n, t)))
                for task, at in job.taken.items():
                    moments.append((at, lambda n=name, t=task: self.ended(n, t, "exit", 137)))
        return min(moments, key=lambda moment: moment[0], default=None)

    def _time_out(self, name: str) -> None:
        job = self.jobs[name]
        if job.stopping:
            job.outcome = "FAILED"
        else:
            self._stop(name, "FAILED")

    def _kill(self, name: str) -> None:
        job = self.jobs[name]
        job.running.clear()
        if job.stopping:
            self._perhaps_over(name)

    def _admit(self) -> None:
        blocked = set()
        for name, job in self.jobs.items():
            if job.state != "QUEUED" or job.stopping:
                continue
            full = self._used(job.quota) + job.gpus > self.quota
            if job.gpus and (full or job.quota in blocked):
                blocked.add(job.quota)
                continue
            job.state, job.waiting_since = "PENDING", self.now
            self._provision(name)

    def _used(self, quota: tuple[str, bool]) -> int:
        held = [job for job in self.jobs.values() if job.state not in FINAL | {"QUEUED"}]
        return sum(job.gpus for job in held if job.quota == quota)

    def _provision(self, name: str) -> None:
        job = self.jobs[name]
        job.next_try = None
        if not self.stockout:
            for task in job.tasks:
                self._launch(name, task)
            if not job.stopping and job.state not in FINAL:
                job.runs_at = self.now + (LATE if self.late else 0)
                if not self.late:
                    self._runs(name)
        elif not job.flexible:
            self._stop(name, "FAILED")
        elif job.expires <= self.now:
            self._stop(name, "EXPIRED")
        else:
            job.next_try = self.now + min(FLEX_RETRY, job.expires - self.now)

    def _runs(self, name: str) -> None:
        job = self.jobs[name]
        job.state, job.runs_at = "RUNNING", None
        job.started = self.now if job.started is None else job.started

    def _launch(self, name: str, task: str) -> None:
        """One that does not start ends the job at once."""
        job = self.jobs[name]
        if job.state in FINAL:
            return
        if task in self.broken:
            self._stop(name, "FAILED")
            self._kill(name)
            return
        job.running[task] = self.stubborn if job.stubborn is None else job.stubborn
        job.launches[task] = job.launches.get(task, 0) + 1

    def lost_with_the_emulator(self) -> None:
        """Replicas that are its child processes: their jobs fail, unless they were being ended already.

        Those that were, for an outcome or to start anew, are only ended sooner.
        """
        for name, job in self.jobs.items():
            if job.state not in FINAL | {"QUEUED"}:
                job.running.clear()
                if not job.stopping:
                    job.stopping, job.outcome = True, "FAILED"
                self._perhaps_over(name)

    def _fell(self, name: str, task: str, how: str, code: int) -> None:
        job = self.jobs[name]
        if job.scheduling.get("disableRetries"):
            self._stop(name, "FAILED")
        elif how == "preempted" and job.scheduling.get("strategy") == "SPOT":
            job.preemptions += 1
            self._stop(name, "FAILED" if job.preemptions > 6 else "")
        elif how in ("preempted", "lost"):
            self._retry(name)
        elif how == "out_of_memory" or code not in TRANSIENT:
            self._stop(name, "FAILED")
        elif job.restarts.get(task, 0) >= 5:
            self._retry(name)
        else:
            job.restarts[task] = job.restarts.get(task, 0) + 1
            if job.scheduling.get("restartJobOnWorkerRestart"):
                self._stop(name, "")
            else:
                self._launch(name, task)

    def _retry(self, name: str) -> None:
        job = self.jobs[name]
        job.retries += 1
        if job.retries <= 3:
            job.restarts.clear()
        self._stop(name, "" if job.retries <= 3 else "FAILED")

    def _stop(self, name: str, outcome: str) -> None:
        """An empty outcome is a new attempt."""
        job = self.jobs[name]
        job.stopping, job.outcome, job.kill_at, job.next_try = True, outcome, self.now + GRACE, None
        job.runs_at = None
        job.planned.clear()
        job.running = {task: stubborn for task, stubborn in job.running.items() if stubborn}
        self._perhaps_over(name)

    def _perhaps_over(self, name: str) -> None:
        job = self.jobs[name]
        if job.running:
            return
        job.stopping = False
        job.taken.clear()
        if job.outcome:
            job.state = job.outcome
            self._admit()
        else:
            job.state, job.waiting_since = "PENDING", self.now
            self._provision(name)
