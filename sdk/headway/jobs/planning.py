"""From a config to a plan, and what a submit of it would do. Nothing here changes anything."""

from __future__ import annotations

import json
import os
import shlex
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

from headway.cloud.asking import ask
from headway.cloud.services import Services
from headway.cloud.storage import ObjectStore
from headway.config import Loaded, check_files, load
from headway.config.profile import look_for_place
from headway.data import transfer
from headway.data.pins import read_pins
from headway.errors import DataNotReady, NotFound
from headway.jobs import outlook
from headway.source.bundle import Bundle, pack
from headway.source.environment import EnvironmentSource, describe
from headway.spec.place import UNSTARTED, Place
from headway.spec.plan import CodePin, DataPin, ImagePin, Plan, image_uri, make_plan, make_sweep_plan
from headway.spec.sweep import pinned
from headway.spec.unfit import Unfit

Action = Literal["build", "upload", "reuse", "create", "attach", "missing", "unknown"]


@dataclass(frozen=True)
class Prepared:
    """A job made ready on the laptop: its plan, and the sources that the plan's digests name."""

    loaded: Loaded
    place: Place
    bundle: Bundle
    environment: EnvironmentSource
    plan: Plan

    def again(self, number: int) -> Prepared:
        """The same content as another run: the `number`th."""
        pins = self.plan
        made = make_sweep_plan if pins.sweep else make_plan
        plan = made(
            self.loaded.spec,
            self.place,
            code=pins.code,
            image=pins.image,
            data=pins.data,
            again=number,
            facts=self.loaded.facts,
        )
        return replace(self, plan=plan)

    @property
    def push_command(self) -> str:
        """What sends this job's data, as it is to be typed."""
        return f"launch data push{self.place.words} {shlex.quote(str(self.loaded.path))}"


@dataclass(frozen=True)
class Found:
    """What the place already holds of a plan."""

    image: bool
    bundle: bool
    data_missing: tuple[str, ...]
    claimed: bool


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

    def document(self) -> dict[str, Any]:
        """The stable JSON document of `launch plan --json`."""
        return {
            "run_id": self.plan.run_id,
            "steps": [vars(step) for step in self.steps],
            "price": outlook.price(self.plan),
            "cap": outlook.cap(self.plan),
            "labels": self.plan.labels,
            "writes": outlook.writes(self.plan),
            "warnings": outlook.warnings(self.plan),
            "plan": self.plan.model_dump(mode="json"),
        }

    def __str__(self) -> str:
        lines = [f"{'sweep' if self.plan.sweep else 'run'} {self.plan.run_id}"]
        lines += [f"  {step.what:<7} {step.action:<8} {step.detail}: {step.why}" for step in self.steps]
        lines += ["  " + " ".join(("attempt", *attempt)) for attempt in outlook.attempts(self.plan)]
        lines += [f"  {name:<11} {text}" for name, text in outlook.rows(self.plan)]
        return "\n".join(lines)


def check(
    config: Path,
    overrides: Sequence[str] = (),
    flags: Mapping[str, object] | None = None,
    *,
    sweep: bool = False,
) -> Loaded:
    """Read the config and look for the files that it names: all that can be wrong wherever it runs.

    To be called before a place is found, which may mean that a stack is started. Raises ConfigError.
    """
    loaded = load(config, overrides, flags or {}, sweep=sweep)
    check_files(loaded)
    if sweep:
        with _located(loaded):
            pinned(loaded.spec.sweep, "")
    return loaded


@contextmanager
def _located(loaded: Loaded) -> Iterator[None]:
    """What cannot be had is told with the place in the config that asks for it."""
    try:
        yield
    except Unfit as error:
        raise loaded.error(error.key, error.message, hint=error.hint) from error


def prepare(
    config: Path,
    *,
    overrides: Sequence[str] = (),
    flags: Mapping[str, object] | None = None,
    place: Place,
    sweep: bool = False,
) -> Prepared:
    """Read the config, pack the code, digest the environment and pin the data. Raises InputError."""
    loaded = check(config, overrides, flags, sweep=sweep)
    spec = loaded.spec
    pins = read_pins(loaded.root, spec.data) + _holdout(loaded)
    bundle = pack(loaded.root, exclude=[*spec.tracked, *_wheels(loaded)])
    if ":" not in spec.entrypoint and spec.entrypoint not in bundle:
        raise loaded.error(
            "entrypoint",
            f"{spec.entrypoint} would not be in the code that is sent: it is ignored",
            hint="take it out of .gitignore or .headwayignore",
        )
    environment = describe(spec.environment, loaded.root)
    code = CodePin(digest=bundle.digest, files=len(bundle.files), size=bundle.size)
    uri = image_uri(place, environment.digest)
    image = ImagePin(digest=environment.digest, base=spec.environment.base, uri=uri)
    made = make_sweep_plan if sweep else make_plan
    with _located(loaded):
        plan = made(spec, place, code=code, image=image, data=pins, facts=loaded.facts)
    return Prepared(loaded, place, bundle, environment, plan)


def _holdout(loaded: Loaded) -> tuple[DataPin, ...]:
    """The pin of what models are compared on, unless it is among the data."""
    extra = loaded.spec.tracked[len(loaded.spec.data) :]
    try:
        return read_pins(loaded.root, extra)
    except DataNotReady as error:
        message = error.message.removeprefix("data: ")
        raise loaded.error("promote.on", message, hint=error.hint) from error


def _wheels(loaded: Loaded) -> list[str]:
    """The wheelhouse as a path in the project: it goes into the image's build, not into the code."""
    folder = loaded.spec.environment.wheelhouse
    return [os.path.relpath(loaded.root / folder, loaded.root)] if folder else []


def look_up(prepared: Prepared, services: Services) -> Found:
    """Ask the place what it already holds: four questions at once, each with its own deadline."""
    plan, store = prepared.plan, services.store

    def missing() -> tuple[str, ...]:
        return tuple(pin.path for pin in transfer.missing(plan.data, plan.data_remote, services.bucket))

    image = ask(lambda: services.image_digest(plan.image.uri))
    bundle = ask(lambda: store.exists(plan.layout.bundle(plan.code.digest)))
    data = ask(missing)
    claim = ask(lambda: store.exists(plan.name_in_bucket))
    return Found(image.result() is not None, bundle.result(), data.result(), claim.result())


def plan(
    config: Path,
    *,
    overrides: Sequence[str] = (),
    flags: Mapping[str, object] | None = None,
    place: Place,
    sweep: bool = False,
    reachable: bool = True,
    services: Services | None = None,
) -> Preview:
    """Everything that a submit, or the start of a `sweep`, would do, and why; changes nothing.

    With `reachable` false (a local stack that is not up) nothing is asked and the steps read `unknown`.
    """
    prepared = prepare(config, overrides=overrides, flags=flags, place=place, sweep=sweep)
    if not reachable:
        return Preview(prepared.plan, _steps(prepared, None, "the local stack is not up: launch local up"))
    services = services or Services(place)
    found = look_up(prepared, services)
    why = "" if found.image else _why_built(prepared, services.store)
    return Preview(prepared.plan, _steps(prepared, found, why))


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
