"""IAM policies of resources: kept and given back, and nothing is refused because of them."""

from __future__ import annotations

import base64
import hashlib
import json
import re

from headway_emulator import schema
from headway_emulator.api.rest import Call
from headway_emulator.engine.store import Document, Store
from headway_emulator.errors import ApiError, invalid

KIND = "iamPolicy"
PERMISSION = re.compile(r"[a-z][a-zA-Z0-9-]*(?:\.[a-zA-Z0-9-]+)+")
MOST_PERMISSIONS = 100
MEMBER = re.compile(
    r"allUsers|allAuthenticatedUsers|(?:user|serviceAccount|group|domain|principal|principalSet|"
    r"projectOwner|projectEditor|projectViewer|deleted:\w+):.+"
)


def read(store: Store, resource: str, default: Document | None = None) -> Document:
    """The policy that was set, or the default one; its etag is base64, which gcloud decodes."""
    return store.get(KIND, resource) or _with_etag(default or {})


def write(store: Store, service: str, resource: str, call: Call, default: Document | None = None) -> Document:
    """The SetIamPolicyRequest in the body, if its etag is the current one: ABORTED otherwise.

    `service` is "name/version" of the discovery document that has the request.
    """
    name, version = service.split("/")
    body = schema.parse(name, version, "SetIamPolicyRequest", call.body or {}, "")
    policy = dict(body.get("policy", {}))
    for number, binding in enumerate(policy.get("bindings", [])):
        _check(binding, number)
    with store.transaction():
        kept = read(store, resource, default)
        if policy.pop("etag", kept["etag"]) != kept["etag"]:
            raise ApiError(
                "ABORTED",
                "There were concurrent policy changes. "
                "Please retry the whole read-modify-write with exponential backoff.",
            )
        policy = _with_etag(policy, kept["etag"])
        store.put(KIND, resource, policy)
    return policy


def granted(service: str, call: Call) -> Document:
    """Of a TestIamPermissionsRequest, all that was asked: nothing is refused here."""
    name, version = service.split("/")
    body = schema.parse(name, version, "TestIamPermissionsRequest", call.body or {}, "")
    asked: list[str] = body.get("permissions", [])
    if len(asked) > MOST_PERMISSIONS:
        raise invalid(f"At most {MOST_PERMISSIONS} permissions can be tested at once.")
    for permission in asked:
        if not PERMISSION.fullmatch(permission):
            raise invalid(f"Permission {permission} is not valid for this resource.")
    return {"permissions": asked} if asked else {}


def _check(binding: Document, number: int) -> None:
    if not binding.get("role", "").startswith(("roles/", "projects/", "organizations/")):
        raise invalid(
            f"Role {binding.get('role', '')} is not supported for this resource. (binding {number})"
        )
    for member in binding.get("members", []):
        if not MEMBER.fullmatch(member):
            raise invalid(f"The member {member} is of an unknown type.")


def _with_etag(policy: Document, before: str = "") -> Document:
    """Another etag after each write, also of an equal policy."""
    digest = hashlib.sha256((before + json.dumps(policy, sort_keys=True)).encode()).digest()[:8]
    return {"version": 1, **policy, "etag": base64.b64encode(digest).decode()}
