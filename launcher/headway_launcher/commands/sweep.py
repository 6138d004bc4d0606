"""`launch sweep`, and `launch sweep plan`, `status`, `list`, `logs`, `best`, `plot` and `cancel`."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from headway_launcher import options
from headway_launcher.place import Where, config_and_overrides
from headway_launcher.render import screen

if TYPE_CHECKING:
    from headway.jobs import Sweep, TrialView

SweepId = Annotated[
    str,
    typer.Argument(
        metavar="SWEEP", help="A sweep's id.", autocompletion=options.completion.sweep_ids, show_default=False
    ),
]
SweepWords = Annotated[
    list[str] | None,
    typer.Argument(
        metavar="CONFIG|KEY=VALUE",
        help="config.yaml, then overrides; args.lr=1e-4..1e-2:log and args.width=64,128 are varied.",
        show_default=False,
    ),
]


Metric = Annotated[str | None, typer.Option("--metric", metavar="NAME:min|max", help="What judges a trial.")]
Trials = Annotated[int | None, typer.Option("--trials", metavar="N", help="How many trials.")]
Parallel = Annotated[int | None, typer.Option("--parallel", metavar="N", help="How many of them at once.")]
Algorithm = Annotated[
    str | None, typer.Option("--algorithm", metavar="NAME", help="default (Bayesian), random or grid.")
]
EarlyStopping = Annotated[
    str | None, typer.Option("--early-stopping", metavar="NAME", help="none, or median.")
]
MaxFailed = Annotated[
    int | None,
    typer.Option("--max-failed", metavar="N", help="Failed trials that end the sweep; 0: Vertex AI's own."),
]
Budget = Annotated[
    float | None, typer.Option("--budget", metavar="USD", help="Most that all trials may cost.")
]


def start(
    words: SweepWords = None,
    metric: Metric = None,
    trials: Trials = None,
    parallel: Parallel = None,
    algorithm: Algorithm = None,
    early_stopping: EarlyStopping = None,
    max_failed: MaxFailed = None,
    resume: Annotated[
        bool, typer.Option("--resume", help="Go on with this sweep where it was cancelled or failed.")
    ] = False,
    again: Annotated[
        bool, typer.Option("--again", help="A new sweep even where this very one was started before.")
    ] = False,
    profile: options.Profile = None,
    local: options.Local = False,
    gpu: options.Gpu = None,
    spot: options.Spot = None,
    nodes: options.Nodes = None,
    machine: options.Machine = None,
    region: options.Region = None,
    timeout: options.Timeout = None,
    budget: Budget = None,
    wait: Annotated[
        bool, typer.Option("--wait/--detach", help="Follow the sweep to its end, or return when it is there.")
    ] = True,
    as_json: options.Json = False,
) -> None:
    """Search for the best arguments by trials. The same sweep started twice is one."""
    from headway import jobs
    from headway_launcher.sweeping import follow, outcome

    config, overrides = config_and_overrides(words)
    given = _section(metric, trials, parallel, algorithm, early_stopping, max_failed) | options.flags(
        gpu=gpu, spot=spot, nodes=nodes, machine=machine, region=region, timeout=timeout, budget=budget
    )
    where, out = Where(profile, local), screen(as_json=as_json)
    with out.progress("starting"):
        jobs.check(config, overrides, given, sweep=True)
        sweep = jobs.start_sweep(
            config,
            overrides=overrides,
            flags=given,
            place=where.find(config),
            resume=resume,
            again=again,
            progress=out,
        )
    view = follow(sweep, where, out) if wait else sweep.view()
    outcome(view, where, out, ended=wait)


def plan(
    words: SweepWords = None,
    metric: Metric = None,
    trials: Trials = None,
    parallel: Parallel = None,
    algorithm: Algorithm = None,
    early_stopping: EarlyStopping = None,
    max_failed: MaxFailed = None,
    profile: options.Profile = None,
    local: options.Local = False,
    gpu: options.Gpu = None,
    spot: options.Spot = None,
    nodes: options.Nodes = None,
    machine: options.Machine = None,
    region: options.Region = None,
    timeout: options.Timeout = None,
    budget: Budget = None,
    as_json: options.Json = False,
) -> None:
    """Print what would be searched, on what, and what it can cost at most. Nothing is changed or started."""
    from headway.config.profile import default_state
    from headway.jobs import preview
    from headway_launcher.commands.plan import show

    config, overrides = config_and_overrides(words)
    given = _section(metric, trials, parallel, algorithm, early_stopping, max_failed) | options.flags(
        gpu=gpu, spot=spot, nodes=nodes, machine=machine, region=region, timeout=timeout, budget=budget
    )
    state = default_state()
    seen = preview(
        config, overrides=overrides, flags=given, local=local, profile=profile, state=state, sweep=True
    )
    show(seen, screen(as_json=as_json))


def _section(
    metric: str | None,
    trials: int | None,
    parallel: int | None,
    algorithm: str | None,
    early_stopping: str | None,
    max_failed: int | None,
) -> dict[str, object]:
    """The flags of a sweep that were given, as the config's dotted keys."""
    given: dict[str, object] = {
        "sweep.metric": metric,
        "sweep.trials": trials,
        "sweep.parallel": parallel,
        "sweep.algorithm": algorithm,
        "sweep.early_stopping": early_stopping,
        "sweep.max_failed": max_failed,
    }
    return {key: value for key, value in given.items() if value is not None}


def status(
    sweep_id: SweepId,
    profile: options.Profile = None,
    local: options.Local = False,
    as_json: options.Json = False,
) -> None:
    """Print how a sweep is, and its trials, the best one first."""
    from headway_launcher.sweeping import outcome

    where = Where(profile, local)
    sweep = _attached(sweep_id, where)
    view = sweep.view()
    sweep.record(view)
    outcome(view, where, screen(as_json=as_json), ended=False)


def list_sweeps(
    profile: options.Profile = None,
    local: options.Local = False,
    limit: Annotated[int, typer.Option("--limit", "-n", min=1, help="How many.")] = 20,
    as_json: options.Json = False,
) -> None:
    """List the newest sweeps."""
    from headway import jobs
    from headway_launcher.sweeping import row

    views = jobs.sweeps(Where(profile, local).find(), limit=limit, progress=screen(as_json=as_json))
    out = screen(as_json=as_json)
    if as_json:
        out.document([view.document() for view in views])
    elif not views:
        out.say("no sweeps yet")
    else:
        out.table(("sweep", "state", "created", "trials", "metric", "best", "cost"), [row(v) for v in views])
        for view in views:
            if view.unreadable:
                out.say(f"{view.sweep_id}: {view.unreadable}")


def logs(
    sweep_id: SweepId,
    trial: Annotated[
        str, typer.Argument(metavar="TRIAL", help="Its number, as in the table.", show_default=False)
    ],
    profile: options.Profile = None,
    local: options.Local = False,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON document a line.")] = False,
) -> None:
    """Print a trial's log."""
    import json

    sweep, out = _attached(sweep_id, Where(profile, local)), screen()
    several = sweep.plan.machine.nodes > 1
    for line in sweep.logs(trial):
        if as_json:
            typer.echo(json.dumps({**vars(line), "time": line.time.isoformat()}))
        else:
            out.line(f"{line.replica}: {line.text}" if several else line.text)


def best(
    sweep_id: SweepId,
    words: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="[KEY=VALUE]", help="With --submit: overrides of the full run.", show_default=False
        ),
    ] = None,
    profile: options.Profile = None,
    local: options.Local = False,
    submit: Annotated[
        bool, typer.Option("--submit", help="Train with them: a run of the sweep's own code, image and data.")
    ] = False,
    wait: Annotated[
        bool, typer.Option("--wait/--detach", help="With --submit: follow the run to its end, or return.")
    ] = True,
    as_json: options.Json = False,
) -> None:
    """Print the best trial's arguments as overrides; with --submit, train with them in full."""
    from headway import jobs
    from headway_launcher.following import follow
    from headway_launcher.report import outcome

    where, out = Where(profile, local), screen(as_json=as_json)
    sweep = _attached(sweep_id, where)
    if not submit:
        _print_best(sweep, where, as_json=as_json)
        return
    with out.progress("submitting"):
        run = jobs.submit_best(sweep, overrides=words or [], start=Path.cwd(), progress=out)
    view = follow(run, where, out) if wait else run.view()
    outcome(view, where, out, ended=wait)


def _print_best(sweep: Sweep, where: Where, *, as_json: bool) -> None:
    from headway.errors import InputError
    from headway.jobs.sweep_submission import overrides_of

    trial: TrialView | None = sweep.best
    if trial is None:
        raise InputError(
            f"no trial of {sweep.sweep_id} has ended well yet",
            hint=f"see how they are: launch sweep status{where.words} {sweep.sweep_id}",
        )
    out, found = screen(as_json=as_json), overrides_of(trial)
    if as_json:
        out.document({"overrides": found, "trial": trial.model_dump(mode="json")})
        return
    for word in found:
        out.line(word)
    out.say(f"{sweep.pin.metric} {trial.value:.6g} in {trial.run_id}")
    out.say(f"train with them: launch sweep best{where.words} --submit {sweep.sweep_id}")


def plot(
    sweep_id: SweepId,
    output: Annotated[
        Path | None,
        typer.Option("--output", "-o", metavar="FILE", help="The PNG; sweeps/SWEEP.png where left out."),
    ] = None,
    profile: options.Profile = None,
    local: options.Local = False,
) -> None:
    """Draw the metric against each varied argument, as a PNG."""
    from headway.jobs.run import own_folder

    sweep, path = _attached(sweep_id, Where(profile, local)), output
    if path is None:
        own_folder(Path("sweeps"))
        path = Path("sweeps") / f"{sweep_id}.png"
    sweep.plot(path)
    screen().line(str(path))


def cancel(
    sweep_id: SweepId,
    profile: options.Profile = None,
    local: options.Local = False,
    as_json: options.Json = False,
) -> None:
    """Stop a sweep and its trials."""
    out = screen(as_json=as_json)
    sweep = _attached(sweep_id, Where(profile, local))
    stopping = sweep.cancel(progress=out)
    if as_json:
        out.document(sweep.view().document())
    elif stopping:
        out.say(
            f"asked for the end of {sweep_id}; to go on with it later: the same launch sweep with --resume"
        )
    else:
        out.say(f"{sweep_id} had ended already: {sweep.state}")


def _attached(sweep_id: str, where: Where) -> Sweep:
    from headway import jobs

    return jobs.attach_sweep(sweep_id, where.find())


COMMANDS: dict[str, Callable[..., None]] = {
    "start": start,
    "plan": plan,
    "status": status,
    "list": list_sweeps,
    "logs": logs,
    "best": best,
    "plot": plot,
    "cancel": cancel,
}
