"""One run of a CustomJobSpec from its queue to its end: a custom job's, or that of a trial of a tuning job.

Every method is called in the loop's thread, so a state changes in one place; what blocks is done beside it.
What must outlive the emulator is in `document`, which is written before it takes effect.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from headway_emulator.engine.clock import Clock, parse_timestamp, timestamp
from headway_emulator.engine.executors.protocol import Executor, ExecutorError, Exited
from headway_emulator.engine.faults import QUOTA, Faults
from headway_emulator.engine.jobs import ladder
from headway_emulator.engine.jobs.crew import Crew
from headway_emulator.engine.jobs.ladder import Fall, Tried
from headway_emulator.engine.jobs.log import JobLog
from headway_emulator.engine.jobs.machines import Machines
from headway_emulator.engine.jobs.outcome import CANCELLED, TIMED_OUT, Outcome
from headway_emulator.engine.jobs.preemption import Preemptions
from headway_emulator.engine.jobs.quotas import Quotas
from headway_emulator.engine.jobs.record import Record
from headway_emulator.engine.jobs.replicas import PRIMARY, replica
from headway_emulator.engine.loop import Loop
from headway_emulator.engine.store import Document, Store
from headway_emulator.errors import RPC_CODE
from headway_emulator.settings import Settings

DEFAULT_TIMEOUT = 7 * 24 * 3600.0
"""Seconds, where scheduling.timeout is not given (Google's documentation of Scheduling)."""
KILL_SECONDS = 10.0
RETRY_QUOTA = 5.0


@dataclass(frozen=True)
class Parts:
    """What every training works with."""

    settings: Settings
    store: Store
    clock: Clock
    loop: Loop
    executor: Executor
    faults: Faults
    quotas: Quotas
    changed: Callable[[Document], None]
    """Keeps the document, and tells whose training it is."""
    over: Callable[[str], None]
    ask_quota_again: Callable[[], None]


class Training:
    """One that is not over yet."""

    def __init__(self, document: Document, parts: Parts) -> None:
        self.name: str = document["name"]
        self._parts = parts
        self._keeping = False
        self._lane = parts.loop.lane(self._start_failed)
        self._record = Record(document, parts.clock, self._lane, parts.changed)
        self._log = JobLog(parts.store, parts.clock, document.get("log") or document["job"])
        self._crew = Crew(self._lane, parts.executor, self._log, self._started, self._exited)
        self._machines = Machines(self._record, parts.faults, self._launch, self.stop)
        self._preemptions = Preemptions(self._record, self._crew, parts.faults, self._log)

    @property
    def document(self) -> Document:
        """As it was last kept."""
        return self._record.document

    # -- waiting for quota and machines

    def admit(self) -> bool:
        """Take what it needs of the quota; False where it has to wait on."""
        if self._machines.fault(QUOTA) is not None:
            self._record.alarm("quota", RETRY_QUOTA, self._parts.ask_quota_again)
            return False
        return self._parts.quotas.admit(self.name, self.document["region"], self._record.spec)

    def leave_queue(self) -> None:
        self._record.save(**admitted(self._record.now_ns()))
        self.provision()

    def provision(self) -> None:
        self._machines.find()

    # -- starting

    def _launch(self) -> None:
        """Every replica that is not there yet, side by side; the job reads RUNNING when all are up."""
        if self._record.phase != "starting":
            self._record.save(phase="starting")
        if not self.document.get("announced"):
            self._announce()
        self._lane.beside(self._prepare, self._prepared)

    def _announce(self) -> None:
        if self._parts.executor.note:
            self._log.say("INFO", self._parts.executor.note)
        for machine in sorted({facts["machine"] for facts in self._record.machines()}):
            if limits := self._parts.executor.limits(machine):
                self._log.say("INFO", limits)
        if asked := _accelerators(self._record.spec):
            if given := self._parts.executor.accelerators:
                self._log.say("INFO", f"Asked for: {asked}. Attached: {given}.")
            else:
                self._log.say("WARNING", f"No GPU is attached: this emulator has none. Asked for: {asked}.")
        self._record.save(announced=True)

    def _prepare(self) -> Mapping[str, str]:
        executor = self._parts.executor
        pools = [pool for pool in self._record.spec["workerPoolSpecs"] if pool]
        for image in {pool["containerSpec"]["imageUri"] for pool in pools}:
            executor.prepare(image)
        return self.document.get("addresses") or executor.addresses(self.document["job"], self._record.tasks)

    def _prepared(self, addresses: Mapping[str, str] | Exception) -> None:
        if self._record.phase != "starting":
            return  # the attempt that asked is over
        if isinstance(addresses, Exception):
            self._start_failed(addresses)
            return
        self._record.save(addresses=dict(addresses))
        self._start([t for t in self._record.tasks if t not in self._crew.present | self._crew.starting])

    def _start(self, names: Sequence[str], **changes: Any) -> None:
        """Write down that these are started, together with the changes that led to it, and start them."""
        launches = {**self._record.launches, **{task: self._record.launches[task] + 1 for task in names}}
        self._record.save(launches=launches, **changes)
        for task in names:
            self._crew.start(replica(self._parts.settings, self._record.work, task, launches[task]))

    def _started(self, task: str, error: Exception | None) -> None:
        if error is not None:
            self._start_failed(error)
            return
        if task in (restarting := self.document.get("restarting", [])):
            self._record.save(restarting=[other for other in restarting if other != task])
        if self._stopping:
            self._crew.terminate(task)
            self._await_kill()
        elif not self._crew.starting and self._record.phase == "starting":
            self._up()

    def _start_failed(self, error: Exception) -> None:
        status, text = "INTERNAL", f"Internal error of the emulator: {type(error).__name__}: {error}"
        if isinstance(error, ExecutorError):
            status, text = error.status, str(error)
        self.stop(Outcome("JOB_STATE_FAILED", status, text), patience=0.0)
        self._perhaps_over()

    def _up(self) -> None:
        self._machines.are_up()
        self._soon_running()

    def _soon_running(self) -> None:
        if (left := self._record.until(self.document["runsAt"])) > 0:
            self._record.alarm("late", left, self._running)
        else:
            self._running()

    def _running(self) -> None:
        if self._record.phase != "up":
            return
        started = self.document.get("startTime") or timestamp(self._record.now_ns())
        if self.document["state"] != "JOB_STATE_RUNNING":
            self._record.save(state="JOB_STATE_RUNNING", startTime=started)
        self._arm_timeout()
        self._preemptions.consider()

    def _arm_timeout(self) -> None:
        """scheduling.timeout counts from the first start, through restarts and retries."""
        started = self.document.get("startTime")
        if not started or self._record.has_alarm("timeout"):
            return
        given = self._record.scheduling.get("timeout", "")
        timeout = float(given.removesuffix("s")) if given else DEFAULT_TIMEOUT
        left = timeout + self._record.until(parse_timestamp(started))
        self._record.alarm("timeout", left, lambda: self.stop(TIMED_OUT))

    # -- what happens to replicas

    def notice_ends(self) -> None:
        """Before a step of the clock: what happened before it is known before it."""
        self._crew.notice_ends()

    def meet_new_fault(self) -> None:
        self._preemptions.consider()

    def _exited(self, event: Exited) -> None:
        if self._stopping:
            self._perhaps_over()
            return
        if self._preemptions.ended(event.task):
            self._fell(Fall(event.task, "preempted", event.code))
        elif event.lost:
            self._fell(Fall(event.task, "lost", event.code, event.lost))
        elif event.out_of_memory:
            self._fell(Fall(event.task, "out_of_memory", event.code))
        elif event.code != 0:
            self._fell(Fall(event.task, "exit", event.code))
        elif event.task == PRIMARY:
            self.stop(Outcome("JOB_STATE_SUCCEEDED"))
        else:
            self._record.save(ended=[*self.document.get("ended", []), event.task])

    def _fell(self, fall: Fall) -> None:
        document = self.document
        restarts = document.get("restarts", {})
        tried = Tried(restarts.get(fall.task, 0), document.get("retries", 0), document.get("preemptions", 0))
        match ladder.step(fall, self._record.scheduling, tried):
            case "fail":
                text = ladder.failure(fall, document["job"], self._parts.settings.project)
                self.stop(Outcome("JOB_STATE_FAILED", *text))
            case "restart_worker":
                self._restart(fall, tried.restarts + 1)
            case "restart_job" if fall.reason == "preempted":
                self._again(fall, preemptions=tried.preemptions + 1)
            case "restart_job":
                self._again(fall, restarts={**restarts, fall.task: tried.restarts + 1})
            case "retry_job":
                self._again(fall, retries=tried.retries + 1, restarts={})

    def _restart(self, fall: Fall, times: int) -> None:
        """The same worker on the same machine, under the same name."""
        restarts = {**self.document.get("restarts", {}), fall.task: times}
        restarting = [*self.document.get("restarting", []), fall.task]
        most = ladder.RESTARTS_OF_A_WORKER
        self._log.say("WARNING", f"{ladder.what(fall)} The replica is restarted ({times} of {most}).")
        self._start([fall.task], restarts=restarts, restarting=restarting)

    def _again(self, fall: Fall, **counts: Any) -> None:
        """All replicas are ended, and the job starts anew."""
        self._log.say("WARNING", f"{ladder.what(fall)} The job is restarted.")
        self.stop(None, **counts)

    # -- ending

    @property
    def _stopping(self) -> bool:
        return self._record.phase in ("stopping", "over")

    def cancel(self) -> None:
        """CANCELLING at once, CANCELLED when every replica has ended; an outcome that is settled stays."""
        if self._record.phase == "over" or (self._stopping and self.document.get("ending")):
            return
        if self._stopping:
            self._record.save(state="JOB_STATE_CANCELLING", ending=vars(CANCELLED))
        else:
            self.stop(CANCELLED, state="JOB_STATE_CANCELLING")

    def stop(self, outcome: Outcome | None, patience: float | None = None, **changes: Any) -> None:
        """SIGTERM to all, SIGKILL after `patience` (or the grace), then the outcome, or a new attempt.

        The changes that led to it are written together with it.
        """
        if self._stopping:
            if outcome is TIMED_OUT and not self.document.get("ending"):
                self._record.save(ending=vars(outcome))
            return
        grace = self._parts.settings.grace_seconds if patience is None else patience
        ending = vars(outcome) if outcome else None
        kill_at = self._record.after(grace)
        self._record.save(phase="stopping", ending=ending, killAt=kill_at, preempting={}, **changes)
        self._end_replicas()

    def _end_replicas(self) -> None:
        self._preemptions.forget()
        if self._record.until(self.document["killAt"]) > 0:
            self._crew.terminate(*self._crew.alive)
        if not self._crew.idle:
            self._await_kill()
        self._perhaps_over()

    def _await_kill(self) -> None:
        self._record.alarm("kill", self._record.until(self.document["killAt"]), self._kill)

    def _kill(self) -> None:
        self._crew.kill(*self._crew.alive)
        self._record.alarm("give up", KILL_SECONDS, self._give_up)

    def _give_up(self) -> None:
        self._crew.give_up()
        self._perhaps_over()

    def _perhaps_over(self) -> None:
        if not self._crew.idle or self._record.phase != "stopping":
            return
        self._record.cancel_alarm("kill")
        self._record.cancel_alarm("give up")
        if self.document.get("ending") and self.document.get("keep") and "kept" not in self.document:
            self._keep(self.document["keep"])
        elif ending := self.document.get("ending"):
            self._finish(Outcome(**ending))
        else:
            self._crew.discard(self._anew)

    def _anew(self) -> None:
        """Another attempt, now that nothing of the last one is left; a cancel may have come before."""
        if self.document.get("ending"):
            self._perhaps_over()
        elif self._record.phase == "stopping":
            self._record.save(**admitted(self._record.now_ns()), ended=[], restarting=[])
            self.provision()

    def _keep(self, path: str) -> None:
        """Take what the owner wants to have of the primary replica before that is gone."""

        def taken(content: bytes | Exception | None) -> None:
            self._keeping = False
            text = content.decode(errors="replace") if isinstance(content, bytes) else ""
            self._record.save(kept=text)
            self._perhaps_over()

        if not self._keeping:
            self._keeping = True
            self._lane.beside(lambda: self._crew.read(PRIMARY, path), taken)

    def _finish(self, outcome: Outcome) -> None:
        """The log is complete by now: executors report an exit after its last line."""
        self._record.cancel_alarms()
        now = timestamp(self._record.now_ns())
        changes: Document = {"state": outcome.state, "endTime": now}
        if outcome.status != "OK":
            changes["error"] = {"code": RPC_CODE[outcome.status], "message": outcome.message}
        if outcome.state in ("JOB_STATE_FAILED", "JOB_STATE_EXPIRED"):
            self._log.say("ERROR", outcome.message)
        if not self.document.get("startTime") and outcome.state == "JOB_STATE_SUCCEEDED":
            changes["startTime"] = now
        self._record.save(phase="over", **changes)
        self._crew.discard(self._release)
        self._parts.over(self.name)

    def _release(self) -> None:
        job = self.document["job"]
        self._lane.beside(lambda: self._parts.executor.release(job), lambda _: None)

    # -- after a restart of the emulator

    def resume(self) -> None:
        """Go on where the emulator before this one stopped."""
        self._arm_timeout()
        if self._record.phase != "queued":
            self._crew.find(self.document["job"], self._record.launches, self._found)

    def _found(self, error: Exception | None) -> None:
        present, ended = self._crew.present, self.document.get("ended", [])
        restarting = self.document.get("restarting", [])
        self._crew.alive -= set(ended)
        if error is not None:
            self._start_failed(error)
            return
        match self._record.phase:
            case "waiting":
                self.provision()
            case "stopping":
                self._end_replicas()
            case "starting":
                self._launch_or_up()
            case "up":
                for task in self._record.tasks:
                    if task not in present and task not in ended and task not in restarting:
                        self._lost_with_the_emulator(task)
                        return
                self._start([task for task in restarting if task not in present])
                self._preemptions.resume()
                self._soon_running()

    def _launch_or_up(self) -> None:
        if self._crew.present == set(self._record.tasks):
            self._up()
        else:
            self._launch()

    def _lost_with_the_emulator(self, task: str) -> None:
        text = f"The replica {task} was lost when the emulator stopped. Submit the job again."
        self.stop(Outcome("JOB_STATE_FAILED", "UNAVAILABLE", text), patience=0.0)

    def read(self, task: str, path: str) -> bytes | None:
        """A file of a replica, None where there is none; may be called from any thread."""
        return self._crew.read(task, path)


def admitted(now_ns: int) -> Document:
    """What changes in the document when quota is there and machines are looked for."""
    return {"phase": "waiting", "state": "JOB_STATE_PENDING", "waitingSince": now_ns}


def _accelerators(spec: Mapping[str, Any]) -> str:
    machines = [pool.get("machineSpec", {}) for pool in spec["workerPoolSpecs"]]
    asked = {
        f"{m['acceleratorCount']} x {m['acceleratorType']}" for m in machines if m.get("acceleratorCount")
    }
    return ", ".join(sorted(asked))
