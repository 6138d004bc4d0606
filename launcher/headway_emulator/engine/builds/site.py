"""What every build of this emulator works with, and how a build is over before its last step."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from headway_emulator.engine.builds.steps import StepRunner
from headway_emulator.engine.clock import Clock, timestamp
from headway_emulator.engine.faults import Faults
from headway_emulator.engine.objects import Objects
from headway_emulator.engine.store import Store

KIND = "build"
REQUEST = "buildRequest"
"""What was asked for, by build id, before substitution: for a retry, and to find a build's location."""
FINAL = frozenset(["SUCCESS", "FAILURE", "INTERNAL_ERROR", "TIMEOUT", "CANCELLED", "EXPIRED"])


@dataclass(frozen=True)
class Site:
    """Shared by all builds; `folder` holds one folder a running build."""

    store: Store
    clock: Clock
    objects: Objects
    runner: StepRunner
    faults: Faults
    folder: Path

    def now(self) -> str:
        return timestamp(self.clock.now_ns())


class Ended(Exception):
    """The build is over with this status; `kind` is a FailureInfo type where there is one."""

    def __init__(self, status: str, detail: str, kind: str = "") -> None:
        super().__init__(detail)
        self.status = status
        self.detail = detail
        self.kind = kind


def span(start: str, end: str) -> dict[str, str]:
    """A google.devtools.cloudbuild.v1.TimeSpan."""
    return {"startTime": start, "endTime": end}


def key(build: Mapping[str, Any]) -> str:
    """A build's name in the state, LOCATION/ID: a location's builds are found by what it begins with."""
    parts = build["name"].split("/")
    return f"{parts[3]}/{parts[5]}"
