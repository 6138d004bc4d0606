"""`headway-emulator serve`: flags and file become settings, servers start, and leave in order at a signal."""

from __future__ import annotations

import argparse
import contextlib
import fcntl
import gc
import os
import secrets
import signal
import socket
import sqlite3
import sys
import tempfile
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal

from headway_emulator import record
from headway_emulator.commands import target

DEFAULT_PORT = 8585
LAST_PORT = 65535
LOOPBACK = "127.0.0.1"
WILDCARDS = ("0.0.0.0", "::")
DEFAULTS: dict[str, Any] = {
    "host": [],
    "port": None,
    "executor": None,
    "storage_url": "",
    "project": record.DEFAULT_PROJECT,
    "project_number": record.DEFAULT_NUMBER,
    "public_url": "",
    "network": "",
    "clock": "real",
    "grace": 30.0,
    "tunnel": "pass",
    "faults": (),
    "quotas": (),
}


class CannotStart(Exception):
    """The message says what is in the way and what to do about it."""


def add_flags(parser: argparse.ArgumentParser) -> None:
    """Flags without a default here: what the file says counts where a flag is not given."""
    add = parser.add_argument
    add("--config", type=Path, metavar="FILE", help="an emulator.toml (./emulator.toml where there is one)")
    add(
        "--host",
        action="append",
        help="address to listen on; repeatable, on one port (127.0.0.1, and the network's gateway)",
    )
    add("--port", type=int, help=f"0 picks a free one ({DEFAULT_PORT}, a free one where that is taken)")
    add("--port-file", type=Path, help="where to write the port once requests are answered")
    add("--state", help=f"folder of everything that is kept ({record.default_state()})")
    add(
        "--ephemeral",
        action="store_true",
        help="state in a new folder that is deleted at the end, jobs ended",
    )
    add("--executor", choices=["docker", "process"], help="what runs jobs (docker where an engine answers)")
    add("--storage-url", help="a fake-gcs-server to put the storage front before (one is started)")
    add("--project", help=f"the one project that is emulated ({DEFAULTS['project']})")
    add("--project-number", help=f"({DEFAULTS['project_number']})")
    add("--public-url", help="address for clients and containers alike (http://LAST_HOST:PORT)")
    add("--network", help="Docker network of the jobs, which is there (one of its own)")
    add("--clock", choices=["real", "virtual"], help="virtual stands still until stepped (real)")
    add("--grace", type=float, help="seconds from SIGTERM to SIGKILL when a job is cancelled (30)")
    add("--tunnel", choices=["pass", "refuse"], help="proxied hosts that are not Google's (pass)")
    add("--check-replies", action="store_true", help="compare replies with Google's schemas; 500 for others")
    add("--ca", type=Path, metavar="FOLDER", help="its certificate authority, to be shared (STATE/ca)")
    add("--nonce", default="", help="shown by GET /, so that a start-up knows its own child")
    add("--end-with-stdin", action="store_true", help="end when standard input is closed, as its parent ends")


def run(flags: argparse.Namespace) -> int:
    from headway_emulator.configuration import BadConfiguration
    from headway_emulator.job_network import NoEngine
    from headway_emulator.storage_server import NoStorage

    gc.disable()  # until requests are answered: what a start makes, stays
    signal.signal(signal.SIGTERM, _leave)
    if signal.getsignal(signal.SIGHUP) != signal.SIG_IGN:  # as nohup asks
        signal.signal(signal.SIGHUP, lambda *_: os.kill(os.getpid(), signal.SIGTERM))
    try:
        with contextlib.ExitStack() as stack:
            _serve(_wishes(flags), flags, stack)
    except BadConfiguration as error:
        return _failed(str(error), 2)
    except (CannotStart, NoEngine, NoStorage) as error:
        return _failed(str(error), 3)
    except KeyboardInterrupt:  # before requests were answered
        return 0
    return 0


def _leave(*_: object) -> None:
    raise KeyboardInterrupt


def _wishes(flags: argparse.Namespace) -> dict[str, Any]:
    """Defaults, then the file, then flags; each counts over the one before."""
    from headway_emulator import configuration

    file = flags.config
    if file is None and Path(configuration.NAME).is_file():
        file = Path(configuration.NAME)
        _note(f"reading ./{file}")
    said = configuration.read(file) if file else {}
    given = {name: value for name in DEFAULTS if (value := getattr(flags, name, None)) is not None}
    state = flags.state or said.get("state") or record.default_state()
    wish = {**DEFAULTS, **said, **given, "state": Path(state).expanduser()}
    if not 0 <= (wish["port"] or 0) <= LAST_PORT:
        raise configuration.BadConfiguration(
            f"{wish['port']} is no port: 1 to {LAST_PORT}, or 0 for a free one."
        )
    if wish["grace"] < 0:
        raise configuration.BadConfiguration(f"The grace is 0 seconds or more, not {wish['grace']:g}.")
    if flags.ephemeral and flags.state:
        raise configuration.BadConfiguration(
            f"--ephemeral keeps nothing in {state}: leave one of the two out."
        )
    return wish


def _serve(wish: dict[str, Any], flags: argparse.Namespace, stack: contextlib.ExitStack) -> None:
    from headway_emulator.storage_server import StorageServer

    state = _state(wish["state"], stack, ephemeral=flags.ephemeral)
    # before anything is made or ended in it: the network, for one, goes with whoever made it
    stack.enter_context(_held(state))
    storage = None
    if not wish["storage_url"]:
        storage = StorageServer(state)
        stack.callback(storage.stop)
        storage.start()  # which it does while the rest is loaded

    from headway_emulator import authority, job_network, serving
    from headway_emulator.emulation import Emulation
    from headway_emulator.settings import Settings
    from headway_emulator.transparent.by_host import ByHost
    from headway_emulator.transparent.connect import Proxy
    from headway_emulator.transparent.front import Front
    from headway_emulator.transparent.web_pages import NoWebPages

    if flags.ca is not None:
        _share(state / authority.FOLDER, flags.ca)
    executor = wish["executor"] or _executor()
    if executor == "docker" and wish["network"]:
        network = job_network.named(wish["network"])
    elif executor == "docker" and not any((wish["public_url"], wish["host"])):
        network = stack.enter_context(job_network.own(state))
    else:
        network = None
    if network is not None and not any((wish["public_url"], wish["host"])):
        wish |= {
            "network": network.name,
            "host": [LOOPBACK, network.gateway] if network.gateway else [LOOPBACK],
        }
        if not network.gateway:
            _note("the engine is not on this machine itself: jobs in containers will not find this emulator")
    hosts = wish["host"] or [LOOPBACK]
    sockets = _listen(hosts, wish["port"])
    port = int(sockets[0].getsockname()[1])
    settings = Settings(
        project=wish["project"],
        project_number=wish["project_number"],
        state=state,
        executor=executor,
        storage_url=storage.address() if storage else wish["storage_url"],
        public_url=(wish["public_url"] or f"http://{_public_host(hosts)}:{port}").rstrip("/"),
        network=wish["network"],
        nonce=flags.nonce or secrets.token_hex(8),
        grace_seconds=float(wish["grace"]),
        clock=wish["clock"],
        faults=wish["faults"],
        quotas=wish["quotas"],
        check_replies=flags.check_replies,
    )
    emulation = stack.enter_context(_opened(Emulation(settings, storage), ends_jobs=flags.ephemeral))

    def started() -> None:
        gc.freeze()
        gc.enable()
        stack.enter_context(record.kept(_record(settings)))
        _greet(settings, by_default=wish["executor"] is None)
        if flags.port_file is not None:
            serving.write_port(flags.port_file, port)
        if flags.end_with_stdin:
            threading.Thread(target=_end_with_stdin, name="stdin", daemon=True).start()

    front = Front(f"http://{_dialled(sockets[0])}")
    stack.callback(front.close)
    proxy = Proxy(authority.of(state), front, wish["tunnel"])
    reached = ByHost(NoWebPages(emulation, settings.authority), settings.authority)
    serving.serve(reached, sockets, started, proxy)


@contextlib.contextmanager
def _opened(emulation: Any, *, ends_jobs: bool) -> Iterator[Any]:
    """Closed again; OSError and errors of SQLite name the folder."""
    from headway_emulator.assembly import Unusable
    from headway_emulator.errors import ApiError

    try:
        emulation.open()
    except (ApiError, Unusable) as error:  # the former of a fault that is armed from the start
        emulation.close()
        raise CannotStart(str(error)) from error
    except (OSError, sqlite3.Error) as error:
        raise CannotStart(_unusable(emulation.settings.state, error)) from error
    try:
        yield emulation
    finally:
        emulation.close(ends_jobs=ends_jobs)


def _state(wanted: Path, stack: contextlib.ExitStack, *, ephemeral: bool) -> Path:
    """The folder, made for its owner alone where it is missing, for it holds secrets' payloads.

    CannotStart where nothing can be written there.
    """
    if ephemeral:
        return Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="headway-emulator-"))).resolve()
    try:
        wanted.mkdir(mode=0o700, parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=wanted):
            pass
    except OSError as error:
        raise CannotStart(_unusable(wanted, error)) from error
    return wanted.resolve()


@contextlib.contextmanager
def _held(state: Path) -> Iterator[None]:
    """Keeps a second emulator from the same state while the block runs. CannotStart where one is there.

    It also goes with this process, however that ends.
    """
    with (state / "lock").open("w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            text = f"Another emulator runs on the state folder {state}. Stop it, or give another --state."
            raise CannotStart(text) from error
        yield


def _share(own: Path, shared: Path) -> None:
    """The state's authority is the one in `shared`, from now on. CannotStart where it has one already."""
    try:
        shared.mkdir(mode=0o700, parents=True, exist_ok=True)
        if own.resolve() != shared.resolve():
            own.symlink_to(shared.resolve(), target_is_directory=True)
    except OSError as error:
        raise CannotStart(
            f"{own} cannot lead to {shared}: {error.strerror}. Delete it, or leave --ca out."
        ) from error


def _unusable(state: Path, error: Exception) -> str:
    reason = getattr(error, "strerror", None) or error
    return f"The state folder {state} cannot be used: {reason}. Choose another --state."


def _listen(hosts: list[str], port: int | None) -> list[socket.socket]:
    from headway_emulator import serving

    try:
        return serving.listen(hosts, DEFAULT_PORT if port is None else port)
    except OSError as error:
        reason = error.strerror or str(error)
        if port is not None:
            raise CannotStart(f"{reason}. Choose another --port, or 0 for a free one.") from error
    _note(f"{reason}: taking a free port")
    try:
        return serving.listen(hosts, 0)
    except OSError as error:
        raise CannotStart(f"{error.strerror or error}. Choose another --host.") from error


def _executor() -> Literal["docker", "process"]:
    """Docker where an engine answers, else processes."""
    if (missing := _no_engine()) == "":
        return "docker"
    _note(f"{missing}: jobs run as plain processes of this machine, NOT in containers: no image is used")
    return "process"


def _no_engine() -> str:
    """Why there is no Docker engine, or an empty string."""
    from docker import DockerClient
    from docker.errors import DockerException

    try:
        client = DockerClient.from_env(timeout=3)
        client.ping()
        client.close()
    except (DockerException, OSError) as error:  # the errors of requests are OSErrors
        return f"no Docker engine answers ({str(error).splitlines()[0][:120]})"
    return ""


def _public_host(hosts: list[str]) -> str:
    host = "127.0.0.1" if hosts[-1] in WILDCARDS else hosts[-1]
    return f"[{host}]" if ":" in host else host


def _dialled(listening: socket.socket) -> str:
    """HOST:PORT by which this machine reaches its own server."""
    host, port = listening.getsockname()[:2]
    return f"{_public_host([host])}:{port}"


def _record(settings: Any) -> record.Record:
    return record.Record(
        url=settings.public_url,
        project=settings.project,
        project_number=settings.project_number,
        executor=settings.executor,
        clock=settings.clock,
        state=str(settings.state),
        pid=os.getpid(),
        nonce=settings.nonce,
    )


def _greet(settings: Any, *, by_default: bool) -> None:
    target.say(f"headway-emulator: {settings.public_url} (project {settings.project})")
    runs = "containers" if settings.executor == "docker" else "processes of this machine"
    own = record.default_state().resolve() == settings.state
    which = "" if own else f" --state {settings.state}"
    for name, words in (
        ("state", f"{settings.state}"),
        ("jobs", f"run as {runs}{' (no engine answers)' if by_default and runs[0] == 'p' else ''}"),
        ("clock", settings.clock),
        ("clients", f'eval "$(headway-emulator env{which})"'),
        (
            "python",
            f"client_options={{'api_endpoint': '{settings.public_url}/aiplatform'}}, transport='rest'",
        ),
    ):
        target.say(f"  {name:8} {words}")
    sys.stdout.flush()


def _end_with_stdin() -> None:
    with contextlib.suppress(OSError):
        while os.read(0, 4096):
            pass
    os.kill(os.getpid(), signal.SIGTERM)


def _note(text: str) -> None:
    sys.stderr.write(f"headway-emulator: {text}\n")
    sys.stderr.flush()


def _failed(message: str, code: int) -> int:
    _note(message)
    return code
