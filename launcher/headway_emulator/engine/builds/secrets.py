"""The values of a build's secret variables, read from Secret Manager's versions in the state."""

from __future__ import annotations

import base64
from collections.abc import Mapping, Sequence
from typing import Any

from headway_emulator.engine.builds.site import Ended
from headway_emulator.engine.store import Document, Store

SECRET = "secret"  # noqa: S105 - a kind of document, as those below
VERSION = "secretVersion"
PAYLOAD = "secretPayload"


def values(
    store: Store, secrets: Sequence[Mapping[str, Any]], project: str, number: str, now: str
) -> dict[str, str]:
    """By variable; Ended where a version is not there or not enabled. `now` is an RFC 3339 time."""
    found = {}
    for secret in secrets:
        # versions are kept under the project's number, and named by either
        name = secret["versionName"].replace(f"projects/{project}/", f"projects/{number}/", 1)
        found[secret["env"]] = _value(store, name, secret["versionName"], now)
    return found


def _value(store: Store, name: str, shown: str, now: str) -> str:
    version = _version(store, name, now)
    if version is None or version["state"] != "ENABLED":
        why = "NotFound" if version is None else f"FailedPrecondition: it is in {version['state']} state"
        text = f"failed to access secret version for secret {shown}: rpc error: code = {why}"
        raise Ended("FAILURE", text)
    payload = store.get(PAYLOAD, version["name"]) or {"data": ""}
    return base64.b64decode(payload["data"]).decode(errors="replace")


def _version(store: Store, name: str, now: str) -> Document | None:
    """By number, alias, or the word latest; nothing of a secret that has expired."""
    parent, _, wanted = name.rpartition("/versions/")
    secret = store.get(SECRET, parent)
    if secret is None or secret.get("expireTime", "9") <= now:
        return None
    if wanted == "latest":
        return next(iter(store.list(VERSION, f"{parent}/versions/")), None)
    return store.get(VERSION, f"{parent}/versions/{secret.get('versionAliases', {}).get(wanted, wanted)}")
