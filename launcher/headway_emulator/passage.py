"""What becomes known of one request on its way through: which method it is, and what befell it."""

from __future__ import annotations

from collections.abc import MutableMapping
from dataclasses import dataclass
from typing import Any

from headway_emulator.engine.faults import Faults

KEY = "headway.passage"


@dataclass
class Passage:
    """Begun by the outermost layer, filled in by whoever finds out; written down when the request is over."""

    faults: Faults
    checks_replies: bool
    method: str = ""
    """Such as aiplatform.customJobs.create; empty for a path that Google does not have."""
    permission: str = ""
    """As Google documents it for the method; several are separated by ", "."""
    fault: str = ""
    """What was done to it on purpose."""


def of(scope: MutableMapping[str, Any]) -> Passage | None:
    """None where the application runs without the layer that begins it."""
    found: Passage | None = scope.get(KEY)
    return found


def name(scope: MutableMapping[str, Any], method: str, permission: str) -> None:
    """Say what the request is."""
    if (passage := of(scope)) is not None:
        passage.method, passage.permission = method, permission
