"""An engine of jobs with no machines: replicas that a test ends by hand, and a clock that it steps."""

from __future__ import annotations

import threading
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from headway_emulator.engine.clock import VirtualClock
from headway_emulator.engine.executors.protocol import (
    Events,
    Executor,
    ExecutorError,
    Exited,
    Handle,
    Line,
    Replica,
)
from headway_emulator.engine.faults import Faults
from headway_emulator.engine.jobs.custom_jobs import Jobs
from headway_emulator.engine.jobs.trainings import KIND, Trainings
from headway_emulator.engine.store import Document, Store
from headway_emulator.settings import Settings

PARENT = "projects/123/locations/us-central1"
EPOCH_NS = 1_790_000_000_000_000_000


@dataclass
class Machine:
    """One replica: it runs until it is ended, and takes SIGTERM as its test says."""

    replica: Replica
    events: Events | None
    stubborn: bool = False
    outcome: Exited | None = None
    removed: bool = False
    told: bool = False
    files: dict[str, bytes] = field(default_factory=dict)

    @property
    def running(self) -> bool:
        return self.outcome is None and not self.removed

    def end(self, code: int, *, lost: str = "", out_of_memory: bool = False) -> None:
        if self.running:
            self.outcome = Exited(self.replica.task, code, out_of_memory, lost)
            self.tell()

    def tell(self) -> None:
        if self.outcome is not None and self.events is not None and not self.told:
            self.told = True
            self.events.exited(self.outcome)

    # what the protocol of a handle asks for

    def terminate(self) -> None:
        if not self.stubborn:
            self.end(143)

    def kill(self) -> None:
        self.end(137)

    def ended(self) -> bool:
        return self.outcome is not None

    def discard(self) -> None:
        self.removed = True

    def read(self, path: str) -> bytes | None:
        return self.files.get(path)


@dataclass
class Machines:
    """An executor whose replicas outlive the emulator, as containers do."""

    all: list[Machine] = field(default_factory=list)
    missing_images: set[str] = field(default_factory=set)
    broken: set[str] = field(default_factory=set)
    """Tasks that do not start."""
    stubborn: bool = False
    gate: threading.Event | None = None
    """Starts wait for it, and then fail."""
    note: str = ""
    accelerators: str = ""

    def limits(self, machine: str) -> str:
        return ""

    def release(self, job: str) -> None:
        for machine in self.of(job):
            machine.removed = True

    def prepare(self, image: str) -> None:
        if image in self.missing_images:
            raise ExecutorError("NOT_FOUND", f'Image "{image}" is not there.')

    def addresses(self, job: str, tasks: Sequence[str]) -> Mapping[str, str]:
        return {task: f"{task}:2222" for task in tasks}

    def start(self, replica: Replica, events: Events) -> Handle:
        if self.gate is not None:
            assert self.gate.wait(10)
            raise ExecutorError("INTERNAL", "It does not start.")
        if replica.task in self.broken:
            raise ExecutorError("INVALID_ARGUMENT", "It does not start.")
        machine = Machine(replica, events, self.stubborn)
        self.all.append(machine)
        events.lines(replica.task, [Line("2026-11-22T00:00:00.000000000Z", "stdout", "hello")])
        return machine

    def reattach(self, job: str, launches: Mapping[str, int], events: Events) -> Mapping[str, Handle]:
        found: dict[str, Handle] = {}
        for machine in self.of(job):
            if machine.replica.launch != launches[machine.replica.task]:
                machine.removed = True
                continue
            machine.events, machine.told = events, False
            found[machine.replica.task] = machine
            machine.tell()
        return found

    def sweep(self, keep: Collection[str]) -> None:
        for machine in self.all:
            if machine.replica.job not in keep:
                machine.removed = True

    def close(self) -> None:
        self.forget()

    def forget(self) -> None:
        """As when the emulator is gone: what happens to replicas is told to nobody."""
        for machine in self.all:
            machine.events = None

    def of(self, job: str) -> list[Machine]:
        return [machine for machine in self.all if machine.replica.job == job and not machine.removed]

    def replica(self, job: str, task: str = "workerpool0-0") -> Machine:
        """The newest one."""
        return [machine for machine in self.of(job) if machine.replica.task == task][-1]


class Bench:
    """Jobs, trainings, faults and a virtual clock over one state; `restart` is a crash and a new start."""

    def __init__(self, folder: Path, *, quotas: Sequence[Mapping[str, Any]] = ()) -> None:
        self.settings = Settings(
            project="headway-local",
            project_number="123",
            state=folder,
            executor="process",
            storage_url="http://127.0.0.1:1",
            public_url="http://127.0.0.1:80",
            network="",
            nonce="n",
            grace_seconds=30.0,
            clock="virtual",
            quotas=tuple(quotas),
        )
        self.machines = Machines()
        self._open()

    def _open(self) -> None:
        self.store = Store(self.settings.state / "state.sqlite3")
        kept = self.store.get("clock", "now") or {"ns": EPOCH_NS}
        self.clock = VirtualClock(int(kept["ns"]), lambda now: self.store.put("clock", "now", {"ns": now}))
        self.faults = Faults(self.store, self.clock)
        self.trainings = Trainings(self.settings, self.store, self.clock, self.machines, self.faults)
        self.jobs = Jobs(self.store, self.trainings)
        self._built()
        self.trainings.recover()
        self._recovered()

    def _built(self) -> None:
        """What stands on the trainings is put there, before they go on."""

    def _recovered(self) -> None:
        """It goes on after them."""

    def restart(self) -> None:
        """The emulator is gone from one moment to the next; another one starts on its state."""
        self.machines.forget()
        self.close()
        self._open()

    def close(self) -> None:
        self.clock.close()
        self.trainings.close()
        self.store.close()

    def step(self, seconds: float = 0.0) -> None:
        """Let everything that was begun come to rest, and time go on."""
        self.clock.advance(seconds)

    def add_fault(self, **fault: Any) -> Document:
        added = self.faults.add(fault)
        self.trainings.meet_new_fault()
        self.step()
        return added

    def create(self, *replica_counts: int, gpus: str = "", parent: str = PARENT, **scheduling: Any) -> str:
        """The name of a new job that has come as far as it can."""
        name = self.order(*replica_counts, gpus=gpus, parent=parent, **scheduling)
        self.step()
        return name

    def order(self, *replica_counts: int, gpus: str = "", parent: str = PARENT, **scheduling: Any) -> str:
        """The name of a new job."""
        machine: Document = {"machineType": "n1-standard-4"}
        if gpus:
            kind, _, count = gpus.partition(":")
            machine |= {"acceleratorType": kind, "acceleratorCount": int(count or 1)}
        pools = [
            {"machineSpec": machine, "replicaCount": str(count), "containerSpec": {"imageUri": "image"}}
            for count in replica_counts or (1,)
        ]
        body = {"displayName": "job", "jobSpec": {"workerPoolSpecs": pools, "scheduling": scheduling}}
        name: str = self.jobs.create(parent, body)["name"]
        return name

    def state(self, name: str) -> str:
        return str(self.jobs.get(name)["state"]).removeprefix("JOB_STATE_")

    def machine(self, name: str, task: str = "workerpool0-0") -> Machine:
        return self.machines.replica(name.rsplit("/", 1)[1], task)

    def running(self, name: str) -> list[str]:
        job = name.rsplit("/", 1)[1]
        return sorted(m.replica.task for m in self.machines.of(job) if m.running)

    def end(self, name: str, code: int, task: str = "workerpool0-0", **how: Any) -> None:
        self.machine(name, task).end(code, **how)
        self.step()

    def unfinished(self) -> list[Document]:
        return self.store.list(KIND)


def _satisfies(machines: Machines) -> Executor:
    """Checked by mypy alone: the class keeps to the protocol."""
    return machines
