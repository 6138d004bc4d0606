"""What this emulator has, as `GET /` lists it and as the documentation shows it: taken from the rules."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from headway_emulator.api.rest import Service
from headway_emulator.engine import faults as engine_faults

VERSION = re.compile(r"/(v\d\w*|ui)/")
Listing = Mapping[str, Mapping[str, Any]]
"""Service name to its `fidelity`, and its `methods`: each with `name`, `verb`, `path` and `permission`."""


def listing(services: Sequence[Service], others: Mapping[str, str]) -> Listing:
    """Every service with its methods; `others` are those that are no list of rules, with their fidelity."""
    found: dict[str, Mapping[str, Any]] = {
        service.name: {"fidelity": service.fidelity, "methods": _methods(service)} for service in services
    }
    return found | {name: {"fidelity": text, "methods": []} for name, text in others.items()}


def markdown(found: Listing) -> str:
    """A table of the services, then one table of methods for each."""
    return f"{services(found)}\n{methods(found)}"


def services(found: Listing) -> str:
    """How far each goes."""
    rows = [f"| `{name}` | {_cell(service['fidelity'])} |" for name, service in found.items()]
    return "\n".join(["| service | how far it goes |", "|---|---|", *rows]) + "\n"


def methods(found: Listing) -> str:
    """A table for each service that is a list of rules."""
    head = ["", "| method | versions | request | permission |", "|---|---|---|---|"]
    parts = [
        "\n".join([f"### {name}", *head, *_rows(service["methods"])])
        for name, service in found.items()
        if service["methods"]
    ]
    return "\n\n".join(parts) + "\n"


def faults() -> str:
    """What each kind of fault may say."""
    rows = [
        f"| `{name}` | {_codes(kind.where)} | {_codes(kind.what)} |"
        for name, kind in engine_faults.KINDS.items()
    ]
    return "\n".join(["| kind | where (patterns) | what |", "|---|---|---|", *rows]) + "\n"


def text(found: Listing) -> str:
    """The same for a terminal: a line for each service and each method."""
    lines = []
    for name, service in found.items():
        lines.append(f"{name}: {service['fidelity']}")
        lines += [
            f"  {m['verb']:6} {m['path']}  {m['name']}{'  ' + m['permission'] if m['permission'] else ''}"
            for m in service["methods"]
        ]
    return "\n".join(lines) + "\n"


def _methods(service: Service) -> Sequence[Mapping[str, str]]:
    return [
        {"name": rule.name, "verb": rule.verb, "path": rule.path, "permission": rule.permission}
        for rule in service.rules
    ] + [
        {
            "name": app.name,
            "verb": "ANY",
            "path": f"/{service.name}{app.path.replace(':path', '')}",
            "permission": app.permission,
        }
        for app in service.apps
    ]


def _rows(methods: Sequence[Mapping[str, str]]) -> list[str]:
    """One row for the paths of a method that differ in their version alone."""
    versions: dict[tuple[str, str, str, str], list[str]] = {}
    for method in methods:
        found = VERSION.match(method["path"])
        path = method["path"][found.end() - 1 :] if found else method["path"]
        key = (method["name"], method["verb"], path, method["permission"])
        versions.setdefault(key, []).append(found[1] if found else "")
    return [
        f"| {_code(name)} | {', '.join(filter(None, of))} | {_code(f'{verb} {path}')} | {_code(permission)} |"
        for (name, verb, path, permission), of in versions.items()
    ]


def _codes(words: Iterable[str]) -> str:
    return ", ".join(map(_code, words))


def _code(words: str) -> str:
    return f"`{_cell(words)}`" if words else ""


def _cell(words: str) -> str:
    return words.replace("|", r"\|").replace("\n", " ")
