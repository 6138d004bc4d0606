"""A job made ready on the laptop: its plan, its sources, and what its place already holds of them."""

from __future__ import annotations

import os
import shlex
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

from headway.cloud.asking import ask
from headway.cloud.services import Services
from headway.config import Loaded, check_files, load
from headway.data import remote
from headway.data.pins import read_pins
from headway.errors import DataNotReady
from headway.source.bundle import Bundle, pack
from headway.source.environment import EnvironmentSource, describe
from headway.source.stat_cache import StatCache
from headway.spec.place import Place
from headway.spec.plan import CodePin, DataPin, ImagePin, Plan, image_uri, make_plan, make_sweep_plan
from headway.spec.sweep import pinned
from headway.spec.unfit import Unfit


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
    cache: StatCache | None = None,
) -> Prepared:
    """Read the config, digest the environment, pin the data and pack the code. Raises InputError."""
    loaded = check(config, overrides, flags, sweep=sweep)
    environment = describe(loaded.spec.environment, loaded.root)
    return _packed(loaded, place, environment, _pins(loaded), sweep, cache)


def prepare_and_ask(
    config: Path,
    *,
    overrides: Sequence[str] = (),
    flags: Mapping[str, object] | None = None,
    services: Services,
    sweep: bool = False,
    cache: StatCache | None = None,
) -> tuple[Prepared, Found]:
    """The same, and what the place of the services already holds of it.

    Four questions, each asked as soon as what it is about has a name: the code is packed meanwhile, read
    again only where a `cache` does not know it. Raises InputError and RemoteError.
    """
    place, store = services.place, services.store
    loaded = check(config, overrides, flags, sweep=sweep)
    environment = describe(loaded.spec.environment, loaded.root)
    image = ask(lambda: services.image_digest(image_uri(place, environment.digest)))
    pins = _pins(loaded)
    lacking = ask(lambda: remote.missing(pins, place.dvc_remote, services.bucket))
    prepared = _packed(loaded, place, environment, pins, sweep, cache)
    plan = prepared.plan
    bundle = ask(lambda: store.exists(plan.layout.bundle(plan.code.digest)))
    claim = ask(lambda: store.exists(plan.name_in_bucket))
    return prepared, Found(
        image=image.result() is not None,
        bundle=bundle.result(),
        data_missing=tuple(pin.path for pin in lacking.result()),
        claimed=claim.result(),
    )


def _packed(
    loaded: Loaded,
    place: Place,
    environment: EnvironmentSource,
    data: tuple[DataPin, ...],
    sweep: bool,
    cache: StatCache | None,
) -> Prepared:
    spec = loaded.spec
    bundle = pack(loaded.root, exclude=[*spec.tracked, *_wheels(loaded)], cache=cache)
    if ":" not in spec.entrypoint and spec.entrypoint not in bundle:
        raise loaded.error(
            "entrypoint",
            f"{spec.entrypoint} would not be in the code that is sent: it is ignored",
            hint="take it out of .gitignore or .headwayignore",
        )
    code = CodePin(digest=bundle.digest, files=len(bundle.files), size=bundle.size)
    uri = image_uri(place, environment.digest)
    image = ImagePin(digest=environment.digest, base=spec.environment.base, uri=uri)
    made = make_sweep_plan if sweep else make_plan
    with _located(loaded):
        plan = made(spec, place, code=code, image=image, data=data, facts=loaded.facts)
    return Prepared(loaded, place, bundle, environment, plan)


def _pins(loaded: Loaded) -> tuple[DataPin, ...]:
    return read_pins(loaded.root, loaded.spec.data) + _holdout(loaded)


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
