"""What runs a replica: a protocol with few methods, satisfied by containers or by processes."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal, Protocol


class ExecutorError(Exception):
    """A replica could not be started; `status` is a google.rpc.Code name, the message for its owner."""

    def __init__(self, status: str, message: str) -> None:
        super().__init__(message)
        self.status = status


@dataclass(frozen=True)
class Replica:
    """One machine of a job as its executor sees it."""

    job: str
    task: str
    """Such as workerpool0-0."""
    image: str
    command: tuple[str, ...]
    args: tuple[str, ...]
    env: Mapping[str, str]
    launch: int = 1
    """How many times this task of the job has been started, this time counted."""
    machine: str = ""
    """Such as n1-standard-4: its size is scaled to what this machine has."""
    accelerators: int = 0
    mounts: Mapping[str, str] = field(default_factory=dict)
    """Files of this machine, and where a container finds them."""
    companions: int = 0
    """How many other replicas the job has."""


@dataclass(frozen=True)
class Line:
    """One line of output; `timestamp` has nine digits."""

    timestamp: str
    stream: Literal["stdout", "stderr"]
    text: str


@dataclass(frozen=True)
class Exited:
    """A replica has ended, and every line it wrote has been handed over before this."""

    task: str
    code: int
    out_of_memory: bool = False
    lost: str = ""
    """Why the replica is gone without an exit code, or an empty string."""


class Events(Protocol):
    """Where an executor reports; called from its threads."""

    def lines(self, task: str, lines: Sequence[Line]) -> None: ...

    def taken(self, task: str, since: str) -> int:
        """How many of its lines not older than `since` were reported, by emulators before this one too."""

    def exited(self, event: Exited) -> None: ...


class Handle(Protocol):
    """A replica that was started."""

    def terminate(self) -> None:
        """SIGTERM; nothing where it has ended already."""

    def kill(self) -> None:
        """SIGKILL to it and all its children."""

    def ended(self) -> bool:
        """Whether it has ended, be that reported already or not."""

    def discard(self) -> None:
        """Free what it held, once it has ended."""

    def read(self, path: str) -> bytes | None:
        """A file of it by its absolute path there; None where there is none."""


class Executor(Protocol):
    """Containers or processes."""

    @property
    def note(self) -> str:
        """What a job's log should say about the way it runs, or an empty string."""

    @property
    def accelerators(self) -> str:
        """Which GPUs replicas are given, for their log; an empty string where there are none."""

    def limits(self, machine: str) -> str:
        """What a replica gets of its machine type here, as a sentence for its log; may be empty."""

    def prepare(self, image: str) -> None:
        """Make the image usable; ExecutorError where it cannot be had."""

    def addresses(self, job: str, tasks: Sequence[str]) -> Mapping[str, str]:
        """HOST:PORT under which each replica is reached by the others."""

    def start(self, replica: Replica, events: Events) -> Handle:
        """Start one replica and follow its output; ExecutorError where it does not start."""

    def reattach(self, job: str, launches: Mapping[str, int], events: Events) -> Mapping[str, Handle]:
        """By task, the replicas that outlived the emulator, followed again after their last line.

        Those of another launch than `launches` says are removed.
        """

    def release(self, job: str) -> None:
        """A job is over: free what its replicas shared, and remove what is left of any of them."""

    def sweep(self, keep: Collection[str]) -> None:
        """Remove what earlier emulators left of jobs that are not in `keep`."""

    def close(self) -> None:
        """The emulator is ending."""
