"""One tick of a schedule: decided when it comes, written down, and one run at most.

A tick is known by its name in the bucket, its run by its plan.json. Whatever is killed between two steps, and
delivered again, goes on from what was written down: the decision is never made twice.
"""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from datetime import UTC, datetime
from typing import Any
from uuid import uuid4

from pydantic import ValidationError

from headway.cloud import vertex
from headway.cloud.services import Services
from headway.cloud.storage import ObjectStore
from headway.errors import HeadwayError, InputError, NotFound, Refused, RemoteError, Unreadable
from headway.jobs import attempts
from headway.jobs.past import free_number, last_success, regions_of, runs_of
from headway.jobs.progress import Progress, Silent
from headway.jobs.provided import lost
from headway.jobs.triggers import Event, events
from headway.jobs.versions import brought_up_to_date, last_version
from headway.spec import layout
from headway.spec.decision import Active, content_of, decide
from headway.spec.layout import BucketLayout
from headway.spec.plan import Plan
from headway.spec.schedule import Overlap
from headway.spec.scheduled import FINAL, Scheduled, Source, Tick


def read_schedule(name: str, services: Services) -> Scheduled:
    """The schedule of that name. Raises NotFound where there is none."""
    place = services.place
    try:
        return Scheduled.model_validate_json(services.store.read(BucketLayout(place.bucket).schedule(name)))
    except NotFound as error:
        raise NotFound(
            f"there is no schedule {name} in gs://{place.bucket}",
            hint=f"list them with: launch schedule list{place.words}",
        ) from error
    except ValidationError as error:
        raise Unreadable(
            f"the schedule {name} cannot be read: it was written by another version of headway",
            hint="upgrade headway here, or create the schedule again",
        ) from error


def read_tick(name: str, store: ObjectStore) -> Tick:
    """The tick that an object of the bucket tells."""
    try:
        return Tick.model_validate_json(store.read(name))
    except ValidationError as error:
        raise Unreadable(
            f"the tick {store.uri(name)} cannot be read: it was written by another version of headway",
            hint="upgrade headway here",
        ) from error


def tick(
    name: str,
    source: Source,
    time: datetime,
    services: Services,
    *,
    event: Event | None = None,
    progress: Progress | None = None,
) -> Tick:
    """Do what the tick of that time comes to; what it came to already, where it was delivered before.

    `time` names the tick, to the second, and is the time by which it is decided. An error is written down
    with the tick and raised: delivered again, the tick is tried again.
    """
    scheduled = read_schedule(name, services)
    record = _Record(name, source, time.astimezone(UTC).replace(microsecond=0), services)
    known = record.open()
    if known.state in FINAL:
        return known
    try:
        if known.plan is None:
            known = record.put(_decided(scheduled, known, services, event))
        if known.state not in FINAL and known.plan is not None:
            known = record.put(_started(known, services, progress or Silent()))
    except Exception as error:
        reason = " ".join(str(error).split("\n→ "))
        told = record.put(known.model_copy(update={"state": "failed", "reason": reason}))
        if told.state == "failed":
            raise
        return told  # another delivery got further
    return known


def watch(name: str, now: datetime, services: Services, *, progress: Progress | None = None) -> list[Tick]:
    """Look for what starts a run beside the clock, and do its tick: once for each new data, report or age.

    All are done, whichever of them fails; then the first error is raised.
    """
    scheduled = read_schedule(name, services)
    done: list[Tick] = []
    failure: HeadwayError | None = None
    for event in events(scheduled, now, services):
        try:
            done.append(tick(name, "watch", event.time, services, event=event, progress=progress))
        except HeadwayError as error:
            failure = failure or error
    if failure is not None:
        raise failure
    return done


def answer(
    services: Services, body: Mapping[str, Any], schedule_time: str | None, progress: Progress | None = None
) -> tuple[dict[str, Any], int]:
    """What the Cloud Function replies to Cloud Scheduler: a document and an HTTP status.

    503 where the tick waits for the run before: Cloud Scheduler's own retries bring it back. 500: it failed.
    """
    try:
        name, source = str(body["schedule"]), body.get("source", "cron")
        time = datetime.fromisoformat(body.get("time") or schedule_time or datetime.now(UTC).isoformat())
    except (KeyError, ValueError, TypeError, AttributeError) as error:
        return {"error": f"this is no tick: {error!r}"}, 400
    time = time if time.tzinfo else time.replace(tzinfo=UTC)
    try:
        if source == "watch":
            done = watch(name, time, services, progress=progress)
        else:
            done = [tick(name, "cron", time, services, progress=progress)]
    except NotFound as error:
        return {"error": str(error)}, 404
    except HeadwayError as error:
        return {"error": str(error)}, 500
    waits = source != "watch" and any(each.state == "waiting" for each in done)
    shown = [each.model_dump(mode="json", exclude={"plan"}) for each in done]
    return {"ticks": shown}, 503 if waits else 200


class _Record:
    """A tick's document in the bucket; written over by preconditions only, so that one decision holds."""

    def __init__(self, name: str, source: Source, time: datetime, services: Services) -> None:
        self._store = services.store
        self._name = BucketLayout(services.place.bucket).tick(name, time, source)
        self._generation = 0
        self._fresh = Tick(
            schedule=name, source=source, time=time, state="deciding", reason="", updated=datetime.now(UTC)
        )

    def open(self) -> Tick:
        """The tick as it is known; made where it is not."""
        if self._write(self._fresh):
            return self._fresh
        known = self._read()
        if known.state in FINAL:
            return known
        return known.model_copy(update={"deliveries": known.deliveries + 1})

    def put(self, tick: Tick) -> Tick:
        """Write what became of it; where another delivery wrote meanwhile, what that one wrote."""
        tick = tick.model_copy(update={"updated": datetime.now(UTC)})
        return tick if self._write(tick) else self._read()

    def _write(self, tick: Tick) -> bool:
        token = {"headway-tick": uuid4().hex}
        document = tick.model_dump_json(indent=1).encode()
        self._store.replace(self._name, document, generation=self._generation, metadata=token)
        # whatever it answered: ours may have been the repeat of a write whose answer was lost
        seen = self._store.version(self._name)
        self._generation = seen.generation
        return dict(seen.metadata) == token

    def _read(self) -> Tick:
        self._generation = self._store.version(self._name).generation
        return read_tick(self._name, self._store)


def _decided(scheduled: Scheduled, known: Tick, services: Services, event: Event | None) -> Tick:
    if event and event.problem:
        raise InputError(event.problem, hint="mend the report, or the schedule's triggers.drift")
    pinned = _placed(scheduled.plan, services)
    if scheduled.schedule.data == "latest":
        data = brought_up_to_date(pinned.data, last_version(scheduled.name, services))
        plan = pinned.with_data(data)
    else:
        plan = pinned
    runs = runs_of(plan, services)
    active = [
        Active(
            run_id,
            job.labels.get(layout.LABEL_CLAIM, ""),
            job.labels.get(layout.LABEL_SCHEDULE) == known.schedule,
        )
        for run_id, job in runs.items()
        if job.state not in vertex.ENDED
    ]
    decision = decide(
        scheduled.schedule,
        content_of(plan),
        now=known.time,
        last=last_success(runs, services),
        active=active,
        forced=event.what if event and event.forces else None,
        overlap=_overlap(scheduled.schedule.overlap, known.source),
    )
    reason = decision.reason
    if event and not event.forces:
        reason = f"{event.what}; {reason}"
    told: dict[str, Any] = {"reason": reason, "equal": decision.equal, "changed": decision.changed}
    if decision.action in ("skip", "wait"):
        told["state"] = "skipped" if decision.action == "skip" else "waiting"
        return known.model_copy(update=told)
    if gone := lost(plan, services):
        raise RemoteError(
            f"{gone} that the schedule runs with is no longer there",
            hint="create the schedule again, with the same config: that makes it anew",
        )
    again = free_number(plan, services)
    chosen = plan.with_data(plan.data, again)
    replaced = tuple(run.run_id for run in active if run.ours) if decision.action == "replace" else ()
    told |= {"state": "starting", "plan": chosen, "run_id": chosen.run_id, "replaced": replaced}
    return known.model_copy(update=told)


def _placed(plan: Plan, services: Services) -> Plan:
    """The plan where it is run now: addresses may have changed since, and are no part of its content."""
    place = services.place
    tracking = plan.tracking.model_copy(update={"uri": place.tracking_uri})
    return plan.model_copy(update={"endpoints": place.endpoints, "tracking": tracking})


def _overlap(policy: Overlap, source: Source) -> Overlap:
    """What is looked at again soon may wait; what a person does now has nobody who brings it back."""
    if policy == "replace" or source == "cron":
        return policy
    return "queue" if source == "watch" else "skip"


def _started(known: Tick, services: Services, progress: Progress) -> Tick:
    """The tick with its run's job: made now, or by an earlier delivery."""
    assert known.plan is not None
    for run_id in known.replaced:
        _cancel(run_id, known.plan, services)
    plan, job = attempts.obtain(known.plan, services, progress, take=True)
    return known.model_copy(update={"state": "started", "run_id": plan.run_id, "job": job.name, "plan": None})


def _cancel(run_id: str, plan: Plan, services: Services) -> None:
    for region in regions_of(plan, services):  # its own plan may have named others than ours does
        for job in services.jobs(region).labelled(layout.LABEL_RUN, run_id):
            if job.state not in vertex.ENDED:
                with suppress(Refused):  # it ended meanwhile
                    services.jobs(region).cancel(job.name)
