"""`launch local up|down|status|env|reset`; the one reader of HEADWAY_NO_ENGINE and HEADWAY_REQUIRE_DOCKER."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from dataclasses import asdict
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from headway_launcher import options
from headway_launcher.render import screen

if TYPE_CHECKING:
    from headway_launcher.stack.lifecycle import Wish

_LOOK = "see what runs: launch local status"


class ExecutorName(StrEnum):
    """What runs the jobs."""

    DOCKER = "docker"
    PROCESS = "process"


class SyntaxName(StrEnum):
    """For whom the variables are written."""

    SHELL = "shell"
    FISH = "fish"
    DOCKER = "docker"


def up(
    executor: Annotated[
        ExecutorName | None,
        typer.Option("--executor", help="Jobs as containers or as plain processes.", show_default=False),
    ] = None,
    port: Annotated[
        int | None, typer.Option("--port", min=1, max=65535, help="The emulator's port.", show_default=False)
    ] = None,
    as_json: options.Json = False,
) -> None:
    """Start what of the stack is not up, and wait until it is healthy."""
    from headway.errors import interruptible
    from headway_launcher.stack import lifecycle

    began = time.monotonic()
    out = screen(as_json=as_json)
    with (
        out.progress("starting the local stack"),
        interruptible("stopped: the servers that this start had begun are ended again", _LOOK),
    ):
        record = lifecycle.up(_folder(), _wish(executor, port), out.say)
    if as_json:
        out.document(record.document())
        return
    jobs = (
        f"containers on the network {record.network}" if record.network else "plain processes, no container"
    )
    out.facts(
        [
            ("emulator", record.emulator_url),
            ("MLflow", record.mlflow_url),
            ("bucket", f"gs://{record.bucket}"),
            ("jobs", jobs),
            ("up in", f"{time.monotonic() - began:.1f} s"),
        ]
    )


def down(as_json: options.Json = False) -> None:
    """End what `up` started, running jobs included. All data stays."""
    from headway.errors import interruptible
    from headway_launcher.stack import lifecycle

    out = screen(as_json=as_json)
    with out.progress("ending the local stack"), interruptible("stopped: a part of it may run", _LOOK):
        was_up = lifecycle.down(_folder(), out.say)
    if as_json:
        out.document({"was_up": was_up})
    else:
        out.say("the local stack is down; its data stays" if was_up else "the local stack was not up")


def status(as_json: options.Json = False) -> None:
    """Print how each server is; exits with 3 where the stack is not wholly up."""
    from headway.errors import ExitCode
    from headway_launcher.stack import lifecycle

    record, servers = lifecycle.status(_folder())
    out = screen(as_json=as_json)
    if as_json:
        stack = record.document() if record else None
        out.document({"stack": stack, "servers": [asdict(server) for server in servers]})
    else:
        rows = [(s.name, s.state, s.url or "", str(s.pid or ""), s.log) for s in servers]
        out.table(("server", "state", "url", "pid", "log"), rows)
        for server in servers:
            if server.reason:
                out.say(f"{server.name} {server.state}: {server.reason}")
            for line in server.last_lines:
                out.say(f"  {line}")
        if record and any(server.state != "healthy" for server in servers):
            out.say("→ launch local up starts what is not running")
    if any(server.state != "healthy" for server in servers):
        raise typer.Exit(int(ExitCode.MACHINE))


def env(
    explicit: Annotated[
        bool, typer.Option("--explicit", help="An address for each service, in place of the proxy.")
    ] = False,
    unset: Annotated[bool, typer.Option("--unset", help="As it was before in this shell.")] = False,
    syntax: Annotated[SyntaxName, typer.Option("--format", help="For which shell, or for docker run.")] = (
        SyntaxName.SHELL
    ),
    as_json: options.Json = False,
) -> None:
    """Print the variables that point gcloud and Google's clients at the stack: eval "$(launch local env)"."""
    from headway_launcher.stack import variables
    from headway_launcher.stack.record import Folder

    out = screen(as_json=as_json)
    if unset:
        back = variables.taken_back(os.environ)
        if as_json:
            out.document({"set": back.set, "unset": back.unset})
        for line in [] if as_json else variables.lines(back, syntax.value):
            out.line(line)
        return
    record = Folder(_folder()).read()
    in_container = syntax is SyntaxName.DOCKER
    found = variables.fetch(
        record, "container" if in_container else "explicit" if explicit else "transparent"
    )
    if as_json:
        out.document(asdict(found))
        return
    for line in variables.lines(found, syntax.value, record.network if record else None):
        out.line(line)


def reset(
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False,
    as_json: options.Json = False,
) -> None:
    """End the stack and delete all of its data: bucket, runs, tracking."""
    from headway.errors import interruptible
    from headway_launcher.stack import lifecycle

    folder = _folder()
    if not yes and folder.is_dir():
        typer.confirm(
            f"Delete the local bucket, all local runs and their tracking ({folder})?", abort=True, err=True
        )
    out = screen(as_json=as_json)
    with (
        out.progress("deleting the local stack's data"),
        interruptible("stopped: a part of the data is deleted", "finish it: launch local reset"),
    ):
        existed = lifecycle.reset(folder, out.say)
    if as_json:
        out.document({"deleted": str(folder) if existed else None})
    else:
        out.say(f"deleted {folder}" if existed else "there was nothing to delete")


def _wish(executor: ExecutorName | None, port: int | None) -> Wish:
    from headway_launcher.stack.lifecycle import Wish

    no_engine, required = _is_set("HEADWAY_NO_ENGINE"), _is_set("HEADWAY_REQUIRE_DOCKER")
    if executor is ExecutorName.DOCKER and no_engine:
        from headway.errors import InputError

        raise InputError(
            "--executor docker asks for the engine that HEADWAY_NO_ENGINE=1 forbids",
            hint="unset HEADWAY_NO_ENGINE, or leave --executor out",
        )
    if executor is not None:
        return Wish("docker" if executor is ExecutorName.DOCKER else "process", port=port)
    return Wish("process" if no_engine else None, require_docker=required, port=port)


def _is_set(variable: str) -> bool:
    return os.environ.get(variable, "") not in ("", "0")


def _folder() -> Path:
    from headway.config.profile import default_state

    return default_state() / "local"


COMMANDS: dict[str, Callable[..., None]] = {
    "up": up,
    "down": down,
    "status": status,
    "env": env,
    "reset": reset,
}
