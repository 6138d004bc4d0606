"""Submit: look up what is there, make what is missing, claim the run, create its job."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Mapping, Sequence
from itertools import count
from pathlib import Path

from headway.cloud import vertex
from headway.cloud.services import Services
from headway.cloud.storage import ObjectStore
from headway.errors import (
    DataNotReady,
    NotFound,
    interruptible,
)
from headway.jobs import attempts, lookup
from headway.jobs.claim import Claim, same_run
from headway.jobs.images import build_image
from headway.jobs.preparing import Found, Prepared, prepare_and_ask
from headway.jobs.progress import Progress, Silent
from headway.jobs.run import Run
from headway.spec.place import Place
from headway.spec.plan import Plan


def submit(
    config: Path,
    *,
    overrides: Sequence[str] = (),
    flags: Mapping[str, object] | None = None,
    place: Place,
    again: bool = False,
    progress: Progress | None = None,
    services: Services | None = None,
) -> Run:
    """Submit the job that a config describes; returns as soon as Vertex AI has it.

    The same content submitted twice is one run: the second call returns the first one's, unless `again`.
    Raises InputError before anything is sent, BuildFailed, RemoteError, and Interrupted on Ctrl-C.
    """
    progress = progress or Silent()
    with interruptible("stopped before any job was created", "nothing goes on running"):
        services = services or Services(place)
        prepared, found = prepare_and_ask(config, overrides=overrides, flags=flags, services=services)
        if found.claimed and not again and (known := running(prepared.plan, services, progress)):
            return Run(known[0], services, job=known[1])
        provide(prepared, found, services, progress)
        # Google's client takes a second to load: now, so that no Ctrl-C then leaves a claim without a job
        services.jobs(prepared.plan.regions[0])
    return _obtain(prepared, services, again, progress)


def provide(prepared: Prepared, found: Found, services: Services, progress: Progress) -> None:
    """Make what the plan needs and the place lacks: image and bundle. Data it only asks for.

    Raises DataNotReady, BuildFailed and RemoteError.
    """
    _require_data(prepared, found)
    _provide_image(prepared, found, services, progress)
    _provide_bundle(prepared, found, services.store, progress)


def _require_data(prepared: Prepared, found: Found) -> None:
    if found.data_missing:
        names, plan = ", ".join(found.data_missing), prepared.plan
        raise DataNotReady(
            f"{names}: the version that is tracked here is not in {plan.data_remote}",
            hint=f"send it with: {prepared.push_command}",
        )


def _provide_image(prepared: Prepared, found: Found, services: Services, progress: Progress) -> None:
    name = prepared.plan.image.uri
    if found.image:
        progress.step("image", f"reuse {name.rpartition('/')[2]}")
        return
    build_image(prepared, services, progress)
    record = json.dumps(prepared.environment.parts, indent=1).encode()
    name = prepared.plan.layout.environment(prepared.plan.name)
    services.store.write(name, record, content_type="application/json")


def _provide_bundle(prepared: Prepared, found: Found, store: ObjectStore, progress: Progress) -> None:
    bundle = prepared.bundle
    said = f"{len(bundle.files)} files, {bundle.size:,} bytes"
    if found.bundle:
        progress.step("bundle", f"reuse {said}")
        return
    with (
        interruptible("stopped while the code was being sent", "nothing goes on running"),
        tempfile.TemporaryDirectory(prefix="headway-") as folder,
    ):
        path = Path(folder) / "bundle.tar"
        bundle.write(path)
        store.upload(prepared.plan.layout.bundle(bundle.digest), path, only_if_absent=True)
    progress.step("bundle", f"uploaded {said}")


def _obtain(prepared: Prepared, services: Services, again: bool, progress: Progress) -> Run:
    """The run, with its job: made here, or by another submit of the same content."""
    plan = prepared.plan
    with interruptible(
        f"stopped while {plan.run_id} was being claimed: no job of it was created here",
        f"look with: launch status{services.place.words} {plan.run_id}",
    ):
        if again:
            claim = claim_next(prepared, services.store)
            their_plan, job = attempts.create(claim, services, progress)
        else:
            their_plan, job = attempts.obtain(plan, services, progress, take=True)
        return Run(their_plan, services, job=job)


def claim_next(prepared: Prepared, store: ObjectStore) -> Claim:
    """The claim on the first number of this content that is free; of a sweep's likewise."""
    plans = (prepared.plan if number == 1 else prepared.again(number).plan for number in count(1))
    return next(claim for claim in (Claim(plan, store) for plan in plans) if claim.take())


def running(plan: Plan, services: Services, progress: Progress) -> tuple[Plan, vertex.Job] | None:
    """Plan and job of a claim that is there already; None where it has no job (yet), or goes on elsewhere."""
    try:
        theirs = same_run(plan, services)
    except NotFound:
        return None
    job = lookup.only_job(theirs, services, progress)
    if job is None or lookup.goes_on(job, theirs):
        return None
    progress.step("job", attempts.submitted_before(job, theirs))
    return theirs, lookup.granted(job, theirs, services)
