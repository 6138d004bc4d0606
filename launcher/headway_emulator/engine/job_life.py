"""The life of one custom job: PENDING, RUNNING, then SUCCEEDED, FAILED or CANCELLED.

A thread owns it. What happens to the job is a message in its mailbox, so states change in one place.
"""

from __future__ import annotations

import queue
import sys
import threading
import traceback
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, Literal

from headway_emulator.engine.clock import Clock, parse_timestamp, timestamp
from headway_emulator.engine.executor import Executor, ExecutorError, Exited, Handle
from headway_emulator.engine.job_logs import JobLog
from headway_emulator.engine.replicas import PRIMARY, replicas, task_name, tasks
from headway_emulator.engine.store import Document, Store
from headway_emulator.errors import RPC_CODE
from headway_emulator.settings import Settings

KIND = "customJob"
FINAL = frozenset(["JOB_STATE_SUCCEEDED", "JOB_STATE_FAILED", "JOB_STATE_CANCELLED"])
DEFAULT_TIMEOUT = 7 * 24 * 3600.0
"""Seconds, where scheduling.timeout is not given (Google's documentation of Scheduling)."""
LONGEST_TIMEOUT = 365 * 24 * 3600.0
"""Seconds; more than a thread can wait for is not given to it."""
KILL_SECONDS = 10.0
PARALLEL_STARTS = 8


@dataclass(frozen=True)
class Outcome:
    """How a job ended; a status other than OK gives its `error`."""

    state: str
    status: str = "OK"
    message: str = ""


class Leave(Exception):
    """Stop supervising."""


class JobLife(threading.Thread):
    """Supervises one job until it is over; `done` is called with its name at the end."""

    def __init__(
        self,
        name: str,
        settings: Settings,
        store: Store,
        clock: Clock,
        executor: Executor,
        done: Callable[[str], None],
        *,
        resumed: bool,
    ) -> None:
        """`resumed` where an emulator before this one may have started replicas that still run."""
        self._job = name.rsplit("/", 1)[1]
        super().__init__(name=f"job-{self._job}", daemon=True)
        self._name = name
        self._settings = settings
        self._store = store
        self._clock = clock
        self._executor = executor
        self._done = done
        self._resumed = resumed
        self._mail: queue.Queue[Exited | Literal["cancel", "leave"]] = queue.Queue()
        self._handles: dict[str, Handle] = {}
        self._alive: set[str] = set()
        self._leaving = False
        self._log = JobLog(store, clock, self._job)

    def cancel(self) -> bool:
        """False where the job was over first."""
        asked = self._change(state="JOB_STATE_CANCELLING")
        if asked:
            self._mail.put("cancel")
        return asked

    def leave(self) -> None:
        """The emulator is ending."""
        self._leaving = True
        self._mail.put("leave")

    def run(self) -> None:
        try:
            self._finish(self._live())
        except Leave:
            pass
        except Exception:  # noqa: BLE001 - a bug must not leave the job running for ever; it is printed and recorded
            traceback.print_exc(file=sys.stderr)
            for handle in self._handles.values():
                handle.kill()
            self._finish(
                Outcome("JOB_STATE_FAILED", "INTERNAL", "Internal error of the emulator; see its log.")
            )
        finally:
            self._done(self._name)

    def _live(self) -> Outcome:
        job = self._document()
        try:
            if self._resumed:
                self._find_replicas(job)
            if job["state"] == "JOB_STATE_CANCELLING" and not self._alive:
                return Outcome("JOB_STATE_CANCELLED", "CANCELLED", "CANCELED")
            if self._alive or job.get("startTime"):
                self._require_all(job)
            else:
                self._start(job)
        except ExecutorError as error:
            self._end_all(kill_after=0.0)
            return Outcome("JOB_STATE_FAILED", error.status, str(error))
        if not self._running():
            self._mail.put("cancel")
        outcome = self._supervise(self._remaining())
        self._end_all(kill_after=self._settings.grace_seconds)
        return outcome

    def _start(self, job: Mapping[str, Any]) -> None:
        """Every replica, side by side; the job runs only when all are up."""
        spec = job["jobSpec"]
        if self._executor.note:
            self._log.say("INFO", self._executor.note)
        if asked := _accelerators(spec):
            self._log.say("WARNING", f"No GPU is attached: this emulator has none. Asked for: {asked}.")
        for image in {pool["containerSpec"]["imageUri"] for pool in spec["workerPoolSpecs"] if pool}:
            self._executor.prepare(image)
        names = [task_name(*at) for at in tasks(spec)]
        addresses = self._executor.addresses(self._job, names)
        region = self._name.split("/")[3]
        wanted = replicas(self._settings, self._job, region, spec, addresses)
        with ThreadPoolExecutor(min(len(wanted), PARALLEL_STARTS)) as pool:
            starts = {r.task: pool.submit(self._executor.start, r, self._events()) for r in wanted}
        errors = [e for e in (start.exception() for start in starts.values()) if e is not None]
        self._handles = {task: start.result() for task, start in starts.items() if start.exception() is None}
        self._alive = set(self._handles)
        if errors:
            raise errors[0]

    def _running(self) -> bool:
        """All replicas are up; False where the job was asked to stop before."""
        with self._store.transaction():
            job = self._document()
            if job["state"] == "JOB_STATE_CANCELLING":
                return False
            if not job.get("startTime"):
                self._change(state="JOB_STATE_RUNNING", startTime=timestamp(self._clock.now_ns()))
            return True

    def _remaining(self) -> float:
        """Seconds of scheduling.timeout that are left, counted from the job's start."""
        job = self._document()
        given = job["jobSpec"].get("scheduling", {}).get("timeout", "")
        timeout = min(float(given.removesuffix("s")), LONGEST_TIMEOUT) if given else DEFAULT_TIMEOUT
        if not (started := job.get("startTime")):
            return timeout
        return max(0.0, timeout - (self._clock.now_ns() - parse_timestamp(started)) / 1e9)

    def _find_replicas(self, job: Mapping[str, Any]) -> None:
        """Follow again what still runs, and what ended while no emulator looked."""
        names = [task_name(*at) for at in tasks(job["jobSpec"])]
        since = {name: self._log.last(name) for name in names}
        self._handles = dict(self._executor.reattach(self._job, since, self._events()))
        self._alive = set(self._handles)

    def _require_all(self, job: Mapping[str, Any]) -> None:
        for name in (task_name(*at) for at in tasks(job["jobSpec"])):
            if name not in self._handles:
                raise ExecutorError(
                    "UNAVAILABLE",
                    f"The replica {name} was lost when the emulator stopped. Submit the job again.",
                )

    def _events(self) -> _Reports:
        return _Reports(self._log, self._mail)

    def _supervise(self, timeout: float) -> Outcome:
        """Wait for what decides the job: the primary's success, any failure, a cancel, or the deadline."""
        deadline = self._clock.monotonic() + timeout
        while True:
            try:
                message = self._mail.get(timeout=max(0.0, deadline - self._clock.monotonic()))
            except queue.Empty:
                text = "The job ran longer than its scheduling.timeout and was stopped."
                return Outcome("JOB_STATE_FAILED", "DEADLINE_EXCEEDED", text)
            if message == "cancel":
                return Outcome("JOB_STATE_CANCELLED", "CANCELLED", "CANCELED")
            if isinstance(message, Exited):
                self._alive.discard(message.task)
                if self._leaving:
                    raise Leave
                if outcome := self._decided(message):
                    return outcome
            elif self._leaving:
                raise Leave

    def _decided(self, event: Exited) -> Outcome | None:
        if event.code == 0 and not event.lost:
            return Outcome("JOB_STATE_SUCCEEDED") if event.task == PRIMARY else None
        return Outcome("JOB_STATE_FAILED", *_failure(event, self._job, self._settings.project))

    def _end_all(self, kill_after: float) -> None:
        """SIGTERM, then SIGKILL after the grace; gives up on a replica that outlives even that."""
        if self._alive and kill_after > 0:
            for task in sorted(self._alive):
                self._handles[task].terminate()
            self._drain(kill_after)
        for task in sorted(self._alive):
            self._handles[task].kill()
        self._drain(KILL_SECONDS)

    def _drain(self, seconds: float) -> None:
        deadline = self._clock.monotonic() + seconds
        while self._alive:
            try:
                message = self._mail.get(timeout=max(0.0, deadline - self._clock.monotonic()))
            except queue.Empty:
                return
            if isinstance(message, Exited):
                self._alive.discard(message.task)
            elif message == "leave":
                raise Leave

    def _finish(self, outcome: Outcome) -> None:
        """The log is complete by now: executors report an exit after its last line."""
        now = timestamp(self._clock.now_ns())
        job = self._document()
        changes: Document = {"state": outcome.state, "endTime": now}
        if outcome.status != "OK":
            changes["error"] = {"code": RPC_CODE[outcome.status], "message": outcome.message}
        if outcome.state == "JOB_STATE_FAILED":
            self._log.say("ERROR", outcome.message)
        if not job.get("startTime") and outcome.state == "JOB_STATE_SUCCEEDED":
            changes["startTime"] = now
        self._change(**changes)
        for handle in self._handles.values():
            handle.discard()

    def _document(self) -> Document:
        document = self._store.get(KIND, self._name)
        if document is None:
            raise Leave  # deleted from under it, which only a finished job allows
        return document

    def _change(self, **changes: Any) -> bool:
        """Write the job anew; False, and nothing written, where it is over already, or deleted since."""
        with self._store.transaction():
            job = self._store.get(KIND, self._name)
            if job is None or job["state"] in FINAL:
                return False
            now = timestamp(self._clock.now_ns())
            self._store.put(KIND, self._name, {**job, **changes, "updateTime": now})
            return True


class _Reports:
    """Events of an executor: lines go to the log at once, an exit goes to the mailbox."""

    def __init__(self, log: JobLog, mail: queue.Queue[Exited | Literal["cancel", "leave"]]) -> None:
        self._mail = mail
        self._log = log
        self.lines = log.lines

    def exited(self, event: Exited) -> None:
        self._log.flush()
        self._mail.put(event)


def _failure(event: Exited, job: str, project: str) -> tuple[str, str]:
    """Status and message in Vertex AI's words (from users' reports; not checked against recordings)."""
    where = (
        "To find out more about why your job exited please check the logs: "
        f"https://console.cloud.google.com/logs/viewer?project={project}&resource=ml_job%2Fjob_id%2F{job}"
    )
    if event.lost:
        return "UNAVAILABLE", f"The replica {event.task} was lost: {event.lost}. Submit the job again."
    if event.out_of_memory:
        return (
            "INVALID_ARGUMENT",
            f"The replica {event.task} ran out-of-memory and exited with a non-zero status of {event.code}. "
            f"{where}",
        )
    return (
        "INVALID_ARGUMENT",
        f"The replica {event.task} exited with a non-zero status of {event.code}. {where}",
    )


def _accelerators(spec: Mapping[str, Any]) -> str:
    machines = [pool.get("machineSpec", {}) for pool in spec["workerPoolSpecs"]]
    asked = {
        f"{m['acceleratorCount']} x {m['acceleratorType']}" for m in machines if m.get("acceleratorCount")
    }
    return ", ".join(sorted(asked))
