"""`gcloud artifacts` as it is, on both executors, wired by environment variables alone."""

from __future__ import annotations

import secrets
from collections.abc import Iterator

import pytest
import requests

from tests.contract.command_line import NEEDS_GCLOUD, Gcloud
from tests.contract.conftest import on_both_executors
from tests.contract.servers import LOCATION, PARENT, PROJECT, Emulator
from tests.contract.test_artifacts import Registry, registry_client

pytestmark = NEEDS_GCLOUD
WHERE = f"--location={LOCATION}"


emulator = on_both_executors()
"""Every test here is made twice: with processes and with containers."""


@pytest.fixture
def registry(emulator: Emulator) -> Iterator[Registry]:
    """A repository of the test's own, with nothing in it."""
    made = Registry(emulator, registry_client(emulator), f"r{secrets.token_hex(4)}")
    yield made
    requests.delete(made.url, timeout=30)


def test_a_repository_and_its_images_from_creation_to_deletion(gcloud: Gcloud, registry: Registry) -> None:
    """`repositories create|describe|list|delete`, and over what a build pushed `docker images|tags`."""
    words, name = ("artifacts", "repositories"), registry.repository
    gcloud(*words, "create", name, WHERE, "--repository-format=docker", "--labels=team=vision")
    described = gcloud.json(*words, "describe", name, WHERE)
    assert (described["format"], described["labels"]) == ("DOCKER", {"team": "vision"})
    for where in ([WHERE], []):
        listed = gcloud.json(*words, "list", *where)
        assert f"{PARENT}/repositories/{name}" in [repository["name"] for repository in listed]
    _images_come_and_go(gcloud, registry)
    gcloud(*words, "delete", name, WHERE)
    with pytest.raises(AssertionError, match="NOT_FOUND"):
        gcloud(*words, "describe", name, WHERE)


def _images_come_and_go(gcloud: Gcloud, registry: Registry) -> None:
    root = f"{LOCATION}-docker.pkg.dev/{PROJECT}/{registry.repository}"
    image, docker = f"{root}/trainer", ("artifacts", "docker")
    registry.push(f"{image}:one", f"{image}:two")
    (found,) = gcloud.json(*docker, "images", "list", root, "--include-tags")
    assert (found["package"], sorted(found["tags"])) == (image, ["one", "two"])
    described = gcloud.json(*docker, "images", "describe", f"{image}:one")
    assert described["image_summary"]["digest"] == found["version"]
    gcloud(*docker, "tags", "add", f"{image}:one", f"{image}:best")
    tags = gcloud.json(*docker, "tags", "list", image)
    assert sorted(tag["tag"].rsplit("/", 1)[1] for tag in tags) == ["best", "one", "two"]
    gcloud(*docker, "tags", "delete", f"{image}:best")
    with pytest.raises(AssertionError, match="because it is tagged"):
        gcloud(*docker, "images", "delete", f"{image}:one")
    gcloud(*docker, "images", "delete", f"{image}:one", "--delete-tags")
    assert gcloud.json(*docker, "images", "list", root) == []
