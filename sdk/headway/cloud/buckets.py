"""Buckets themselves, not what is in them: where one lies, and what may be done with it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from headway.cloud.session import Session


@dataclass(frozen=True)
class Bucket:
    """`kind` is region, dual-region or multi-region; `location` is in lower case: us-central1, us."""

    kind: str
    location: str


def look_up(session: Session, bucket: str) -> Bucket:
    """Raises NotFound, Refused."""
    url = f"{session.endpoint('storage')}/storage/v1/b/{bucket}"
    found = session.call("GET", url, f"cannot look up the bucket {bucket}")
    return Bucket(str(found.get("locationType", "region")).lower(), str(found["location"]).lower())


def lacking(session: Session, bucket: str, permissions: Sequence[str]) -> list[str]:
    """Which of the permissions on the bucket who is logged in does not have."""
    url = f"{session.endpoint('storage')}/storage/v1/b/{bucket}/iam/testPermissions"
    what = f"cannot ask what is permitted in the bucket {bucket}"
    reply = session.call("GET", url, what, params={"permissions": list(permissions)})
    return [permission for permission in permissions if permission not in reply.get("permissions", [])]
