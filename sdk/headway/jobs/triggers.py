"""What starts a run beside the clock: new data, a report over its threshold, a model that grew old."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime
from functools import partial

from headway.cloud import vertex
from headway.cloud.services import Services
from headway.cloud.storage import split_uri
from headway.errors import HeadwayError, InputError, RemoteError
from headway.jobs.claim import read_plan
from headway.jobs.past import last_success, runs_of
from headway.jobs.versions import brought_up_to_date, last_version
from headway.spec import layout
from headway.spec.scheduled import DataVersion, Scheduled


@dataclass(frozen=True)
class Event:
    """Something beside the clock that starts a run: when it happened, and what, in words.

    `forces`: it runs though nothing changed. `problem`: it cannot be told, and why. `unseen`: the run that
    began last is without it, whatever the clocks say.
    """

    time: datetime
    what: str
    forces: bool = False
    problem: str | None = None
    unseen: bool = False


def events(scheduled: Scheduled, now: datetime, services: Services) -> Iterator[Event]:
    """What beside the clock is due, by `now`: since the schedule's creation, and since its last run began.

    So a run that failed is not begun again every five minutes; the next new data, report or tick does that.
    A trigger that cannot be looked at keeps no other from being: its error is raised after the last event.
    """
    runs = runs_of(scheduled.plan, services)
    ours = {
        run_id: job.made
        for run_id, job in runs.items()
        if job.labels.get(layout.LABEL_SCHEDULE) == scheduled.name
    }
    last_run = max(ours, key=lambda run_id: ours[run_id], default=None)
    begun = ours[last_run] if last_run else vertex.BEGINNING
    failure: HeadwayError | None = None
    for look in (
        partial(_new_data, scheduled, now, last_run, services),
        partial(_drift, scheduled, services),
    ):
        try:
            later = [event for event in look() if event.time > scheduled.created]
            found = [event for event in later if event.unseen or event.time > begun]
        except HeadwayError as error:
            failure = failure or error
        else:
            yield from found
    age, last = scheduled.schedule.max_age, last_success(runs, services)
    if age is not None and last is not None and last.ended is not None:
        due = max(last.ended + age, scheduled.created)
        if due <= now and due > begun:
            yield Event(due, f"{last.run_id} is too old", forces=True)
    if failure is not None:
        raise failure


def _new_data(
    scheduled: Scheduled, now: datetime, last_run: str | None, services: Services
) -> Iterator[Event]:
    """`last_run` is the schedule's that began last."""
    trigger = scheduled.schedule.triggers.data
    if trigger is None:
        return
    if trigger.prefix is None:
        version = last_version(scheduled.name, services)
        if version and now - version.time >= trigger.debounce:
            unseen = last_run is not None and _is_without(last_run, version, scheduled, services)
            yield Event(version.time, "new data was pushed", unseen=unseen)
        return
    bucket, prefix = _located(trigger.prefix, services)
    newest = max(services.bucket(bucket).list(prefix), key=lambda each: each.updated, default=None)
    if newest and now - newest.updated >= trigger.debounce:
        yield Event(
            newest.updated, f"new objects below {trigger.prefix}, the last one {newest.name}", forces=True
        )


def _is_without(run_id: str, version: DataVersion, scheduled: Scheduled, services: Services) -> bool:
    """Whether a run has another version of the data, though it began later by the clock.

    What was pushed between a tick's decision and its job, or by a laptop whose clock is slow, is such.
    """
    if scheduled.schedule.data == "pinned":
        return False
    try:
        data = read_plan(run_id, services).data
    except (RemoteError, InputError):
        return False  # its plan is gone, or of another version: then the clock decides
    return brought_up_to_date(data, version) != data


def _drift(scheduled: Scheduled, services: Services) -> Iterable[Event]:
    trigger = scheduled.schedule.triggers.drift
    if trigger is None:
        return
    bucket, name = _located(trigger.report, services)
    store = services.bucket(bucket)
    report = next((each for each in store.list(name) if each.name == name), None)
    if report is None:
        return
    value = _number_at(store.read(name), trigger.key)
    if value is None:
        problem = f"the report {trigger.report} has no number at {trigger.key!r}"
        yield Event(report.updated, "", problem=problem)
    elif value > trigger.over:
        yield Event(report.updated, f"drift: {trigger.key} is {value:g}, over {trigger.over:g}")


def _number_at(document: bytes, key: str) -> float | None:
    try:
        value = json.loads(document)
        for part in key.split("."):
            value = value[int(part)] if isinstance(value, list) else value[part]
    except (ValueError, KeyError, TypeError, IndexError):
        return None
    number = isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
    return float(value) if number else None


def _located(address: str, services: Services) -> tuple[str, str]:
    if address.startswith("gs://"):
        return split_uri(address)
    return services.place.bucket, address.lstrip("/")
