"""Artifact Registry: whether a tag exists, asked of the Docker engine or of the notes kept without one."""

from __future__ import annotations

from typing import Any

from headway_emulator.errors import not_found
from headway_emulator.rest import Call, Rule, Service
from headway_emulator.world import World


def service(world: World) -> Service:
    """Reading only: images come into being by builds."""
    registry = ArtifactRegistry(world)
    repository = "/v1/projects/{project}/locations/{location}/repositories/{repository}"
    rules = [
        Rule("tags.get", "GET", f"{repository}/packages/{{package}}/tags/{{tag}}", registry.tag),
        Rule("repositories.get", "GET", repository, registry.repository),
    ]
    fidelity = (
        "tags of images on the engine; every repository exists, in Docker format; no pushes or deletions"
    )
    return Service("artifactregistry", fidelity, rules)


class ArtifactRegistry:
    """Names keep the project as the client spelled it, as the real service does."""

    def __init__(self, world: World) -> None:
        self._world = world

    def tag(self, call: Call) -> Any:
        self._world.check_project(call.path["project"])
        package = f"{_repository(call)}/packages/{call.path['package']}"
        name = f"{package}/tags/{call.path['tag']}"
        digest = self._world.images.digest(self._image(call))
        if not digest:
            raise not_found(name)
        return {"name": name, "version": f"{package}/versions/{digest}"}

    def repository(self, call: Call) -> Any:
        self._world.check_project(call.path["project"])
        return {"name": _repository(call), "format": "DOCKER", "mode": "STANDARD_REPOSITORY"}

    def _image(self, call: Call) -> str:
        """Image names carry the project's id, whichever way the request named it."""
        host = f"{call.path['location']}-docker.pkg.dev"
        package = call.path["package"].replace("%2F", "/")
        project = self._world.settings.project
        return f"{host}/{project}/{call.path['repository']}/{package}:{call.path['tag']}"


def _repository(call: Call) -> str:
    return "projects/{project}/locations/{location}/repositories/{repository}".format(**call.path)
