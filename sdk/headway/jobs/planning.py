"""`launch plan`: everything that a submit would do, and why. Nothing here changes anything."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from headway.cloud.services import Services
from headway.cloud.storage import ObjectStore
from headway.config.profile import look_for_place
from headway.errors import NotFound
from headway.jobs import outlook
from headway.jobs.preparing import Found, Prepared, prepare, prepare_and_ask
from headway.source.stat_cache import StatCache
from headway.spec.place import UNSTARTED, Place
from headway.spec.plan import Plan

Action = Literal["build", "upload", "reuse", "create", "attach", "missing", "unknown"]


@dataclass(frozen=True)
class PreviewStep:
    """One step of a submit: `what` is image, bundle, data or job; `action` what would be done, and why."""

    what: str
    action: Action
    detail: str
    why: str


@dataclass(frozen=True)
class Preview:
    """A plan and what a submit of it would do, step by step."""

    plan: Plan
    steps: tuple[PreviewStep, ...]
    warnings: tuple[str, ...] = ()

    def document(self) -> dict[str, Any]:
        """The stable JSON document of `launch plan --json`."""
        return {
            "run_id": self.plan.run_id,
            "steps": [vars(step) for step in self.steps],
            "price": outlook.price(self.plan),
            "cap": outlook.cap(self.plan),
            "labels": self.plan.labels,
            "writes": outlook.writes(self.plan),
            "warnings": list(self.warnings),
            "plan": self.plan.model_dump(mode="json"),
        }

    def rows(self) -> list[tuple[str, str]]:
        """What is to be said of the plan beside its steps and attempts: a name and a text each."""
        return [*outlook.rows(self.plan), *(("warning", text) for text in self.warnings)]

    def __str__(self) -> str:
        lines = [f"{'sweep' if self.plan.sweep else 'run'} {self.plan.run_id}"]
        lines += [f"  {step.what:<7} {step.action:<8} {step.detail}: {step.why}" for step in self.steps]
        lines += ["  " + " ".join(("attempt", *attempt)) for attempt in outlook.attempts(self.plan)]
        lines += [f"  {name:<11} {text}" for name, text in self.rows()]
        return "\n".join(lines)


def plan(
    config: Path,
    *,
    overrides: Sequence[str] = (),
    flags: Mapping[str, object] | None = None,
    place: Place,
    sweep: bool = False,
    reachable: bool = True,
    services: Services | None = None,
    cache: StatCache | None = None,
) -> Preview:
    """Everything that a submit, or the start of a `sweep`, would do, and why; changes nothing.

    With `reachable` false (a local stack that is not up) nothing is asked and the steps read `unknown`. Code
    that a `cache` knows is not read again.
    """
    if not reachable:
        prepared = prepare(config, overrides=overrides, flags=flags, place=place, sweep=sweep, cache=cache)
        return _preview(prepared, None, "the local stack is not up: launch local up")
    services = services or Services(place)
    prepared, found = prepare_and_ask(
        config, overrides=overrides, flags=flags, services=services, sweep=sweep, cache=cache
    )
    return seen(prepared, found, services)


def seen(prepared: Prepared, found: Found, services: Services) -> Preview:
    """What a submit of it would do where that was found."""
    why = "" if found.image else _why_built(prepared, services.store)
    return _preview(prepared, found, why)


def _preview(prepared: Prepared, found: Found | None, why: str) -> Preview:
    warnings = outlook.warnings(prepared.plan, prepared.loaded.facts)
    return Preview(prepared.plan, _steps(prepared, found, why), tuple(warnings))


def preview(
    config: Path,
    *,
    overrides: Sequence[str] = (),
    flags: Mapping[str, object] | None = None,
    local: bool,
    profile: str | None,
    state: Path,
    sweep: bool = False,
) -> Preview:
    """`plan` at the place that a profile or `local` names; a local stack that is not up stays so."""
    place = look_for_place(profile=profile, local=local, start=config, state=state)
    return plan(
        config,
        overrides=overrides,
        flags=flags,
        place=place or UNSTARTED,
        sweep=sweep,
        reachable=place is not None,
        cache=StatCache(state / "code"),
    )


def _steps(prepared: Prepared, found: Found | None, why: str) -> tuple[PreviewStep, ...]:
    plan = prepared.plan
    image = plan.image.uri.rpartition("/")[2]
    code = f"{plan.code.files} files, {plan.code.size:,} bytes, sha256 {plan.code.digest[:12]}"
    machine = f"{plan.machine.nodes} x {plan.machine.type}"
    if plan.machine.accelerator:
        machine += f" with {plan.machine.accelerator_count} x {plan.machine.accelerator}"
    machine += f" in {plan.regions[0]}"
    what = "run"
    if plan.sweep is not None:
        what, machine = "sweep", f"{plan.sweep.trials} trials, {plan.sweep.parallel} at once: {machine}"
    data = [
        (pin, f"{pin.path} at {pin.md5[:12]}, {pin.files} files, {pin.size:,} bytes") for pin in plan.data
    ]
    if found is None:
        rows = [("image", image), ("bundle", code), *(("data", text) for _, text in data), ("job", machine)]
        return tuple(PreviewStep(what, "unknown", detail, why) for what, detail in rows)
    return (
        PreviewStep("image", "reuse", image, "an image of this digest exists")
        if found.image
        else PreviewStep("image", "build", image, why),
        PreviewStep("bundle", "reuse", code, "a bundle of this digest is in the bucket")
        if found.bundle
        else PreviewStep("bundle", "upload", code, "no bundle of this digest is in the bucket"),
        *(
            PreviewStep("data", "missing", text, f"not in {plan.data_remote}: run {prepared.push_command}")
            if pin.path in found.data_missing
            else PreviewStep("data", "reuse", text, f"this version is in {plan.data_remote}")
            for pin, text in data
        ),
        PreviewStep("job", "attach", machine, f"this very {what} was submitted before; --again makes another")
        if found.claimed
        else PreviewStep("job", "create", machine, f"no {what} has this content"),
    )


def _why_built(prepared: Prepared, store: ObjectStore) -> str:
    """Which part of the environment differs from the one that this name was last built with."""
    try:
        # by plain GETs, as all that a plan asks: Google's client takes longer to load than the plan
        record = b"".join(store.stream(prepared.plan.layout.environment(prepared.plan.name)))
    except NotFound:
        return "no image was built for this name yet"
    before: dict[str, str] = json.loads(record)
    parts = prepared.environment.parts
    changed = sorted(key for key in before.keys() | parts.keys() if before.get(key) != parts.get(key))
    return f"changed: {', '.join(changed)}" if changed else "the image is gone from the registry"
