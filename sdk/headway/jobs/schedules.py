"""Schedules from the laptop: created, looked at, paused, run, deleted; their clock is Cloud Scheduler's."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from itertools import islice
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ValidationError

from headway.cloud import functions, scheduler, vertex
from headway.cloud.asking import ask_each
from headway.cloud.functions import Function
from headway.cloud.scheduler import ClockJob
from headway.cloud.services import Services
from headway.config import Loaded
from headway.errors import ConfigError, HeadwayError, InputError, NotFound, RemoteError, Unreadable
from headway.jobs import preparing, submission, ticks
from headway.jobs.past import runs_of
from headway.jobs.progress import Progress, Silent
from headway.jobs.triggers import events
from headway.jobs.versions import last_version
from headway.source import function
from headway.spec.layout import LABEL_SCHEDULE, BucketLayout
from headway.spec.place import Place
from headway.spec.retries import Retries, retries
from headway.spec.scheduled import Scheduled, Tick
from headway.spec.status import RunStatus

WATCH_CRON = "*/5 * * * *"
"""How often triggers and age are looked at."""
_WATCH = "-watch"


class ScheduleView(BaseModel):
    """The stable JSON document of a schedule. Times are UTC; None where there is none.

    `state` is Cloud Scheduler's: enabled, paused, ...; missing where it has no job of it any more.
    `unreadable` says what of it cannot be read here: then only what Cloud Scheduler knows is told.
    """

    name: str
    state: str
    cron: str | None
    tz: str | None
    next: datetime | None
    data: str | None = None
    overlap: str | None = None
    always: bool | None = None
    max_age: str | None = None
    triggers: dict[str, Any] = {}
    created: datetime | None = None
    code: str | None = None
    image: str | None = None
    pins: dict[str, str] = {}
    clock_jobs: tuple[str, ...]
    function: str | None
    last: Tick | None
    unreadable: str | None = None

    def document(self) -> dict[str, Any]:
        return self.model_dump(mode="json", exclude={"last": {"plan"}})


class TickView(BaseModel):
    """The stable JSON document of a tick: what was decided, how its run is, what became of its model."""

    tick: Tick
    run_state: str | None
    promotion: str | None = None

    def document(self) -> dict[str, Any]:
        of_run = {"run_state": self.run_state, "promotion": self.promotion}
        return {**self.tick.model_dump(mode="json", exclude={"plan"}), **of_run}


def check(config: Path, overrides: Sequence[str] = (), flags: Mapping[str, object] | None = None) -> Loaded:
    """Read the config, which must have a schedule; before a place is found. Raises ConfigError."""
    loaded = preparing.check(config, overrides, flags)
    if loaded.spec.schedule is None:
        raise ConfigError(
            "there is no schedule in it",
            file=loaded.path,
            hint='say when: --cron "0 3 * * 1" --tz Europe/Zurich, or in it schedule: {cron: "0 3 * * 1"}',
        )
    name = loaded.spec.name
    if name.endswith(_WATCH):
        raise ConfigError(
            f"{name} cannot be scheduled: Cloud Scheduler's job {_job_id(name)} is the one that watches for "
            f"the schedule {name.removesuffix(_WATCH)}",
            file=loaded.path,
            hint=f"give it a name that does not end with {_WATCH}",
        )
    return loaded


def create(
    config: Path,
    *,
    overrides: Sequence[str] = (),
    flags: Mapping[str, object] | None = None,
    place: Place,
    progress: Progress | None = None,
    services: Services | None = None,
) -> ScheduleView:
    """Make the schedule that a config describes, or put this one in the place of the one of that name.

    Image and code are made ready now; the data's version is found when a tick comes. Raises InputError before
    anything is sent, BuildFailed, RemoteError.
    """
    progress = progress or Silent()
    section = check(config, overrides, flags).spec.schedule
    assert section is not None
    account = _account(place)
    services = services or Services(place)
    prepared, found = preparing.prepare_and_ask(config, overrides=overrides, flags=flags, services=services)
    name = prepared.plan.name
    version = last_version(name, services) if section.data == "latest" else None
    if version is not None:  # not the version here is asked for, but the one pushed last
        pushed = {pin.path for pin in version.pins}
        found = replace(found, data_missing=tuple(each for each in found.data_missing if each not in pushed))
    submission.provide(prepared, found, services, progress)
    deployed = _deployed(services, account, progress)
    for job_id in (_job_id(name), _watch_id(name)):
        _refuse_a_stranger(job_id, services)
    plan = prepared.plan.model_copy(update={"schedule": name})
    scheduled = Scheduled(created=_since(name, services), schedule=section, plan=plan)
    document = scheduled.model_dump_json(indent=1, by_alias=True).encode()
    services.store.write(plan.layout.schedule(name), document, content_type="application/json")
    _set_clock(scheduled, deployed, services, account)
    progress.step("clock", f"{section.cron} {section.tz}" if section.cron else "no clock, only triggers")
    return show(name, place, services=services)


def _since(name: str, services: Services) -> datetime:
    """When the schedule was first created: what came after that, and was not seen yet, is new data still."""
    try:
        return ticks.read_schedule(name, services).created
    except RemoteError:  # there is none, or one of another version
        return datetime.now(UTC)


def _account(place: Place) -> str:
    if place.scheduler_service_account is None:
        raise InputError(
            f"the profile {place.profile} has no scheduler_service_account: the account that ticks run as",
            hint="Terraform in infra/ makes one, and its output headway_toml has the line for headway.toml",
        )
    return place.scheduler_service_account


def _deployed(services: Services, account: str, progress: Progress) -> Function:
    """The function in this version: deployed where it is not there, or is of another."""
    place, source = services.place, function.describe()
    layout = BucketLayout(place.bucket)
    archive = layout.function(source.digest)
    body = functions.render(
        function_id=function_id(place),
        description="Decides what the ticks of Headway's schedules do (launch schedule)",
        bucket=place.bucket,
        source=archive,
        digest="",
        account=account,
        build_account=place.build_service_account,
        project=place.project,
        images=f"projects/{place.project}/locations/{place.region}/repositories/{place.repository}",
        environment={"HEADWAY_PLACE": place.model_dump_json()},
    )
    digest = hashlib.sha256(repr(body).encode()).hexdigest()
    body["labels"] = {functions.LABEL: digest[:40]}
    with suppress(NotFound):
        there = services.functions.get(function_id(place))
        if there.state == "active" and there.labels.get(functions.LABEL) == digest[:40]:
            progress.step("function", f"reuse {there.function_id}")
            return there
    packed = source.archive()
    services.store.write(archive, packed, only_if_absent=True, content_type="application/zip")
    progress.step(
        "function", f"deploy {function_id(place)} ({len(packed):,} bytes); this takes minutes on Google Cloud"
    )
    return services.functions.deploy(body)


def function_id(place: Place) -> str:
    """One function for each bucket: two profiles of a project do not meet."""
    return f"headway-tick-{hashlib.sha256(place.bucket.encode()).hexdigest()[:8]}"


def _refuse_a_stranger(job_id: str, services: Services) -> None:
    """Two buckets of a project may have schedules of one name, Cloud Scheduler has one job of that name."""
    with suppress(NotFound):
        there = services.clock_jobs.get(job_id)
        if function_id(services.place) not in there.uri:  # its address may have changed, its name not
            raise InputError(
                f"Cloud Scheduler has a job {job_id} that calls {there.uri}, not this bucket's function",
                hint=f"delete it (gcloud scheduler jobs delete {job_id}), or give the job another name",
            )


def _set_clock(scheduled: Scheduled, deployed: Function, services: Services, account: str) -> None:
    name, section = scheduled.name, scheduled.schedule
    wanted = {
        _job_id(name): (section.cron, section.tz, "cron", retries(section.overlap)),
        _watch_id(name): (WATCH_CRON if section.watches else None, "UTC", "watch", Retries(count=0)),
    }
    for job_id, (cron, zone, source, again) in wanted.items():
        if cron is None:
            with suppress(NotFound):
                services.clock_jobs.delete(job_id)
            continue
        body = scheduler.render(
            job_id=job_id,
            description=f"Headway: {name}, made by launch schedule create",
            cron=cron,
            zone=zone,
            uri=deployed.uri,
            body={"schedule": name, "source": source},
            account=account,
            retries=again,
        )
        services.clock_jobs.put(body)


def _job_id(name: str) -> str:
    return f"headway-{name}"


def _watch_id(name: str) -> str:
    return f"{_job_id(name)}{_WATCH}"


def schedules(place: Place, *, services: Services | None = None) -> list[ScheduleView]:
    """All schedules of the place, by name; one that cannot be read here too, and why it cannot."""
    services = services or Services(place)
    prefix, end = BucketLayout(place.bucket).schedules, "/schedule.json"
    names = [
        entry.name[len(prefix) : -len(end)]
        for entry in services.store.list(prefix)
        if entry.name.endswith(end)
    ]
    clock = {job.job_id: job for job in services.clock_jobs.list()}

    def view(name: str) -> ScheduleView | None:
        try:
            return _view(name, ticks.read_schedule(name, services), clock, services)
        except NotFound:
            return None  # deleted meanwhile
        except Unreadable as error:
            return _view(name, error, clock, services)

    return [found for found in ask_each(view, names) if found is not None]


def show(name: str, place: Place, *, services: Services | None = None) -> ScheduleView:
    """One schedule. Raises NotFound."""
    services = services or Services(place)
    scheduled = ticks.read_schedule(name, services)
    clock: dict[str, ClockJob] = {}
    for job_id in (_job_id(name), _watch_id(name)):
        with suppress(NotFound):
            clock[job_id] = services.clock_jobs.get(job_id)
    return _view(name, scheduled, clock, services)


def _view(
    name: str, scheduled: Scheduled | Unreadable, clock: Mapping[str, ClockJob], services: Services
) -> ScheduleView:
    jobs = [clock[job_id] for job_id in (_job_id(name), _watch_id(name)) if job_id in clock]
    own = next((job for job in jobs if job.job_id == _job_id(name)), None)
    last: Tick | None = None
    unreadable: Unreadable | None = None
    try:
        last = next(iter(_ticks(name, services, 1)), None)
    except Unreadable as error:
        unreadable = error
    told: dict[str, Any]
    if isinstance(scheduled, Unreadable):
        unreadable = scheduled
        told = {"cron": own and own.cron, "tz": own and own.zone}
    else:
        plan, told = scheduled.plan, scheduled.schedule.model_dump(mode="json")
        told |= {
            "created": scheduled.created,
            "code": plan.code.digest,
            "image": plan.image.uri,
            "pins": {pin.path: pin.md5 for pin in plan.data},
        }
    return ScheduleView(
        name=name,
        state=jobs[0].state if jobs else "missing",
        next=own.next if own and own.state == "enabled" else None,
        clock_jobs=tuple(job.job_id for job in jobs),
        function=jobs[0].uri if jobs else None,
        last=last,
        unreadable=unreadable.message if unreadable else None,
        **told,
    )


def pause(name: str, place: Place, *, services: Services | None = None) -> ScheduleView:
    """Let the clock stand; what runs already goes on. One that stands already stays so."""
    return _turned(name, "pause", place, services)


def resume(name: str, place: Place, *, services: Services | None = None) -> ScheduleView:
    """Let the clock go on. What was missed meanwhile is not made up for."""
    return _turned(name, "resume", place, services)


def _turned(name: str, verb: str, place: Place, services: Services | None) -> ScheduleView:
    services = services or Services(place)
    before = show(name, place, services=services)
    if not before.clock_jobs:
        raise NotFound(
            f"Cloud Scheduler has no job of the schedule {name} any more",
            hint="create it again: launch schedule create, with the same config",
        )
    for job_id in before.clock_jobs:
        wanted = "enabled" if verb == "pause" else "paused"
        if services.clock_jobs.get(job_id).state == wanted:
            (services.clock_jobs.pause if verb == "pause" else services.clock_jobs.resume)(job_id)
    return show(name, place, services=services)


def run(
    name: str, place: Place, *, progress: Progress | None = None, services: Services | None = None
) -> Tick:
    """A tick now, decided and submitted here, by the function's own code. Raises what the tick raises."""
    services = services or Services(place)
    return ticks.tick(name, "run", datetime.now(UTC), services, progress=progress)


def delete(name: str, place: Place, *, services: Services | None = None) -> None:
    """Take the schedule away; its runs, and the record of its ticks, stay. Raises NotFound."""
    services = services or Services(place)
    with suppress(Unreadable):  # of another version: it can be taken away all the same
        ticks.read_schedule(name, services)
    for job_id in (_job_id(name), _watch_id(name)):
        with suppress(NotFound):
            services.clock_jobs.delete(job_id)
    services.store.delete(BucketLayout(place.bucket).schedule(name))


def history(name: str, place: Place, *, limit: int = 20, services: Services | None = None) -> list[TickView]:
    """The schedule's ticks, newest first, each with how its run is now. Raises NotFound."""
    services = services or Services(place)
    scheduled = ticks.read_schedule(name, services)
    found = list(_ticks(name, services, limit))
    runs = runs_of(scheduled.plan, services)
    models = _promotions(scheduled, found, services)
    watched = any(each.state == "waiting" and each.source == "watch" for each in found)
    due = _due(scheduled, services) if watched else None
    views, newer = [], False
    for each in found:
        told: dict[str, Any] = {}
        if each.state == "waiting" and (why := _given_up(each, runs, due, newer_of_the_clock=newer)):
            told = {"state": "skipped", "reason": f"{each.reason}; {why}"}
        newer = newer or each.source == "cron"
        job = runs.get(each.run_id) if each.run_id else None
        promotion = models.get(each.run_id) if each.run_id else None
        tick = each.model_copy(update=told)
        views.append(TickView(tick=tick, run_state=job.state if job else None, promotion=promotion))
    return views


def _due(scheduled: Scheduled, services: Services) -> frozenset[datetime] | None:
    """The times by which the watch names the ticks that it still brings; None where it cannot be told."""
    try:
        now = datetime.now(UTC)
        return frozenset(event.time.replace(microsecond=0) for event in events(scheduled, now, services))
    except HeadwayError:
        return None


def _given_up(
    tick: Tick,
    runs: Mapping[str, vertex.Job],
    due: frozenset[datetime] | None,
    *,
    newer_of_the_clock: bool,
) -> str | None:
    """Why nobody brings a waiting tick back any more; None where it is still looked at again."""
    if tick.source == "watch":
        if due is None or tick.time in due:
            return None
        later = {
            run_id: job.created
            for run_id, job in runs.items()
            if job.labels.get(LABEL_SCHEDULE) == tick.schedule and job.created and job.created >= tick.time
        }
        first = min(later, key=lambda run_id: later[run_id], default=None)
        return f"{first} began meanwhile" if first else "what set it off is no longer new"
    if newer_of_the_clock:
        return "the next one came first"
    asked = timedelta(seconds=retries("queue").longest_s + scheduler.ATTEMPT_S)
    return "it waited for a day" if datetime.now(UTC) - tick.time > asked else None


def _promotions(scheduled: Scheduled, found: Sequence[Tick], services: Services) -> dict[str, str]:
    """Run id -> what became of its model; empty where nothing is promoted."""
    if scheduled.plan.promote is None:
        return {}
    layout = BucketLayout(services.place.bucket)

    def told(run_id: str) -> str | None:
        try:
            status = RunStatus.model_validate_json(services.store.read(layout.status(run_id)))
        except (NotFound, ValidationError):
            return None
        return f"{status.promotion.outcome}: {status.promotion.reason}" if status.promotion else None

    runs = [each.run_id for each in found if each.run_id]
    answers = zip(runs, ask_each(told, runs), strict=True)
    return {run_id: text for run_id, text in answers if text is not None}


def _ticks(name: str, services: Services, limit: int) -> list[Tick]:
    """The newest ticks; their names sort by time."""
    prefix = BucketLayout(services.place.bucket).ticks(name)
    names = sorted((entry.name for entry in services.store.list(prefix)), reverse=True)
    return ask_each(lambda each: ticks.read_tick(each, services.store), list(islice(names, limit)))
