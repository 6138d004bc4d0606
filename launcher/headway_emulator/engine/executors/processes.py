"""Replicas as processes of this machine, for where there is no Docker engine: same command, no container."""

from __future__ import annotations

import os
import socket
import sys
import threading
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import IO, Literal

from headway_emulator.engine.clock import Clock, nano_timestamp
from headway_emulator.engine.executors.process_groups import ProcessGroup
from headway_emulator.engine.executors.protocol import (
    Events,
    Executor,
    ExecutorError,
    Exited,
    Handle,
    Line,
    Replica,
)
from headway_emulator.engine.store import Store

INHERITED = ("LANG", "LC_ALL", "TZ", "TMPDIR", "LD_LIBRARY_PATH", "SSL_CERT_FILE", "REQUESTS_CA_BUNDLE")
"""Of the emulator's own environment, only what a program needs to run on this machine."""
FILES = ("CLOUD_ML_HP_METRIC_FILE",)
"""Variables that name a file of the replica's own disk."""
DRAIN_SECONDS = 2.0
CLOSE_SECONDS = 5.0


class ProcessExecutor:
    """Executor over processes; each replica has a fresh home folder under `folder`."""

    note = (
        "This job runs as a process in the emulator's own Python environment, not in a container: "
        "its image is not used, and its packages are those of this machine."
    )

    accelerators = ""

    def __init__(self, folder: Path, store: Store, clock: Clock) -> None:
        self._folder = folder
        self._store = store
        self._clock = clock
        self._running: set[ProcessHandle] = set()
        self._changed = threading.Condition()
        self._closed = False

    def limits(self, machine: str) -> str:  # noqa: ARG002
        """Processes are not limited."""
        return ""

    def prepare(self, image: str) -> None:
        """Nothing: this Python environment stands for every image."""

    def addresses(self, job: str, tasks: Sequence[str]) -> Mapping[str, str]:  # noqa: ARG002
        """Free ports of the loopback address; all are held open until each has its own number."""
        sockets = [socket.socket() for _ in tasks]
        try:
            for held in sockets:
                held.bind(("127.0.0.1", 0))
            ports = [held.getsockname()[1] for held in sockets]
        finally:
            for held in sockets:
                held.close()
        return {task: f"127.0.0.1:{port}" for task, port in zip(tasks, ports, strict=True)}

    def start(self, replica: Replica, events: Events) -> Handle:
        if not replica.command:
            raise ExecutorError(
                "FAILED_PRECONDITION",
                f"{replica.task}: containerSpec.command is empty, and without a Docker engine the image's "
                "own entrypoint is not known. Give the command, or run the emulator with --executor docker.",
            )
        home = self._folder / replica.job / replica.task
        home.mkdir(parents=True, exist_ok=True)
        try:
            group = ProcessGroup(
                self._store, [*replica.command, *replica.args], env=_environment(replica, home), folder=home
            )
        except OSError as error:
            raise ExecutorError(
                "INVALID_ARGUMENT", f"{replica.task}: {replica.command[0]} did not start: {error.strerror}"
            ) from error
        handle = ProcessHandle(group, home, replica.task, events, self)
        with self._changed:
            self._running.add(handle)
            if self._closed:
                handle.kill()
        handle.follow(self._clock)
        return handle

    def reattach(
        self,
        job: str,  # noqa: ARG002
        launches: Mapping[str, int],  # noqa: ARG002
        events: Events,  # noqa: ARG002
    ) -> Mapping[str, Handle]:
        """None: a process ends with the emulator that started it."""
        return {}

    def release(self, job: str) -> None:
        """Nothing is shared."""

    def sweep(self, keep: Collection[str]) -> None:
        """Nothing is left: strays were ended when the emulator started."""

    def close(self) -> None:
        """Returns when all have ended and been forgotten, so that no thread is left that needs the state."""
        with self._changed:
            self._closed = True  # a start that is under way is not heard of any more
            for handle in self._running:
                handle.kill()
            self._changed.wait_for(lambda: not self._running, CLOSE_SECONDS)

    def forget(self, handle: ProcessHandle) -> None:
        with self._changed:
            self._running.discard(handle)
            self._changed.notify_all()


class ProcessHandle:
    """One process group, whose two streams are followed by threads."""

    def __init__(
        self, group: ProcessGroup, home: Path, task: str, events: Events, executor: ProcessExecutor
    ) -> None:
        self._group = group
        self._home = home
        self._task = task
        self._events = events
        self._executor = executor

    def follow(self, clock: Clock) -> None:
        pumps = [
            self._thread(self._pump, self._group.stdout, "stdout", clock),
            self._thread(self._pump, self._group.stderr, "stderr", clock),
        ]
        self._thread(self._reap, pumps)

    def terminate(self) -> None:
        self._group.terminate()

    def kill(self) -> None:
        self._group.kill()

    def ended(self) -> bool:
        return self._group.ended()

    def discard(self) -> None:
        """Nothing is held: the home folder is kept for who looks at it."""

    def read(self, path: str) -> bytes | None:
        """Only files below the replica's home, which stands for its whole disk."""
        file = _inside(self._home, path).resolve()
        return file.read_bytes() if file.is_relative_to(self._home.resolve()) and file.is_file() else None

    def _thread(self, target: object, *args: object) -> threading.Thread:
        thread = threading.Thread(target=target, args=args, name=f"replica-{self._task}", daemon=True)  # type: ignore[arg-type]
        thread.start()
        return thread

    def _pump(self, stream: IO[bytes], name: Literal["stdout", "stderr"], clock: Clock) -> None:
        with stream:
            for raw in stream:
                text = raw.rstrip(b"\r\n").decode(errors="replace")
                self._events.lines(self._task, [Line(nano_timestamp(clock.now_ns()), name, text)])

    def _reap(self, pumps: Sequence[threading.Thread]) -> None:
        """The command's exit ends its children too; then what they still had written is read."""
        code = self._group.wait()
        try:
            self._group.forget()
        finally:  # the job waits for this, also where the state takes no more
            for pump in pumps:
                pump.join(DRAIN_SECONDS)
            self._executor.forget(self)
            self._events.exited(Exited(self._task, code))


def _environment(replica: Replica, home: Path) -> dict[str, str]:
    inherited = {name: os.environ[name] for name in INHERITED if name in os.environ}
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ.get('PATH', os.defpath)}"
    files = {name: str(_inside(home, replica.env[name])) for name in FILES if name in replica.env}
    return {**inherited, **replica.env, **files, "HOME": str(home), "PATH": path}


def _inside(home: Path, path: str) -> Path:
    """Where a path of a replica's disk is: its home stands for the root."""
    return home / path.lstrip("/")


def _satisfies(executor: ProcessExecutor) -> Executor:
    """Checked by mypy alone: the class keeps to the protocol."""
    return executor
