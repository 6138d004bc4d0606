"""`launch schedule`: jobs that start again by themselves, what their ticks did, and what they would do."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated, Any

import typer

from headway_launcher import options
from headway_launcher.place import Where, config_and_overrides
from headway_launcher.render import Screen, screen

if TYPE_CHECKING:
    from headway.jobs.schedules import ScheduleView
    from headway.jobs.simulation import Timeline
    from headway.spec.scheduled import Tick

Name = Annotated[
    str, typer.Argument(metavar="NAME", help="The schedule's name: its job's.", show_default=False)
]
Cron = Annotated[
    str | None, typer.Option("--cron", metavar="CRON", help='Minute, hour, day, month, weekday: "0 3 * * 1".')
]
Zone = Annotated[
    str | None, typer.Option("--tz", metavar="ZONE", help="Whose clock is meant: Europe/Zurich.")
]
Data = Annotated[
    str | None, typer.Option("--data", metavar="POLICY", help="latest (when the tick comes) or pinned.")
]
Overlap = Annotated[
    str | None,
    typer.Option(
        "--overlap", metavar="POLICY", help="While the run before still runs: skip, queue, replace."
    ),
]
Always = Annotated[
    bool | None, typer.Option("--always/--no-always", help="Run though nothing changed.", show_default=False)
]
MaxAge = Annotated[
    str | None, typer.Option("--max-age", metavar="TIME", help="Run where the last success is older: 30d.")
]


def create(
    words: options.Words = None,
    profile: options.Profile = None,
    local: options.Local = False,
    cron: Cron = None,
    tz: Zone = None,
    data: Data = None,
    overlap: Overlap = None,
    always: Always = None,
    max_age: MaxAge = None,
    gpu: options.Gpu = None,
    spot: options.Spot = None,
    nodes: options.Nodes = None,
    machine: options.Machine = None,
    region: options.Region = None,
    timeout: options.Timeout = None,
    budget: options.Budget = None,
    as_json: options.Json = False,
) -> None:
    """Make a schedule, or put this one in the place of the one of that name."""
    from headway.jobs import schedules

    config, overrides = config_and_overrides(words)
    given = options.flags(
        gpu=gpu, spot=spot, nodes=nodes, machine=machine, region=region, timeout=timeout, budget=budget
    )
    given |= _section(cron, tz, data, overlap, always, max_age)
    where, out = Where(profile, local), screen(as_json=as_json)
    with out.progress("making the schedule"):
        schedules.check(config, overrides, given)
        view = schedules.create(
            config, overrides=overrides, flags=given, place=where.find(config), progress=out
        )
    _show(view, out)
    if not as_json:
        out.say(f"run it now: launch schedule run{where.words} {view.name}")


def _section(
    cron: str | None,
    tz: str | None,
    data: str | None,
    overlap: str | None,
    always: bool | None,
    max_age: str | None,
) -> dict[str, object]:
    given: dict[str, object] = {
        "schedule.cron": cron,
        "schedule.tz": tz,
        "schedule.data": data,
        "schedule.overlap": overlap,
        "schedule.always": always,
        "schedule.max_age": max_age,
    }
    return {key: value for key, value in given.items() if value is not None}


def list_schedules(
    profile: options.Profile = None, local: options.Local = False, as_json: options.Json = False
) -> None:
    """List the schedules of the place."""
    from headway.jobs import schedules

    views = schedules.schedules(Where(profile, local).find())
    out = screen(as_json=as_json)
    if as_json:
        out.document([view.document() for view in views])
    elif not views:
        out.say("no schedules yet")
    else:
        rows = [
            (
                view.name,
                view.state,
                _clock(view),
                _due(view),
                view.last.state if view.last else "never",
                _last(view),
            )
            for view in views
        ]
        out.table(("schedule", "state", "when", "next", "last tick", "why"), rows)


def show(
    name: Name, profile: options.Profile = None, local: options.Local = False, as_json: options.Json = False
) -> None:
    """Print what a schedule is, and when it comes next."""
    from headway.jobs import schedules

    _show(schedules.show(name, Where(profile, local).find()), screen(as_json=as_json))


def pause(
    name: Name, profile: options.Profile = None, local: options.Local = False, as_json: options.Json = False
) -> None:
    """Let a schedule's clock stand; what runs already goes on."""
    from headway.jobs import schedules

    _show(schedules.pause(name, Where(profile, local).find()), screen(as_json=as_json))


def resume(
    name: Name, profile: options.Profile = None, local: options.Local = False, as_json: options.Json = False
) -> None:
    """Let a schedule's clock go on; what was missed is not made up for."""
    from headway.jobs import schedules

    _show(schedules.resume(name, Where(profile, local).find()), screen(as_json=as_json))


def run(
    name: Name, profile: options.Profile = None, local: options.Local = False, as_json: options.Json = False
) -> None:
    """Do a tick now: it starts a run, or says why it does not."""
    from headway.jobs import schedules

    where, out = Where(profile, local), screen(as_json=as_json)
    with out.progress("deciding"):
        tick = schedules.run(name, where.find(), progress=out)
    if as_json:
        out.document(tick.model_dump(mode="json", exclude={"plan"}))
        return
    out.facts(_tick_facts(tick))
    if tick.run_id and tick.state == "started":
        out.say(f"follow it: launch logs -f{where.words} {tick.run_id}")


def delete(
    name: Name, profile: options.Profile = None, local: options.Local = False, as_json: options.Json = False
) -> None:
    """Take a schedule away; its runs stay."""
    from headway.jobs import schedules

    schedules.delete(name, Where(profile, local).find())
    out = screen(as_json=as_json)
    if as_json:
        out.document({"schedule": name, "deleted": True})
    else:
        out.say(f"{name} is no longer scheduled; its runs stay, and the record of its ticks")


def history(
    name: Name,
    profile: options.Profile = None,
    local: options.Local = False,
    limit: Annotated[int, typer.Option("--limit", "-n", min=1, help="How many.")] = 20,
    as_json: options.Json = False,
) -> None:
    """List what a schedule's ticks did, and why."""
    from headway.jobs import schedules

    views = schedules.history(name, Where(profile, local).find(), limit=limit)
    out = screen(as_json=as_json)
    if as_json:
        out.document([view.document() for view in views])
    elif not views:
        out.say(f"{name} has not ticked yet")
    else:
        rows = [
            (
                _date(view.tick.time),
                view.tick.source,
                view.tick.state,
                view.tick.run_id or "",
                view.run_state or "",
                "; ".join(filter(None, (view.tick.reason, view.promotion))),
            )
            for view in views
        ]
        out.table(("time", "by", "tick", "run", "run's state", "why"), rows)


def simulate(
    words: options.Words = None,
    cron: Cron = None,
    tz: Zone = None,
    data: Data = None,
    overlap: Overlap = None,
    always: Always = None,
    max_age: MaxAge = None,
    gpu: options.Gpu = None,
    days: Annotated[int, typer.Option("--days", metavar="N", help="So many days.")] = 90,
    start: Annotated[str | None, typer.Option("--from", metavar="DATE", help="The first day; now.")] = None,
    takes: Annotated[str, typer.Option("--takes", metavar="TIME", help="How long a run takes.")] = "1h",
    data_every: Annotated[
        str | None, typer.Option("--data-every", metavar="TIME", help="How often new data comes: 30d.")
    ] = None,
    data_at: Annotated[
        list[str] | None, typer.Option("--data-at", metavar="DATE", help="When new data comes; repeat it.")
    ] = None,
    outage: Annotated[
        list[str] | None,
        typer.Option("--outage", metavar="FROM..TO", help="Cloud Scheduler is down; repeat it."),
    ] = None,
    as_json: options.Json = False,
) -> None:
    """Play a schedule ahead: what would run, skip, wait and be missed, and its cost. Asks nobody."""
    from headway.jobs.ahead import ahead

    config, overrides = config_and_overrides(words)
    given = {**_section(cron, tz, data, overlap, always, max_age), **({"resources.gpu": gpu} if gpu else {})}
    timeline = ahead(
        config,
        overrides=overrides,
        flags=given,
        days=days,
        start=start,
        takes=takes,
        data_every=data_every,
        data_at=data_at or (),
        outages=outage or (),
        now=datetime.now(UTC),
    )
    out = screen(as_json=as_json)
    if as_json:
        out.document(timeline.document())
    else:
        _timeline(timeline, out)


def _timeline(timeline: Timeline, out: Screen) -> None:
    rows = [
        (
            f"{timeline.local(row.time):%a %Y-%m-%d %H:%M %Z}",
            row.what,
            str(row.run or ""),
            "" if row.usd is None else f"~${row.usd:,.2f}",
            row.detail,
        )
        for row in timeline.rows
    ]
    out.table(("time", "what", "run", "cost", "why"), rows)
    totals = timeline.totals
    cost = "not known" if totals["usd"] is None else f"~${totals['usd']:,.2f}"
    words = [f"{totals[what]} {name}" for what, name in _COUNTED.items() if totals[what]]
    out.say(f"in {timeline.assumed.days} days: {', '.join(words) or 'nothing'}; cost {cost}")
    if timeline.price_date and totals["usd"] is not None:
        out.say(
            f"~ is an estimate in USD by list prices of {timeline.price_date}, disks and network left out"
        )


_COUNTED: Mapping[str, str] = {"run": "runs", "skip": "skipped", "wait": "waited", "missed": "missed"}


def _show(view: ScheduleView, out: Screen) -> None:
    if out.as_json:
        out.document(view.document())
        return
    rows: list[tuple[str, str | None]] = [
        ("schedule", view.name),
        ("state", view.state),
        ("when", _clock(view)),
        ("next", _due(view) or None),
        ("data", f"pinned (now {_pins(view)})" if view.data == "pinned" and view.pins else view.data),
        ("overlap", view.overlap),
        ("always", "yes" if view.always else None),
        ("max age", view.max_age),
        *(("trigger", f"{kind}: {_words(section)}") for kind, section in view.triggers.items() if section),
        (
            "last tick",
            f"{_date(view.last.time)} {view.last.state}: {view.last.reason}" if view.last else "none yet",
        ),
        ("unreadable", view.unreadable),
        ("code", view.code[:12] if view.code else None),
        ("image", view.image),
        ("clock", ", ".join(view.clock_jobs) or "Cloud Scheduler has no job of it: create it again"),
        ("function", view.function),
        ("created", _date(view.created)),
    ]
    out.facts([(key, value) for key, value in rows if value is not None])


def _tick_facts(tick: Tick) -> list[tuple[str, str]]:
    rows = [
        ("tick", tick.state),
        ("why", tick.reason),
        ("run", tick.run_id or ""),
        ("job", tick.job or ""),
        ("cancelled", ", ".join(tick.replaced)),
    ]
    return [(key, value) for key, value in rows if value]


def _clock(view: ScheduleView) -> str:
    if view.cron is None:
        return "triggers only" if view.created else ""
    return f"{view.cron} {view.tz}"


def _due(view: ScheduleView) -> str:
    """On the schedule's own clock."""
    from headway.spec.cron import clock_of

    if view.next is None:
        return ""
    # the zone of a schedule that cannot be read is only Cloud Scheduler's word: this machine may not know it
    clock = UTC if view.tz is None or view.unreadable else clock_of(view.tz)
    return f"{view.next.astimezone(clock):%a %Y-%m-%d %H:%M %Z}"


def _last(view: ScheduleView) -> str:
    return view.unreadable or (view.last.reason if view.last else "")


def _pins(view: ScheduleView) -> str:
    return ", ".join(f"{path} {md5[:12]}" for path, md5 in view.pins.items())


def _words(section: Mapping[str, Any]) -> str:
    return ", ".join(f"{key} {value}" for key, value in section.items() if value is not None)


def _date(when: datetime | None) -> str:
    return when.astimezone().strftime("%Y-%m-%d %H:%M") if when else ""


COMMANDS: dict[str, Callable[..., None]] = {
    "create": create,
    "list": list_schedules,
    "show": show,
    "pause": pause,
    "resume": resume,
    "run": run,
    "history": history,
    "simulate": simulate,
    "delete": delete,
}
