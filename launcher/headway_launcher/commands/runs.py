"""`launch status`, `list`, `cancel` and `pull`: what became of runs."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from headway_launcher import options
from headway_launcher.place import Where
from headway_launcher.render import screen


def status(
    run_id: options.RunId,
    profile: options.Profile = None,
    local: options.Local = False,
    as_json: options.Json = False,
) -> None:
    """Print how a run is."""
    from headway import jobs
    from headway_launcher.report import outcome

    where = Where(profile, local)
    view = jobs.attach(run_id, where.find()).view()
    outcome(view, where, screen(as_json=as_json), ended=False)


def list_runs(
    profile: options.Profile = None,
    local: options.Local = False,
    limit: Annotated[int, typer.Option("--limit", "-n", min=1, help="How many.")] = 20,
    as_json: options.Json = False,
) -> None:
    """List the newest runs."""
    from headway import jobs
    from headway_launcher.report import duration, spent

    views = jobs.runs(Where(profile, local).find(), limit=limit, progress=screen(as_json=as_json))
    out = screen(as_json=as_json)
    if as_json:
        out.document([view.document() for view in views])
    elif not views:
        out.say("no runs yet")
    else:
        rows = [
            (v.run_id, v.state, _date(v.created), duration(v) or "", spent(v, short=True) or "?", v.machine)
            for v in views
        ]
        out.table(("run", "state", "created", "duration", "cost", "machine"), rows)
        for view in views:
            if view.unreadable:
                out.say(f"{view.run_id}: {view.unreadable}")
        dates = sorted({v.cost.price_date for v in views if v.cost and v.cost.price_date})
        if dates:
            out.say(f"~ is an estimate in USD, by list prices of {', '.join(dates)}; ? is not known")


def cancel(
    run_id: Annotated[
        str | None,
        typer.Argument(metavar="[RUN]", help="A run's id.", autocompletion=options.completion.run_ids),
    ] = None,
    build: Annotated[
        str | None, typer.Option("--build", metavar="ID", help="An image build instead of a run.")
    ] = None,
    profile: options.Profile = None,
    local: options.Local = False,
    as_json: options.Json = False,
) -> None:
    """Stop a run, or an image build."""
    from headway import jobs
    from headway.errors import InputError

    if (run_id is None) == (build is None):
        raise InputError("say what to stop: a run's id, or --build ID", hint="list runs with: launch list")
    where = Where(profile, local)
    out = screen(as_json=as_json)
    if build is not None:
        jobs.cancel_build(build, where.find())
        out.document({"build": build, "cancelled": True}) if as_json else out.say(f"stopping build {build}")
        return
    run = jobs.attach(run_id or "", where.find())
    stopping = run.cancel(progress=out)
    if as_json:
        out.document(run.view().document())
    elif not stopping:
        out.say(f"{run_id} had ended already: {run.state}")
    elif run.state == "cancelled":
        out.say(f"{run_id} is cancelled: nothing of it runs, and no further job of it is created")
    else:
        out.say(f"{run_id}: {run.state}; it ends within its grace period: launch wait{where.words} {run_id}")


def pull(
    run_id: options.RunId,
    folder: Annotated[
        Path | None, typer.Argument(metavar="[FOLDER]", help="Where to; ./RUN where left out.")
    ] = None,
    profile: options.Profile = None,
    local: options.Local = False,
    as_json: options.Json = False,
) -> None:
    """Fetch a run's outputs, checkpoints and model into a folder."""
    from headway import jobs
    from headway.errors import interruptible

    run = jobs.attach(run_id, Where(profile, local).find())
    into = folder or Path(run_id)
    out = screen(as_json=as_json)
    with (
        out.progress(f"fetching the files of {run_id}"),
        interruptible(
            "stopped while files were being fetched", "those that are there are kept: run it again"
        ),
    ):
        paths = run.pull(into)
    if as_json:
        out.document({"run_id": run_id, "folder": str(into), "files": [str(path) for path in paths]})
        return
    for path in paths:
        out.line(str(path))
    out.say(f"{len(paths)} files in {into}")


def _date(when: object) -> str:
    return when.astimezone().strftime("%Y-%m-%d %H:%M") if hasattr(when, "astimezone") else ""
