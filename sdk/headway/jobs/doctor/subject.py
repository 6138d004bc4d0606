"""What is examined: a config, a place and this machine, each as far as it could be read."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cached_property

from headway.cloud.services import Services
from headway.config import Loaded
from headway.errors import HeadwayError
from headway.jobs.doctor import engine
from headway.jobs.doctor.engine import Engine
from headway.spec.job import JobSpec
from headway.spec.place import LOCAL, Place

DEADLINE_S = 5.0
"""The longest that one check may take."""


class Lacking(Exception):
    """A check cannot be made, for something that another row tells of is missing; the text says what."""


@dataclass(frozen=True)
class Subject:
    """All that checks may ask. `config` and `place` are errors where they could not be read; a `config` of
    None is a folder without one.

    `services` is None where no server may be asked, or no local stack is up. `executor` is the local stack's:
    `docker` or `process`. `now` is this machine's clock, in seconds since 1970.
    """

    config: Loaded | HeadwayError | None
    place: Place | HeadwayError
    services: Services | None
    executor: str | None = None
    find_engine: Callable[[], Engine | str] = engine.find
    now: Callable[[], float] = field(default=time.time)

    @property
    def loaded(self) -> Loaded:
        if not isinstance(self.config, Loaded):
            raise Lacking("there is no config to check" if self.config is None else "the config is not valid")
        return self.config

    @property
    def spec(self) -> JobSpec:
        return self.loaded.spec

    @property
    def known_place(self) -> Place:
        if not isinstance(self.place, Place):
            raise Lacking("it is not known where to run")
        return self.place

    @property
    def is_local(self) -> bool:
        return isinstance(self.place, Place) and self.place.profile == LOCAL

    @property
    def online(self) -> Services:
        """What to ask servers with. Raises Lacking where they are not to be asked."""
        if self.services is None:
            place = self.known_place
            raise Lacking("the local stack is not up" if place.profile == LOCAL else "a server must be asked")
        return self.services

    @property
    def way_online(self) -> str:
        """What to type so that servers are asked."""
        if self.is_local:
            return "launch local up"
        return f"launch doctor --online{self.known_place.words}"

    @property
    def regions(self) -> tuple[str, ...]:
        """Where the job would run, in order of preference."""
        place = self.known_place
        given = self.config.spec.resources.regions if isinstance(self.config, Loaded) else ()
        return given or (place.region,)

    @cached_property
    def engine(self) -> Engine | str:
        return self.find_engine()
