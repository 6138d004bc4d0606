"""The command `headway-emulator`: read flags, open the state, serve until a signal, leave in order."""

from __future__ import annotations

import argparse
import secrets
import signal
import socket
import sqlite3
import sys
from collections.abc import Sequence
from pathlib import Path

from headway_emulator import serving
from headway_emulator.settings import Settings


def main(arguments: Sequence[str] | None = None) -> None:
    """Exit code 0 after a signal, 2 for a bad flag, 3 where a port, a folder or an engine is missing."""
    flags = _parser().parse_args(arguments)
    hosts = flags.host or ["127.0.0.1"]
    try:
        sockets = serving.listen(hosts, flags.port)
    except OSError as error:
        sys.exit(_failed(f"{error.strerror or error}. Choose another --port, or 0 for a free one."))
    port = int(sockets[0].getsockname()[1])
    settings = Settings(
        project=flags.project,
        project_number=flags.project_number,
        state=Path(flags.state).resolve(),
        executor=flags.executor,
        storage_url=flags.storage_url,
        public_url=(flags.public_url or f"http://{hosts[-1]}:{port}").rstrip("/"),
        network=flags.network,
        nonce=flags.nonce or secrets.token_hex(8),
        grace_seconds=flags.grace,
        clock=flags.clock,
    )
    _run(settings, sockets, Path(flags.port_file) if flags.port_file else None)


def _run(settings: Settings, sockets: list[socket.socket], port_file: Path | None) -> None:
    from headway_emulator import app
    from headway_emulator.assembly import Unusable, close, open_world

    try:
        world = open_world(settings)
    except Unusable as error:
        sys.exit(_failed(str(error)))
    except (OSError, sqlite3.Error) as error:
        sys.exit(_failed(f"The state folder {settings.state} cannot be used: {error}."))
    signal.signal(signal.SIGHUP, signal.SIG_IGN)

    def started() -> None:
        print(f"headway-emulator: {settings.public_url} (project {settings.project})", flush=True)  # noqa: T201
        if port_file is not None:
            serving.write_port(port_file, int(sockets[0].getsockname()[1]))

    try:
        serving.serve(app.build(world), sockets, started)
    finally:
        close(world)


def _failed(message: str) -> int:
    sys.stderr.write(f"headway-emulator: {message}\n")
    return 3


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="headway-emulator",
        description="A fake Google Cloud for training jobs: what it runs, it runs for real.",
    )
    add = parser.add_argument
    add("--host", action="append", help="address to listen on; repeatable, all share one port (127.0.0.1)")
    add("--port", type=int, default=0, help="0 picks a free one")
    add("--port-file", help="where to write the port once requests are answered")
    add("--state", required=True, help="folder of the SQLite file and of jobs' and builds' files")
    add("--executor", choices=["docker", "process"], default="docker", help="what runs jobs")
    add("--storage-url", required=True, help="the fake-gcs-server behind the storage front")
    add("--project", default="headway-local", help="the one project that is emulated")
    add("--project-number", default="123456789012")
    add("--public-url", help="address for clients and containers alike (http://LAST_HOST:PORT)")
    add("--network", default="", help="Docker network of the jobs; empty for the engine's default bridge")
    add("--nonce", default="", help="shown by GET /, so that a start-up knows its own child")
    add("--clock", choices=["real", "virtual"], default="real", help="virtual stands still until stepped")
    add(
        "--grace",
        type=float,
        default=30.0,
        help="seconds from SIGTERM to SIGKILL when a job is cancelled (30)",
    )
    return parser


if __name__ == "__main__":
    main()
