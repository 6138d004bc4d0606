"""`launch models`: registered models, their versions, and who is champion."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from typing import TYPE_CHECKING, Annotated

import typer

from headway_launcher import options
from headway_launcher.place import Where
from headway_launcher.render import Screen, screen

if TYPE_CHECKING:
    from headway.jobs.models import Moved

Name = Annotated[str, typer.Argument(metavar="NAME", help="A registered model.", show_default=False)]
Alias = Annotated[str, typer.Option("--alias", metavar="ALIAS", help="The alias that is meant.")]


def list_models(
    profile: options.Profile = None, local: options.Local = False, as_json: options.Json = False
) -> None:
    """List the registered models, and which version is champion."""
    from headway.jobs import models

    found = models.models(Where(profile, local).find())
    out = screen(as_json=as_json)
    if as_json:
        out.document([one.document() for one in found])
    elif not found:
        out.say("no models are registered yet: tracking.register of a config does it")
    else:
        rows = [(one.name, _aliases(one.aliases), one.newest or "", _date(one.updated)) for one in found]
        out.table(("model", "aliases", "newest", "changed"), rows)


def show(
    name: Name,
    limit: Annotated[int, typer.Option("--limit", "-n", min=1, help="How many versions.")] = 20,
    profile: options.Profile = None,
    local: options.Local = False,
    as_json: options.Json = False,
) -> None:
    """Show a model's versions: the run of each, and what became of it."""
    from headway.jobs import models

    found = models.model(name, Where(profile, local).find(), limit=limit)
    out = screen(as_json=as_json)
    if as_json:
        out.document(found.document())
        return
    out.facts([("model", found.name), ("aliases", _aliases(found.aliases) or "none")])
    rows = [
        (
            one.version,
            _date(one.created),
            ", ".join(one.aliases),
            one.run_id or "",
            one.replaced or "",
            "; ".join(filter(None, (one.promotion, one.rolled_back and f"rolled back {one.rolled_back}"))),
        )
        for one in found.versions
    ]
    out.table(("version", "created", "aliases", "run", "replaced", "what became of it"), rows)


def promote(
    name: Name,
    version: Annotated[str, typer.Argument(metavar="VERSION", help="Its number.", show_default=False)],
    alias: Alias = "champion",
    profile: options.Profile = None,
    local: options.Local = False,
    as_json: options.Json = False,
) -> None:
    """Make a version champion by hand, whatever its gates said."""
    from headway.jobs import models

    moved = models.promote(name, version, Where(profile, local).find(), alias=alias)
    out = screen(as_json=as_json)
    if moved.before == moved.version and not as_json:
        out.line(f"version {version} of {name} is {alias} already")
    else:
        _told(moved, out)


def rollback(
    name: Name,
    alias: Alias = "champion",
    profile: options.Profile = None,
    local: options.Local = False,
    as_json: options.Json = False,
) -> None:
    """Go back to the version that the champion replaced."""
    from headway.jobs import models

    _told(models.rollback(name, Where(profile, local).find(), alias=alias), screen(as_json=as_json))


def _told(moved: Moved, out: Screen) -> None:
    if out.as_json:
        out.document(moved.document())
        return
    before = f", in place of version {moved.before}" if moved.before else ""
    out.line(f"version {moved.version} of {moved.name} is {moved.alias} now{before}")


def _aliases(aliases: dict[str, str]) -> str:
    return ", ".join(f"{alias}: {version}" for alias, version in sorted(aliases.items()))


def _date(when: datetime | None) -> str:
    return when.astimezone().strftime("%Y-%m-%d %H:%M") if when else ""


COMMANDS: dict[str, Callable[..., None]] = {
    "list": list_models,
    "show": show,
    "promote": promote,
    "rollback": rollback,
}
