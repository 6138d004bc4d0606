"""Submit: look up what is there, make what is missing, claim the run, create its job."""

from __future__ import annotations

import json
import tempfile
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from itertools import count
from pathlib import Path

from headway.cloud import vertex
from headway.cloud.services import Services
from headway.cloud.storage import ObjectStore
from headway.errors import (
    DataNotReady,
    DeadlinePassed,
    InputError,
    NotFound,
    Refused,
    RemoteError,
    interruptible,
)
from headway.jobs import planning
from headway.jobs.images import build_image
from headway.jobs.planning import Found, Prepared
from headway.jobs.progress import Progress, Silent
from headway.jobs.run import Run, attach
from headway.spec.place import Place
from headway.spec.plan import Plan

CLAIM_LAPSES_S = 150.0
"""A claim whose job has not come by then was left by a submit that died: to create one takes 60 s to connect
and 60 s to be answered at most."""


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
        prepared = planning.prepare(config, overrides=overrides, flags=flags, place=place)
        services = services or Services(place)
        found = planning.look_up(prepared, services)
        if found.claimed and not again and (run := _running(prepared.plan, services, progress)):
            return run
        _require_data(prepared, found)
        _provide_image(prepared, found, services, progress)
        _provide_bundle(prepared, found, services.store, progress)
        # Google's client takes a second to load: now, so that no Ctrl-C then leaves a claim without a job
        services.jobs(prepared.plan.regions[0])
    claimed = _claim(prepared, services, again, progress)
    return claimed if isinstance(claimed, Run) else _create(claimed, services, progress)


def _create(plan: Plan, services: Services, progress: Progress) -> Run:
    """Create the job of a claim that is ours. Where Vertex AI refuses it, the claim is given up again."""
    words = services.place.words
    region = plan.regions[0]
    with interruptible(
        f"stopped while the job of {plan.run_id} was being created: it may have been",
        f"look with: launch status{words} {plan.run_id}; stop it with: launch cancel{words} {plan.run_id}",
    ):
        try:
            job = services.jobs(region).create(vertex.render(plan))
        except Refused:
            with suppress(RemoteError):  # then it lapses by itself
                services.store.delete(plan.layout.plan(plan.run_id))
            raise
    progress.step("job", f"created {plan.run_id} in {region}: {job.name}")
    return Run(plan, services, job=job)


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


def _claim(prepared: Prepared, services: Services, again: bool, progress: Progress) -> Plan | Run:
    """Write plan.json where no plan is: the plan to create a job of, or the run where another has one.

    A claim with no job is waited for: its submit creates one, or died, and then the claim becomes ours.
    """
    plan, deadline = prepared.plan, time.monotonic() + CLAIM_LAPSES_S + 30
    with interruptible(
        f"stopped while {plan.run_id} was being claimed: no job of it was created here",
        f"look with: launch status{services.place.words} {plan.run_id}",
    ):
        if again:
            return _claim_next(prepared, services.store)
        for look in count(1):
            if _write(plan, services.store):
                return plan
            if run := _running(plan, services, progress):
                return run
            if _take_over(plan, services.store):
                return plan
            if time.monotonic() > deadline:
                break
            if look == 1:
                progress.step("job", f"{plan.run_id} is being created by another submit, waiting")
            time.sleep(2)
    raise DeadlinePassed(
        f"another submit claimed {plan.run_id}, but no job came",
        hint="submit again, or with --again for a run of its own",
    )


def _claim_next(prepared: Prepared, store: ObjectStore) -> Plan:
    """The first number of this content that is free."""
    plans = (prepared.plan if number == 1 else prepared.again(number).plan for number in count(1))
    return next(plan for plan in plans if _write(plan, store))


def _write(plan: Plan, store: ObjectStore) -> bool:
    name, document = plan.layout.plan(plan.run_id), plan.model_dump_json(indent=1).encode()
    return store.write(name, document, only_if_absent=True, content_type="application/json")


def _running(plan: Plan, services: Services, progress: Progress) -> Run | None:
    """The run of a claim that is there already; None where it has no job (yet), or is gone again.

    Its job is looked for where its own plan sent it: the profile may name another region today.
    """
    try:
        run = attach(plan.run_id, services.place, services=services)
        if run.plan.claim != plan.claim:  # an id holds 8 of its 64 characters
            raise InputError(
                f"a run of other content has the id {plan.run_id} by chance",
                hint="submit with --again, which gives this one a number",
            )
        state = run.state
    except NotFound:
        return None
    progress.step("job", f"{plan.run_id} was submitted before: {state} (--again for another)")
    return run


def _take_over(plan: Plan, store: ObjectStore) -> bool:
    """Make the claim ours where its submit must have died; of several that try, one does."""
    name, document = plan.layout.plan(plan.run_id), plan.model_dump_json(indent=1).encode()
    try:
        generation, age_s = store.generation(name)
    except NotFound:
        return False  # given up meanwhile: the next look claims it
    return age_s > CLAIM_LAPSES_S and store.replace(name, document, generation=generation)
