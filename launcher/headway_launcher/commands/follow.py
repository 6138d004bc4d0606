"""`launch logs` and `launch wait`: a run's lines, and its end."""

from __future__ import annotations

from typing import Annotated

import typer

from headway_launcher import options
from headway_launcher.place import Where
from headway_launcher.render import screen


def logs(
    run_id: options.RunId,
    follow: Annotated[bool, typer.Option("--follow", "-f", help="Go on until the run has ended.")] = False,
    profile: options.Profile = None,
    local: options.Local = False,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON document a line.")] = False,
) -> None:
    """Print a run's log."""
    import json

    from headway import jobs
    from headway.errors import interruptible

    where = Where(profile, local)
    run = jobs.attach(run_id, where.find())
    out = screen()
    several = run.plan.machine.nodes > 1
    goes_on, stop = f"stopped following {run_id}; the run goes on", f"launch cancel{where.words} {run_id}"
    with interruptible(goes_on if follow else "stopped", f"stop the run itself: {stop}"):
        for line in run.logs(follow=follow):
            if as_json:
                typer.echo(json.dumps({**vars(line), "time": line.time.isoformat()}))
            else:
                out.line(f"{line.replica}: {line.text}" if several else line.text)


def wait(
    run_id: options.RunId,
    profile: options.Profile = None,
    local: options.Local = False,
    timeout: Annotated[
        str | None, typer.Option("--timeout", metavar="TIME", help="Wait no longer than 90s, 45m, 2h.")
    ] = None,
    as_json: options.Json = False,
) -> None:
    """Wait until a run has ended; exits with 1 where it did not succeed."""
    from headway import jobs
    from headway_launcher.following import follow
    from headway_launcher.report import outcome

    where = Where(profile, local)
    seconds = _seconds(timeout)
    out = screen(as_json=as_json)
    run = jobs.attach(run_id, where.find())
    outcome(follow(run, where, out, timeout=seconds, logs=False), where, out, ended=True)


def _seconds(timeout: str | None) -> float | None:
    from headway.errors import InputError
    from headway.spec.section import parse_duration

    try:
        return parse_duration(timeout).total_seconds() if timeout is not None else None
    except ValueError as error:
        raise InputError(f"--timeout: {error}") from error
