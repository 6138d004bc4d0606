"""`launch why`: what differs between two runs, or what would be built or run anew, and why."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from headway_launcher import options
from headway_launcher.place import Where, config_and_overrides
from headway_launcher.render import Screen, screen

if TYPE_CHECKING:
    from headway.jobs.why import Why

Words = Annotated[
    list[str] | None,
    typer.Argument(
        metavar="RUN RUN2|CONFIG|KEY=VALUE",
        help="Two runs; or config.yaml (that of this folder where left out), then overrides.",
        show_default=False,
    ),
]


def why(
    words: Words = None,
    profile: options.Profile = None,
    local: options.Local = False,
    as_json: options.Json = False,
) -> None:
    """Tell what differs between two runs, or what would be built or run anew, and why."""
    from headway import jobs
    from headway.errors import InputError

    where, given = Where(profile, local), list(words or [])
    runs = [word for word in given if "=" not in word and not _is_config(Path(word))]
    if runs and (len(runs) != 2 or len(given) != 2):
        hint = "two runs, as in: launch why RUN RUN2; or a config, as in: launch why config.yaml"
        raise InputError(f"{' '.join(given)!r} is neither two runs nor a config", hint=hint)
    if runs:
        told = jobs.why_two(runs[0], runs[1], where.find())
    else:
        config, overrides = config_and_overrides(words)
        jobs.check(config, overrides, {})
        told = jobs.why_anew(config, overrides=overrides, place=where.find(config))
    out = screen(as_json=as_json)
    out.document(told.document()) if as_json else _show(told, out)


def _is_config(path: Path) -> bool:
    """A folder of a run's name is what `launch pull` left."""
    return path.suffix != "" or path.is_file() or (path / "config.yaml").is_file()


def _show(told: Why, out: Screen) -> None:
    out.facts([("from", told.before or "no run of this name"), ("to", told.after)])
    if told.steps:
        steps = [(step.what, step.action, step.detail, step.why) for step in told.steps]
        out.table(("step", "action", "what", "why"), steps)
    if told.differences:
        rows = [(d.what, d.name, d.before or "-", d.after or "-") for d in told.differences]
        out.table(("part", "name", "before", "after"), rows)
    elif told.before is not None:
        out.say("nothing differs")
