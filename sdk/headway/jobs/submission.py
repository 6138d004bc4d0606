"""Submit: look up what is there, make what is missing, claim the run, create its job."""

from __future__ import annotations

import json
import tempfile
import time
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from itertools import count
from pathlib import Path

from headway.cloud import vertex
from headway.cloud.services import Services
from headway.cloud.storage import ObjectStore
from headway.errors import DataNotReady, DeadlinePassed
from headway.jobs import planning
from headway.jobs.images import build_image
from headway.jobs.planning import Found, Prepared
from headway.jobs.progress import Progress, Silent, interruptible
from headway.jobs.run import Run, find_job
from headway.spec.place import Place
from headway.spec.plan import Plan

CLAIM_LAPSES_S = 90.0
"""A claim whose job has not come by then was left by a submit that died: creating one takes 60 s at most."""


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
    with interruptible("stopped before anything was sent", "nothing goes on running"):
        prepared = planning.prepare(config, overrides=overrides, flags=flags, place=place)
        services = services or Services(place)
        found = planning.look_up(prepared, services)
    lapsed = False
    if found.claimed and not again:
        run = _attach(prepared.plan, services, progress)
        if run is not None:
            return run
        lapsed = True
    _require_data(prepared.plan, found)
    _provide_image(prepared, found, services, progress)
    _provide_bundle(prepared, found, services.store, progress)
    plan = prepared.plan if lapsed else _claim(prepared, services.store, again)
    if plan is None:
        run = _attach(prepared.plan, services, progress)
        if run is not None:
            return run
        plan = prepared.plan
    return _create(plan, services, progress)


def _create(plan: Plan, services: Services, progress: Progress) -> Run:
    """Create the job of a claim that is ours."""
    with interruptible(
        f"stopped while the job of {plan.run_id} was being created: it may have been",
        f"look with: launch status {plan.run_id}; stop it with: launch cancel {plan.run_id}",
    ):
        region = plan.regions[0]
        job = services.jobs(region).create(vertex.render(plan))
    progress.step("job", f"created {plan.run_id} in {region}: {job.name}")
    return Run(plan, services, job=job)


def _require_data(plan: Plan, found: Found) -> None:
    if found.data_missing:
        names = ", ".join(found.data_missing)
        raise DataNotReady(
            f"{names}: the version that is tracked here is not in {plan.data_remote}",
            hint="send it with: launch data push config.yaml   (with the same --local or --profile)",
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


def _claim(prepared: Prepared, store: ObjectStore, again: bool) -> Plan | None:
    """Write plan.json where no plan is: the plan that was written, or None where another submit was first."""
    for number in count(1):
        plan = prepared.plan if number == 1 else prepared.again(number).plan
        document = plan.model_dump_json(indent=1).encode()
        name = plan.layout.plan(plan.run_id)
        if store.write(name, document, only_if_absent=True, content_type="application/json"):
            return plan
        if not again:
            return None
    raise AssertionError("count() does not end")


def _attach(plan: Plan, services: Services, progress: Progress) -> Run | None:
    """The run of a claim that is there already; None where its submit died and the claim is now ours."""
    store = services.store
    deadline = time.monotonic() + CLAIM_LAPSES_S + 30
    with interruptible(
        f"stopped while waiting for another submit of {plan.run_id}",
        f"look with: launch status {plan.run_id}",
    ):
        while time.monotonic() < deadline:
            job = find_job(services, plan)
            if job is not None:
                progress.step("job", f"{plan.run_id} was submitted before: {job.state} (--again for another)")
                return Run(plan, services, job=job)
            generation, written = store.generation(plan.layout.plan(plan.run_id))
            age = (datetime.now(UTC) - written).total_seconds()
            if age > CLAIM_LAPSES_S:
                document = plan.model_dump_json(indent=1).encode()
                if store.replace(plan.layout.plan(plan.run_id), document, generation=generation):
                    return None
            progress.step("job", f"{plan.run_id} is being created by another submit, waiting")
            time.sleep(2)
    raise DeadlinePassed(
        f"another submit claimed {plan.run_id}, but no job came",
        hint="submit again, or with --again for a run of its own",
    )
