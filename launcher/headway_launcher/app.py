"""The commands of `launch`, put together; none of them imports anything heavy before it runs."""

from __future__ import annotations

import sys
from importlib import import_module
from typing import TYPE_CHECKING, Annotated

import typer

from headway_launcher.default_group import DefaultGroup

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from types import ModuleType

ABOUT = "Take PyTorch Lightning code from this machine to Vertex AI, or run it here the same way."

COMMANDS = {
    "plan": "plan.plan",
    "submit": "submit.submit",
    "status": "runs.status",
    "list": "runs.list_runs",
    "logs": "follow.logs",
    "wait": "follow.wait",
    "cancel": "runs.cancel",
    "pull": "runs.pull",
    "why": "why.why",
    "doctor": "doctor.doctor",
    "gpus": "gpus.gpus",
    "version": "version.version",
}
"""Each word's module in `headway_launcher.commands`, and its function there."""

GROUPS = {
    "sweep": "Search for the best arguments; `start` may be left out.",
    "config": "The config file: its schema, and what it comes to.",
    "data": "The data that runs read.",
    "models": "Registered models, and who is champion.",
    "schedule": "Jobs that start again by themselves, only when something changed.",
    "local": "The local stack: Google Cloud's part, played on this machine.",
}
"""What each module of that name is about; its COMMANDS are the words that follow."""


def application(*, pretty: bool, only: str | None = None) -> typer.Typer:
    """The whole command line, or `only` that word of it; `pretty` help is drawn by rich, a slow import."""
    app = _group("launch", ABOUT, pretty)
    app.callback()(_root)
    for word, home in COMMANDS.items():
        if only in (None, word):
            module, _, function = home.partition(".")
            app.command(word)(getattr(_commands(module), function))
    for name, about in GROUPS.items():
        if only in (None, name):
            functions: dict[str, Callable[..., None]] = _commands(name).COMMANDS
            starts = DefaultGroup.default_command in functions
            group = _group(name, about, pretty, DefaultGroup if starts else None)
            for word, command_of_group in functions.items():
                group.command(word)(command_of_group)
            app.add_typer(group)
    return app


def _commands(module: str) -> ModuleType:
    return import_module(f"headway_launcher.commands.{module}")


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
    only = arguments[0] if arguments and arguments[0] in {*COMMANDS, *GROUPS} else None
    return typer.main.get_command(application(pretty=sys.stdout.isatty(), only=only)).main


def _root(
    version_: Annotated[bool, typer.Option("--version", help="Print the version.", is_eager=True)] = False,
) -> None:
    if version_:
        _commands("version").version(as_json=False)
        raise typer.Exit
