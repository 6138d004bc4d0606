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
    around: Passage | None = None
    """The request that brought this one, where several come in one."""

    def needs(self, permission: str) -> None:
        """Add what the request needs, to the one around it too."""
        for here in filter(None, (self, self.around)):
            known = [*filter(None, here.permission.split(", ")), *filter(None, permission.split(", "))]
            here.permission = ", ".join(dict.fromkeys(known))


def of(scope: MutableMapping[str, Any]) -> Passage | None:
    """None where the application runs without the layer that begins it."""
    found: Passage | None = scope.get(KEY)
    return found


def name(scope: MutableMapping[str, Any], method: str, permission: str) -> None:
    """Say what the request is."""
    if (passage := of(scope)) is not None:
        passage.method = method
        passage.needs(permission)


def within(scope: MutableMapping[str, Any]) -> Passage | None:
    """For a request that came inside of another."""
    outer = of(scope)
    return None if outer is None else Passage(outer.faults, outer.checks_replies, around=outer)
