"""Servers as processes: started detached, found again by pid and start time, ended with all they started."""

from __future__ import annotations

import os
import signal
import subprocess
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

import psutil

from headway.errors import MachineError

GRACE_SECONDS = 10.0
"""Between SIGTERM and SIGKILL."""


def start(argv: Sequence[str], env: Mapping[str, str], log: Path) -> psutil.Process:
    """Start a process in its own session, its output in `log`; it outlives this one.

    The log of the time before is kept beside it, as `NAME.log.1`. Raises MachineError where the program
    cannot be started.
    """
    log.parent.mkdir(parents=True, exist_ok=True)
    if log.exists():
        log.replace(log.with_name(f"{log.name}.1"))
    with log.open("ab") as output:
        try:
            child = subprocess.Popen(
                argv,
                env=dict(env),
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
                cwd=log.parent,
            )
        except OSError as error:
            raise MachineError(f"{argv[0]} cannot be started: {error}") from error
    return psutil.Process(child.pid)


def find(pid: int, create_time: float) -> psutil.Process | None:
    """The very process that was started then, if it lives; a later one with the same pid is not it."""
    try:
        process = psutil.Process(pid)
        same = abs(process.create_time() - create_time) < 1.0
    except psutil.Error:
        return None
    return process if same and is_alive(process) else None


def is_alive(process: psutil.Process) -> bool:
    """True while it runs; a dead child that nobody has waited for yet does not."""
    try:
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    except psutil.Error:
        return False


def listens(process: psutil.Process, port: int) -> bool:
    """True where the process or one that it started listens on the port."""
    return any(_listens(one, port) for one in _tree(process))


def end(processes: Iterable[psutil.Process]) -> None:
    """End the processes and all that they started: SIGTERM, some seconds' grace, SIGKILL.

    What one of them starts while it is being ended is in its process group, which is killed at last.
    """
    processes = list(processes)
    groups = [process.pid for process in processes if _leads_its_group(process)]
    doomed = {one.pid: one for process in processes for one in _tree(process)}.values()
    for process in doomed:
        _unless_gone(process.terminate)
    _, alive = psutil.wait_procs(doomed, timeout=GRACE_SECONDS)
    for process in alive:
        _unless_gone(process.kill)
    for group in groups:
        with suppress(ProcessLookupError):
            os.killpg(group, signal.SIGKILL)
    psutil.wait_procs(alive, timeout=5)


@contextmanager
def undisturbed() -> Iterator[None]:
    """Holds SIGINT and SIGTERM back until the block has ended: nothing is started without being noted."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    held: list[int] = []
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    for number in before:
        signal.signal(number, lambda arrived, _: held.append(arrived))
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
        for arrived in held[:1]:
            signal.raise_signal(arrived)


def tail(log: Path, lines: int = 10) -> list[str]:
    """The last lines of a log file; none where it is not there."""
    try:
        with log.open("rb") as file:
            file.seek(max(0, log.stat().st_size - 16_384))
            return file.read().decode(errors="replace").splitlines()[-lines:]
    except FileNotFoundError:
        return []


def _listens(process: psutil.Process, port: int) -> bool:
    try:
        connections = process.net_connections(kind="tcp")
    except psutil.Error:
        return False
    return any(
        connection.status == psutil.CONN_LISTEN and connection.laddr and connection.laddr.port == port
        for connection in connections
    )


def _leads_its_group(process: psutil.Process) -> bool:
    try:
        return is_alive(process) and os.getpgid(process.pid) == process.pid
    except ProcessLookupError:
        return False


def _tree(process: psutil.Process) -> list[psutil.Process]:
    try:
        return [process, *process.children(recursive=True)]
    except psutil.Error:
        return [process]


def _unless_gone(action: Callable[[], None]) -> None:
    with suppress(psutil.NoSuchProcess):
        action()
