"""The commands of `launch`, put together; none of them imports anything heavy before it runs."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Annotated

import typer

from headway_launcher.commands import (
    config,
    data,
    doctor,
    follow,
    gpus,
    local,
    models,
    plan,
    runs,
    schedule,
    submit,
    sweep,
    version,
    why,
)
from headway_launcher.default_group import DefaultGroup

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

ABOUT = "Take PyTorch Lightning code from this machine to Vertex AI, or run it here the same way."

COMMANDS: dict[str, Callable[..., None]] = {
    "plan": plan.plan,
    "submit": submit.submit,
    "status": runs.status,
    "list": runs.list_runs,
    "logs": follow.logs,
    "wait": follow.wait,
    "cancel": runs.cancel,
    "pull": runs.pull,
    "why": why.why,
    "doctor": doctor.doctor,
    "gpus": gpus.gpus,
    "version": version.version,
}

GROUPS: tuple[tuple[str, str, dict[str, Callable[..., None]]], ...] = (
    ("sweep", "Search for the best arguments; `start` may be left out.", sweep.COMMANDS),
    ("config", "The config file: its schema, and what it comes to.", config.COMMANDS),
    ("data", "The data that runs read.", data.COMMANDS),
    ("models", "Registered models, and who is champion.", models.COMMANDS),
    ("schedule", "Jobs that start again by themselves, only when something changed.", schedule.COMMANDS),
    ("local", "The local stack: Google Cloud's part, played on this machine.", local.COMMANDS),
)


def application(*, pretty: bool, only: str | None = None) -> typer.Typer:
    """The whole command line, or `only` that word of it; `pretty` help is drawn by rich, a slow import."""
    app = _group("launch", ABOUT, pretty)
    app.callback()(_root)
    for name, function in COMMANDS.items():
        if only in (None, name):
            app.command(name)(function)
    for name, about, functions in GROUPS:
        if only not in (None, name):
            continue
        group = _group(
            name, about, pretty, DefaultGroup if DefaultGroup.default_command in functions else None
        )
        for word, function in functions.items():
            group.command(word)(function)
        app.add_typer(group)
    return app


def _group(name: str, about: str, pretty: bool, kind: type[DefaultGroup] | None = None) -> typer.Typer:
    return typer.Typer(
        name=name,
        cls=kind,
        help=about,
        no_args_is_help=True,
        rich_markup_mode="rich" if pretty else None,
        pretty_exceptions_enable=False,
    )


def command(arguments: Sequence[str]) -> Callable[..., int | None]:
    """The command line of this process, as a callable: where its first word is known, with that word alone.

    Typer looks at the signatures of all commands that it is given, which takes longer than most of them.
    """
    known = {*COMMANDS, *(name for name, _, _ in GROUPS)}
    only = arguments[0] if arguments and arguments[0] in known else None
    return typer.main.get_command(application(pretty=sys.stdout.isatty(), only=only)).main


def _root(
    version_: Annotated[bool, typer.Option("--version", help="Print the version.", is_eager=True)] = False,
) -> None:
    if version_:
        version.version(as_json=False)
        raise typer.Exit
