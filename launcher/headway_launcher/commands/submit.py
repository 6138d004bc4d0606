"""`launch submit`: send a job, and by default follow it to its end."""

from __future__ import annotations

from typing import Annotated

import typer

from headway_launcher import options
from headway_launcher.place import Where, config_and_overrides
from headway_launcher.render import screen


def submit(
    words: options.Words = None,
    profile: options.Profile = None,
    local: options.Local = False,
    gpu: options.Gpu = None,
    spot: options.Spot = None,
    nodes: options.Nodes = None,
    machine: options.Machine = None,
    region: options.Region = None,
    timeout: options.Timeout = None,
    budget: options.Budget = None,
    again: Annotated[
        bool, typer.Option("--again", help="A new run even where this very one was submitted before.")
    ] = False,
    wait: Annotated[
        bool, typer.Option("--wait/--detach", help="Follow the run to its end, or return when it is created.")
    ] = True,
    as_json: options.Json = False,
) -> None:
    """Submit a job. The same content submitted twice is one run."""
    from headway import jobs
    from headway_launcher.following import follow
    from headway_launcher.report import outcome

    config, overrides = config_and_overrides(words)
    given = options.flags(
        gpu=gpu, spot=spot, nodes=nodes, machine=machine, region=region, timeout=timeout, budget=budget
    )
    where = Where(profile, local)
    out = screen(as_json=as_json)
    with out.progress("submitting"):
        jobs.check(config, overrides, given)
        run = jobs.submit(
            config,
            overrides=overrides,
            flags=given,
            place=where.find(config),
            again=again,
            progress=out,
        )
    view = follow(run, where, out) if wait else run.view()
    outcome(view, where, out, ended=wait)
