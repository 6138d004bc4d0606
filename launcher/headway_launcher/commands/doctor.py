"""`launch doctor`: whether all that a submit needs is there, and what mends it."""

from __future__ import annotations

from typing import Annotated

import typer

from headway_launcher import options
from headway_launcher.place import config_and_overrides
from headway_launcher.render import screen


def doctor(
    words: options.Words = None,
    profile: options.Profile = None,
    local: Annotated[
        bool, typer.Option("--local", help="The local stack, which is asked where it is up.")
    ] = False,
    online: Annotated[bool, typer.Option("--online", help="Ask Google and the other servers too.")] = False,
    as_json: options.Json = False,
) -> None:
    """Look at all that a submit needs, and say what mends it. Nothing is changed and nothing is started."""
    from headway.config.profile import default_state
    from headway.errors import ExitCode
    from headway.jobs.doctor import examine

    config, overrides = config_and_overrides(words)
    named = bool(words) and len(words or ()) > len(overrides)
    out = screen(as_json=as_json)
    with out.progress("looking"):
        report = examine(
            config if named else None,
            overrides=overrides,
            profile=profile,
            local=local,
            online=online,
            state=default_state(),
        )
    if as_json:
        out.document(report.document())
    else:
        rows = [(row.check, row.state, row.found, row.fix or "") for row in report.rows]
        out.table(("check", "state", "what was found", "what to do"), rows)
        if report.unchecked:
            out.say(f"could not check: {', '.join(report.unchecked)}")
    if report.failed:
        raise typer.Exit(int(ExitCode.RUN_FAILED))
