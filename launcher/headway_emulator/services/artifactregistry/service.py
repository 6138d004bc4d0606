"""Artifact Registry: repositories of this project, and the images that builds left in them."""

from __future__ import annotations

from headway_emulator.api.rest import Rule, Service
from headway_emulator.services.artifactregistry.images import RegistryImages
from headway_emulator.services.artifactregistry.repositories import Repositories
from headway_emulator.world import World

LOCATION = "/v1/projects/{project}/locations/{location}"
REPOSITORY = f"{LOCATION}/repositories/{{repository}}"
PACKAGE = f"{REPOSITORY}/packages/{{package:path}}"
"""The last variable of a path may hold slashes; longer paths therefore come first."""
IAM = "artifactregistry"


def service(world: World) -> Service:
    """Over what the Docker engine holds, or the notes that are kept without one."""
    repositories = Repositories(world)
    images = RegistryImages(world, repositories)
    version, tag = f"{PACKAGE}/versions/{{version}}", f"{PACKAGE}/tags/{{tag}}"
    several = f"{PACKAGE}/versions"
    rules = [
        Rule(
            "versions.batchDelete",
            "POST",
            f"{several}:batchDelete",
            images.delete_versions,
            f"{IAM}.versions.delete",
        ),
        Rule("versions.list", "GET", several, images.versions, f"{IAM}.versions.list"),
        Rule("versions.get", "GET", version, images.version, f"{IAM}.versions.get"),
        Rule("versions.delete", "DELETE", version, images.delete_version, f"{IAM}.versions.delete"),
        Rule("tags.create", "POST", f"{PACKAGE}/tags", images.create_tag, f"{IAM}.tags.create"),
        Rule("tags.list", "GET", f"{PACKAGE}/tags", images.tags, f"{IAM}.tags.list"),
        Rule("tags.get", "GET", tag, images.tag, f"{IAM}.tags.get"),
        Rule("tags.patch", "PATCH", tag, images.move_tag, f"{IAM}.tags.update"),
        Rule("tags.delete", "DELETE", tag, images.delete_tag, f"{IAM}.tags.delete"),
        Rule("packages.list", "GET", f"{REPOSITORY}/packages", images.packages, f"{IAM}.packages.list"),
        Rule("packages.get", "GET", PACKAGE, images.package, f"{IAM}.packages.get"),
        Rule("packages.delete", "DELETE", PACKAGE, images.delete_package, f"{IAM}.packages.delete"),
        Rule(
            "dockerImages.list",
            "GET",
            f"{REPOSITORY}/dockerImages",
            images.docker_images,
            f"{IAM}.dockerimages.list",
        ),
        Rule(
            "dockerImages.get",
            "GET",
            f"{REPOSITORY}/dockerImages/{{image:path}}",
            images.docker_image,
            f"{IAM}.dockerimages.get",
        ),
        Rule(
            "repositories.create",
            "POST",
            f"{LOCATION}/repositories",
            repositories.create,
            f"{IAM}.repositories.create",
        ),
        Rule(
            "repositories.list",
            "GET",
            f"{LOCATION}/repositories",
            repositories.list,
            f"{IAM}.repositories.list",
        ),
        Rule("repositories.get", "GET", REPOSITORY, repositories.get, f"{IAM}.repositories.get"),
        Rule("repositories.patch", "PATCH", REPOSITORY, repositories.patch, f"{IAM}.repositories.update"),
        Rule("repositories.delete", "DELETE", REPOSITORY, repositories.delete, f"{IAM}.repositories.delete"),
        Rule("operations.get", "GET", f"{LOCATION}/operations/{{operation}}", repositories.operation),
        *(
            Rule(
                "locations.list",
                "GET",
                f"/{root}/projects/{{project}}/locations",
                repositories.locations,
                f"{IAM}.locations.list",
            )
            for root in ("v1", "v1beta2")
        ),
    ]
    fidelity = (
        "Docker repositories over the images on the local engine, with their tags, versions and packages; "
        "no pushing over the network, cleanup policies, scanning, or IAM; a digest is the engine's image id"
    )
    return Service("artifactregistry", fidelity, rules)
