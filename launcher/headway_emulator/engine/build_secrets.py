"""The values of a build's secret variables, read from Secret Manager's versions in the state."""

from __future__ import annotations

import base64
from collections.abc import Mapping, Sequence
from typing import Any

from headway_emulator.engine.build_site import Ended
from headway_emulator.engine.store import Document, Store

VERSION = "secretVersion"


def values(store: Store, secrets: Sequence[Mapping[str, Any]], project: str, number: str) -> dict[str, str]:
    """By variable; Ended where a version is not there or not enabled."""
    return {secret["env"]: _value(store, secret["versionName"], project, number) for secret in secrets}


def _value(store: Store, name: str, project: str, number: str) -> str:
    # versions are kept under the project's number, and named by either
    known = name.replace(f"projects/{project}/", f"projects/{number}/", 1)
    version = _version(store, known)
    state = "NotFound" if version is None else f"FailedPrecondition: state {version.get('state')}"
    if version is None or version.get("state") != "ENABLED":
        detail = f"failed to access secret version for secret {name}: rpc error: code = {state}"
        raise Ended("FAILURE", detail)
    return base64.b64decode(version["data"]).decode(errors="replace")


def _version(store: Store, name: str) -> Document | None:
    if not name.endswith("/versions/latest"):
        return store.get(VERSION, name)
    versions = store.list(VERSION, name.removesuffix("latest"))
    return max(versions, key=lambda version: int(version["name"].rsplit("/", 1)[1]), default=None)
