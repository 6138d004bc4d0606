"""`GET /` for a person's browser: what runs, what is to go wrong, what was asked, what there is.

It only shows; whatever changes something is left to clients and commands.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from html import escape
from itertools import islice
from pathlib import Path
from string import Template
from typing import Any

from starlette.responses import HTMLResponse

from headway_emulator import record
from headway_emulator.api.catalogue import Listing
from headway_emulator.engine.clock import VirtualClock, timestamp
from headway_emulator.engine.functions.functions import KIND as FUNCTION
from headway_emulator.engine.scheduling.calls import NAMES
from headway_emulator.engine.scheduling.scheduler import KIND as SCHEDULE
from headway_emulator.once import once
from headway_emulator.services.control import work
from headway_emulator.world import World

SHOWN = 20
"""Rows of a table, newest first; JSON has them all."""
HEADERS = {
    "Content-Security-Policy": "default-src 'none'; style-src 'unsafe-inline'; frame-ancestors 'none'",
    "Cache-Control": "no-store",
}
LOOKS = {
    "good": ("SUCCE", "ACTIVE", "ENABLED", "2"),
    "bad": ("FAIL", "INTERNAL", "TIMEOUT", "EXPIRED", "4", "5", "0"),
    "busy": ("QUEUED", "PENDING", "RUNNING", "WORKING", "CANCELLING", "DEPLOYING"),
}
"""Class of a cell, and how its state or status begins."""
Cell = str | tuple[str, str]
"""Text, or text with the class of its cell."""


def response(world: World, services: Listing) -> HTMLResponse:
    """Every value is escaped: names and paths are what any client sent."""
    settings = world.settings
    said = {
        "project": settings.project,
        "version": record.version(),
        "number": settings.project_number,
        "executor": "containers" if settings.executor == "docker" else "processes of this machine",
        "clock": "virtual" if isinstance(world.clock, VirtualClock) else "real",
        "now": timestamp(world.clock.now_ns()),
        "state": str(settings.state),
        "url": settings.public_url,
    }
    tables = {
        "work": _work(work.last(world, SHOWN)),
        "functions": _section("Functions", _functions(_newest(world, FUNCTION))),
        "schedules": _section("Schedules", _schedules(_newest(world, SCHEDULE))),
        "faults": _faults(world.faults.all()[::-1][:SHOWN]),
        "fired": _fired(world.faults.fired()[::-1][:SHOWN]),
        "requests": _requests([one for _, one in world.recorder.requests(size=SHOWN)]),
        "services": _services(services),
    }
    text = _template().substitute({name: escape(value) for name, value in said.items()} | tables)
    return HTMLResponse(text, headers=HEADERS)


@once
def _template() -> Template:
    return Template(Path(__file__).with_name("page.html").read_text(encoding="utf-8"))


def _work(found: Iterable[Mapping[str, Any]]) -> str:
    rows = [
        (
            _time(one["createTime"]),
            _state(one["state"].removeprefix("JOB_STATE_")),
            one["displayName"],
            (one["name"].split("/locations/")[-1], "code"),
            (_time(one.get("endTime", "")), "time"),
        )
        for one in found
    ]
    return _table(("created", "state", "display name", "name", "ended"), rows, "None yet.")


def _newest(world: World, kind: str) -> Iterable[Mapping[str, Any]]:
    return [one for _, one in islice(world.store.scan(kind), SHOWN)]


def _functions(found: Iterable[Mapping[str, Any]]) -> str:
    rows = [
        (
            _time(one["updateTime"]),
            _state(one["state"]),
            (one["name"].split("/locations/")[-1], "code"),
            (one.get("url", ""), "code"),
        )
        for one in found
    ]
    return _table(("changed", "state", "name", "address"), rows, "")


def _schedules(found: Iterable[Mapping[str, Any]]) -> str:
    rows = [
        (
            (_time(one.get("scheduleTime", "")), "time"),
            _state(one["state"]),
            f"{one['schedule']} ({one['timeZone']})",
            (one["name"].split("/locations/")[-1], "code"),
            _last_attempt(one),
        )
        for one in found
    ]
    return _table(("next", "state", "schedule", "name", "last attempt"), rows, "")


def _last_attempt(job: Mapping[str, Any]) -> str:
    """When, and what came of it once that is known."""
    words = [_time(job.get("lastAttemptTime", ""))]
    if "status" in job:
        words.append(NAMES.get(job["status"].get("code", 0), ""))
    return " ".join(filter(None, words))


def _faults(found: Iterable[Mapping[str, Any]]) -> str:
    hidden = ("id", "kind", "times", "chances", "fired")
    rows = [
        (one["kind"], f"{one['fired']} of {one['times'] or 'any'}", _words(one, hidden), (one["id"], "code"))
        for one in found
    ]
    return _table(("kind", "fired", "where and what", "id"), rows, "None armed.")


def _fired(found: Sequence[Mapping[str, Any]]) -> str:
    rows = [(_time(one["time"]), one["kind"], _words(one["on"], ())) for one in found]
    return _table(("fired", "kind", "on"), rows, "")


def _requests(found: Iterable[Mapping[str, Any]]) -> str:
    rows = [
        (
            _time(one["time"]),
            _state(str(one["status"])),
            one["method"] or one["verb"],
            (one["path"], "code"),
            f"{one['ms']:.0f} ms",
            one["fault"],
        )
        for one in found
    ]
    return _table(("time", "status", "method", "path", "took", "fault"), rows, "None yet.")


def _services(found: Listing) -> str:
    rows = [(name, str(len(one["methods"])), one["fidelity"]) for name, one in found.items()]
    return _table(("service", "methods", "how far it goes"), rows, "")


def _section(title: str, table: str) -> str:
    """Nothing where there is nothing to show."""
    return f"<h2>{escape(title)}</h2>\n{table}" if table else ""


def _table(heads: Sequence[str], rows: Sequence[Sequence[Cell]], empty: str) -> str:
    if not rows:
        return f'<p class="quiet">{escape(empty)}</p>' if empty else ""
    head = "".join(f"<th>{escape(one)}</th>" for one in heads)
    body = "\n".join(f"<tr>{''.join(map(_cell, row))}</tr>" for row in rows)
    return f"<table>\n<tr>{head}</tr>\n{body}\n</table>"


def _cell(cell: Cell) -> str:
    if isinstance(cell, str):
        return f"<td>{escape(cell)}</td>"
    text, look = cell
    return f'<td class="{look}">{escape(text)}</td>'


def _state(text: str) -> Cell:
    return text, next((look for look, begins in LOOKS.items() if text.startswith(begins)), "")


def _time(text: str) -> str:
    """To the second; the day too, for a virtual clock may be anywhere."""
    return text[:19].replace("T", " ")


def _words(of: Mapping[str, Any], hidden: Sequence[str]) -> str:
    return " ".join(f"{name}={value}" for name, value in of.items() if name not in hidden)
