"""The table of enum numbers against the enums of the installed clients."""

from __future__ import annotations

import importlib
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import headway_emulator

TABLE = Path(headway_emulator.__file__).parent / "facts" / "enums.toml"
ENUMS: list[dict[str, Any]] = tomllib.loads(TABLE.read_text())["enum"]
MODULES = {
    "google.cloud.aiplatform.v1": "google.cloud.aiplatform_v1.types",
    "google.devtools.cloudbuild.v1": "google.cloud.devtools.cloudbuild_v1.types",
    "google.cloud.scheduler.v1": "google.cloud.scheduler_v1.types",
    "google.devtools.artifactregistry.v1": "google.cloud.artifactregistry_v1.types",
    "google.cloud.secretmanager.v1": "google.cloud.secretmanager_v1.types",
    "google.cloud.functions.v2": "google.cloud.functions_v2.types",
    "google.iam.v1": "google.iam.v1.policy_pb2",
    "google.logging.type": "google.logging.type.log_severity_pb2",
    "google.api.LabelDescriptor": "google.api.label_pb2",
    "google.api.LaunchStage": "google.api.launch_stage_pb2",
    "google.api.MetricDescriptor": "google.api.metric_pb2",
}
"""Package, or message of a package that has one module a message, to the module that has its enums."""
NOT_IN_CLIENTS = {
    "BuildOptions.rankedMachineSeries",
    "BuildTrigger.eventType",
    "BuildTrigger.includeBuildLogs",
    "DisableServiceRequest.checkIfServiceHasUsage",
    "PlatformLogsConfig.loggingState",
    "ServiceConfig.directVpcEgress",
    "PlatformLogsConfig.severityLevel",
}
"""Enums of the discovery documents that the installed clients do not know: nobody can send their numbers."""


def members(full_name: str) -> dict[str, int]:
    """The enum of the installed client: of proto-plus, or of plain protobuf."""
    package = next(package for package in MODULES if full_name.startswith(package))
    here: Any = importlib.import_module(MODULES[package])
    pieces = full_name.split(".")
    for part in pieces[next(i for i, piece in enumerate(pieces) if piece[0].isupper()) :]:
        here = getattr(here, part)
    return (
        dict(here.items()) if hasattr(here, "DESCRIPTOR") else {member.name: member.value for member in here}
    )


@pytest.mark.parametrize("enum", ENUMS, ids=lambda enum: enum["type"])
def test_names_and_numbers_are_those_of_googles_client(enum: dict[str, Any]) -> None:
    assert enum["values"] == members(enum["type"])


def test_every_enum_that_a_request_may_carry_is_in_the_table() -> None:
    """Of every method that is emulated: a client's number would else be answered 501."""
    from headway_emulator.api import methods
    from headway_emulator.emulation import listing_of_this_version

    known = {place for enum in ENUMS for place in enum["fields"]} | NOT_IN_CLIENTS
    missing: set[str] = set()
    for service, listed in listing_of_this_version().items():
        for rule in listed["methods"]:
            method = methods.of_rule(service, rule["verb"], rule["path"])
            if method is not None and method.request:
                missing |= set(carried(method)) - known
    assert missing == set()


def carried(method: Any) -> Iterator[str]:
    """Each "Schema.field" of an enum below the method's request, with the schema's short name."""
    from headway_emulator.schema import discovery, prefix

    schemas, short = (
        discovery(method.service, method.version)["schemas"],
        prefix(method.service, method.version),
    )
    seen, pending = set(), [method.request]
    while pending:
        name = pending.pop()
        if name in seen:
            continue
        seen.add(name)
        given = {
            f: kind for f, kind in schemas[name].get("properties", {}).items() if not kind.get("readOnly")
        }
        for field, kind in given.items():
            inner = kind.get("items", kind)
            inner = inner.get("additionalProperties", inner)
            if "$ref" in inner:
                pending.append(inner["$ref"])
            if "enum" in inner:
                yield f"{name.removeprefix(short)}.{field}"
