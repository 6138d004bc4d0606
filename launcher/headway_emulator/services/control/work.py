"""What this emulator is at, below /emulator: jobs, tuning jobs and builds that are not over yet."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from itertools import islice
from typing import Any

from headway_emulator.api.rest import Call, Rule
from headway_emulator.engine.builds import site
from headway_emulator.engine.jobs import custom_jobs, outcome
from headway_emulator.engine.store import Document
from headway_emulator.engine.tuning import tuning
from headway_emulator.world import World

OVER = outcome.FINAL | site.FINAL
KINDS = (custom_jobs.KIND, tuning.KIND, site.KIND)
TIMES = {"createTime": "createTime", "startTime": "startTime", "endTime": "endTime", "finishTime": "endTime"}
"""By their names in a job or a build."""


def rules(world: World) -> list[Rule]:
    """Added to the emulator's own service."""

    def work(call: Call) -> Any:  # noqa: ARG001
        return {"work": going_on(world)}

    return [Rule("work.list", "GET", "/emulator/work", work)]


def going_on(world: World) -> list[Mapping[str, Any]]:
    """What has begun or waits, newest first of each kind: `kind`, `name`, `displayName`, `state`, times."""
    return [one for kind in KINDS for one in _all(world, kind) if one["state"] not in OVER]


def last(world: World, count: int) -> list[Mapping[str, Any]]:
    """The newest of every kind together, whatever came of them."""
    newest = [one for kind in KINDS for one in islice(_all(world, kind), count)]
    return sorted(newest, key=lambda one: str(one["createTime"]), reverse=True)[:count]


def _all(world: World, kind: str) -> Iterator[Mapping[str, Any]]:
    for _, document in world.store.scan(kind):
        yield _summary(kind, document)


def _summary(kind: str, document: Document) -> Mapping[str, Any]:
    name = document.get("displayName") or ", ".join(document.get("images", []))
    state = document.get("state") or document.get("status", "")
    times = {shown: document[time] for time, shown in TIMES.items() if time in document}
    return {"kind": kind, "name": document["name"], "displayName": name, "state": state, **times}
