"""What the contract suite is made of: Google's clients and nothing of Headway's, as docs/emulator.md says."""

from __future__ import annotations

import ast
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.unit.documentation import ROOT, rows, sections, words

SUITE = ROOT / "tests" / "contract"
MODULES = {
    "google-cloud-aiplatform": "google.cloud.aiplatform",
    "google-cloud-build": "google.cloud.devtools.cloudbuild_v1",
    "google-cloud-secret-manager": "google.cloud.secretmanager",
    "google-cloud-artifact-registry": "google.cloud.artifactregistry_v1",
    "google-cloud-resource-manager": "google.cloud.resourcemanager_v3",
}
"""Where a distribution's module has another name."""


def proven() -> list[tuple[str, str]]:
    """A client and the module of the suite that proves it, for each of both in the table."""
    table = rows(sections(ROOT / "docs" / "emulator.md")["Proven with"])
    return [(client, test) for row in table for client in words(row[0]) for test in words(row[2])]


def imported(path: Path) -> Iterator[str]:
    """Full names of all that a module imports, inside of functions too."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (name.name for name in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield from (f"{node.module}.{name.name}" for name in node.names)


@pytest.mark.parametrize("path", sorted(SUITE.glob("*.py")), ids=lambda path: path.stem)
def test_the_contract_suite_imports_nothing_of_headway(path: Path) -> None:
    """Headway against the emulator is tested in tests/integration."""
    assert {name.partition(".")[0] for name in imported(path)}.isdisjoint({"headway", "headway_launcher"})


def test_every_client_that_is_said_to_be_proven_is_used_where_it_is_said() -> None:
    texts = {
        client: [(SUITE / f"test_{t}.py").read_text() for c, t in proven() if c == client]
        for client, _ in proven()
    }
    for client, found in texts.items():
        if client.startswith("gcloud "):
            command = client.split()[-1]
            assert any(f'"{command}"' in text for text in found), client
        else:
            module = MODULES.get(client, client.replace("google-cloud-", "google.cloud."))
            parent, _, last = module.rpartition(".")
            assert any(module in text or f"from {parent} import {last}" in text for text in found), client


def test_every_client_of_googles_that_we_install_is_proven() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    installed = [*project["dependencies"], *project["optional-dependencies"]["dev"]]
    clients = {name.partition(">")[0] for name in installed if name.startswith("google-cloud-")}
    assert clients <= {client for client, _ in proven()}
