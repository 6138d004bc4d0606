"""The table of enum numbers against the enums of the installed clients."""

from __future__ import annotations

import importlib
import tomllib
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
}


@pytest.mark.parametrize("enum", ENUMS, ids=lambda enum: enum["type"])
def test_names_and_numbers_are_those_of_googles_client(enum: dict[str, Any]) -> None:
    package = next(package for package in MODULES if enum["type"].startswith(package))
    here: Any = importlib.import_module(MODULES[package])
    for part in enum["type"].removeprefix(f"{package}.").split("."):
        here = getattr(here, part)
    assert enum["values"] == {member.name: member.value for member in here}


def test_every_enum_of_a_custom_job_that_a_client_sends_is_in_the_table() -> None:
    from headway_emulator.schema import discovery

    known = {place for enum in ENUMS for place in enum["fields"]}
    prefix = "GoogleCloudAiplatformV1"
    schemas = discovery("aiplatform", "v1")["schemas"]
    missing, seen, pending = [], set(), [f"{prefix}CustomJob"]
    while pending:
        name = pending.pop()
        seen.add(name)
        for field, kind in schemas[name].get("properties", {}).items():
            inner = kind.get("items", kind)
            if (reference := inner.get("$ref")) and reference not in seen:
                pending.append(reference)
            place = f"{name.removeprefix(prefix)}.{field}"
            if "enum" in inner and not kind.get("readOnly") and place not in known:
                missing.append(place)
    assert missing == []
