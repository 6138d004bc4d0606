"""Google's methods by verb and path, from the discovery documents that a service name and a version name."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from headway_emulator.once import once
from headway_emulator.schema import discovery, documented

VARIABLE = re.compile(r"\{[^}]*\}")
ROOTS_WITHOUT_DOCUMENT: Mapping[str, str] = {"ui": "v1"}
"""Below /ui the Python client of Vertex AI polls the operations of v1."""

KNATIVE = "apis"
"""Below /apis Cloud Run has the methods of its v1."""


@dataclass(frozen=True)
class Method:
    """One method of Google's: its full name, what its query may carry, and the schema of its reply."""

    name: str
    service: str
    version: str
    request: str
    """Name of the body's schema in the document, empty where there is no body."""
    response: str
    """Name of the reply's schema in the document, empty where the reply has none."""
    parameters: Mapping[str, Mapping[str, Any]]


def find(service: str, verb: str, path: str) -> Method | None:
    """The method at a request's path, None where Google has none or the document is not installed."""
    root = path.split("/")[1].split(":")[0] if path.startswith("/") else ""  # /v1:verb is a method too
    version = "v1" if root == KNATIVE else root
    if not documented(service, version):
        return None
    found = (
        m for method, pattern, m in _methods(service, version) if method == verb and pattern.fullmatch(path)
    )
    return next(found, None)


@once
def of_rule(service: str, verb: str, path: str) -> Method | None:
    """The same for a path with {variables}, such as a rule has."""
    root = path.split("/")[1]
    version = ROOTS_WITHOUT_DOCUMENT.get(root, root)
    return find(service, verb, VARIABLE.sub("x", path.replace(f"/{root}/", f"/{version}/", 1)))


@once
def _methods(service: str, version: str) -> Sequence[tuple[str, re.Pattern[str], Method]]:
    found = []
    document = discovery(service, version)
    common: Mapping[str, Mapping[str, Any]] = document.get("parameters", {})
    pending = [document]
    while pending:
        resource = pending.pop()
        pending += resource.get("resources", {}).values()
        for raw in resource.get("methods", {}).values():
            path = raw.get("flatPath", raw["path"])
            pattern = re.sub(r"\\\{\\?\+?[^}]*\\\}", "[^/:]+", re.escape(path))
            body, reply = (raw.get(side, {}).get("$ref", "") for side in ("request", "response"))
            parameters = {**common, **raw.get("parameters", {})}
            method = Method(raw["id"], service, version, body, reply, parameters)
            found.append((path.count("{"), (raw["httpMethod"], re.compile("/" + pattern), method)))
    return [entry for _, entry in sorted(found, key=lambda one: one[0])]  # a word counts over a variable
