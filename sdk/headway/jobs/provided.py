"""What a run needs to begin and its plan only names: the image and the code, which may be deleted since."""

from __future__ import annotations

from headway.cloud.services import Services
from headway.errors import Refused
from headway.spec.plan import Plan


def lost(plan: Plan, services: Services) -> str | None:
    """What of it is no longer there, in words; None where all is. An image that one may not look up is."""
    found = []
    if not services.store.exists(plan.layout.bundle(plan.code.digest)):
        found.append(f"the code {plan.layout.uri(plan.layout.bundle(plan.code.digest))}")
    try:
        if services.image_digest(plan.image.uri) is None:
            found.insert(0, f"the image {plan.image.uri}")
    except Refused:
        pass
    return " and ".join(found) or None
