"""The stack's four verbs: up, down, status, reset."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from headway.errors import MachineError
from headway_launcher.stack import engine as docker_engine
from headway_launcher.stack import health, lock, processes, start
from headway_launcher.stack.record import Executor, Folder, Record
from headway_launcher.stack.servers import NAMES

Say = Callable[[str], None]

_FREE_BYTES = 512 * 2**20


@dataclass(frozen=True)
class Wish:
    """What the user asked of `up`; None leaves it to what is there (Docker where an engine answers)."""

    executor: Executor | None = None
    require_docker: bool = False
    port: int | None = None


@dataclass(frozen=True)
class ServerStatus:
    """One line of `launch local status`."""

    name: str
    state: str
    url: str | None
    pid: int | None
    log: str
    reason: str
    last_lines: tuple[str, ...]


def up(root: Path, wish: Wish, say: Say, *, deadline: float = 90.0) -> Record:
    """Bring the stack up, or only what of it is down. At once where all is healthy.

    Raises MachineError (engine, port, disk, folder, a server that does not start) and DeadlinePassed.
    """
    folder = Folder(root)
    _prepare(folder)
    with lock.held(folder.lock, say):
        record = folder.read()
        engine = docker_engine.find()
        executor = _executor(record, engine, wish, say)
        if record is not None and (change := _change(record, executor, wish)):
            say(f"restarting the stack: {change}")
            _end(folder, record, say)
            record = None
        if record is not None and _all_healthy(record):
            folder.write(record, finished=True)
            return record
        return start.start(
            folder,
            record,
            executor=executor,
            engine=engine if executor == "docker" and not isinstance(engine, str) else None,
            port=wish.port,
            say=say,
            deadline=deadline,
        )


def down(root: Path, say: Say) -> bool:
    """End exactly what `up` started, jobs included; data stays. False where nothing was up."""
    folder = Folder(root)
    if not root.is_dir():
        return False
    with lock.held(folder.lock, say):
        record = folder.read()
        if record is None:
            return False
        _end(folder, record, say)
        return True


def reset(root: Path, say: Say) -> bool:
    """End the stack and delete all its data. False where there was nothing."""
    folder = Folder(root)
    if not root.is_dir():
        return False
    with lock.held(folder.lock, say):
        if (record := folder.read()) is not None:
            _end(folder, record, say)
        try:
            shutil.rmtree(root)
        except OSError as error:
            raise MachineError(f"{root} could not be deleted: {error}") from error
    return True


def status(root: Path) -> tuple[Record | None, list[ServerStatus]]:
    """How each server is, with the last lines of the log of one that crashed. Changes nothing."""
    folder = Folder(root)
    record = folder.read()
    return record, [_status(folder, record, name) for name in NAMES]


def _status(folder: Folder, record: Record | None, name: str) -> ServerStatus:
    log = folder.log(name)
    server = record.server(name) if record else None
    if record is None or server is None:
        return ServerStatus(name, "stopped", None, None, str(log), "", ())
    found = health.look(server, record.nonce)
    lines = () if found.state == "healthy" else tuple(processes.tail(log))
    return ServerStatus(name, found.state, server.url, server.pid, str(log), found.reason, lines)


def _executor(record: Record | None, engine: docker_engine.Engine | str, wish: Wish, say: Say) -> Executor:
    """Which executor the stack gets: what is asked for, else what runs, else Docker where it answers."""
    missing = engine if isinstance(engine, str) else None
    if missing and (wish.require_docker or wish.executor == "docker"):
        raise MachineError(missing, hint="start it (as root on Debian: apt-get install docker.io; dockerd &)")
    if wish.require_docker:
        return "docker"
    if wish.executor is not None:
        return wish.executor
    if record is not None and _server_lives(record):
        _say_mismatch(record.executor, missing, say)
        return record.executor
    if missing:
        say(f"{missing}: jobs run as plain processes on this machine, not in containers")
    return "process" if missing else "docker"


def _say_mismatch(running: Executor, missing: str | None, say: Say) -> None:
    if running == "process" and missing is None:
        say(
            "the stack runs jobs as plain processes, and a Docker engine answers now: "
            "launch local up --executor docker changes over"
        )
    if running == "docker" and missing is not None:
        say(f"the stack runs jobs in Docker, but {missing}: start it, or launch local up --executor process")


def _server_lives(record: Record) -> bool:
    return any(processes.find(server.pid, server.create_time) for server in record.servers)


def _change(record: Record, executor: Executor, wish: Wish) -> str | None:
    """What is asked for that a running stack cannot take on without a restart."""
    if record.executor != executor:
        return f"its jobs ran by {record.executor}, now by {executor}"
    emulator = record.server("emulator")
    if wish.port is not None and emulator is not None and emulator.port != wish.port:
        return f"its emulator was on port {emulator.port}, now on {wish.port}"
    return None


def _all_healthy(record: Record) -> bool:
    return all(
        (server := record.server(name)) is not None
        and health.look(server, record.nonce, patient=True).state == "healthy"
        for name in NAMES
    )


def _end(folder: Folder, record: Record, say: Say) -> None:
    """End the servers, front first, then the jobs' containers and their network."""
    order = ("mlflow", "emulator", "storage")
    recorded = [server for name in order if (server := record.server(name)) is not None]
    alive = [processes.find(server.pid, server.create_time) for server in recorded]
    processes.end([process for process in alive if process is not None])
    if record.network is not None:
        engine = docker_engine.find()
        if isinstance(engine, str):
            say(f"{engine}: the network {record.network} is left to it")
        else:
            engine.remove_network(record.network, say)
    folder.forget()


def _prepare(folder: Folder) -> None:
    """Make the folder; raises MachineError where it cannot be written or the disk is nearly full."""
    hint = "HEADWAY_STATE names another folder"
    try:
        folder.root.mkdir(parents=True, exist_ok=True)
        for child in (folder.storage, folder.emulator, folder.mlflow, folder.log("x").parent):
            child.mkdir(exist_ok=True)
        probe = folder.root / ".writable"
        probe.write_bytes(b"")
        probe.unlink()
    except OSError as error:
        raise MachineError(
            f"the stack's folder {folder.root} cannot be written: {error.strerror}", hint=hint
        ) from error
    free = shutil.disk_usage(folder.root).free
    if free < _FREE_BYTES:
        raise MachineError(
            f"the disk is nearly full: {free // 2**20} MB free in {folder.root}, the stack needs "
            f"{_FREE_BYTES // 2**20} MB",
            hint=f"free some space; launch local reset deletes the stack's own data; {hint}",
        )
