"""What lies in a repository of Artifact Registry: docker images, packages, their versions and tags."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any
from urllib.parse import quote, unquote

from headway_emulator import schema
from headway_emulator.api.rest import Call
from headway_emulator.engine.images.images import HELD, Image
from headway_emulator.engine.store import Document
from headway_emulator.errors import ApiError, invalid, precondition
from headway_emulator.services.artifactregistry import lists as registry_lists
from headway_emulator.services.artifactregistry.repositories import EMPTY, TYPE, Repositories, missing
from headway_emulator.world import World

MEDIA_TYPE = "application/vnd.docker.distribution.manifest.v2+json"
TAG = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,127}")
"""What a tag of a container image may be (Docker's reference grammar)."""
FULL = ("FULL", "2")
"""VersionView by name and by number."""
MOST_AT_ONCE = 500


class RegistryImages:
    """A package is an image's name in its repository, a version its digest."""

    def __init__(self, world: World, repositories: Repositories) -> None:
        self._world = world
        self._repositories = repositories

    def docker_images(self, call: Call) -> Any:
        self._repositories.found(call)
        images = [self._docker_image(call, image) for image in self._repositories.images(call)]
        return registry_lists.page(call, images, "dockerImages")

    def docker_image(self, call: Call) -> Any:
        """By digest, or by tag, which the real service takes too."""
        self._repositories.found(call)
        name, _, digest = unquote(call.path["image"]).partition("@")
        head, _, tag = name.rpartition(":")
        for image in self._repositories.images(call):
            package = self._package_id(call, image)
            if (package, image.digest) == (name, digest) or (package == head and tag in image.tags):
                return self._docker_image(call, image)
        raise missing()

    def packages(self, call: Call) -> Any:
        self._repositories.found(call)
        by_package: dict[str, list[Image]] = {}
        for image in self._repositories.images(call):
            by_package.setdefault(image.package, []).append(image)
        documents = [self._package(call, images) for images in by_package.values()]
        return registry_lists.page(call, documents, "packages")

    def package(self, call: Call) -> Any:
        return self._package(call, self._images(call))

    def delete_package(self, call: Call) -> Any:
        for image in self._images(call):
            self._check_mutable(call, image)
            self._world.images.remove(image.package, image.digest)
        return self._repositories.operation_of(call, EMPTY)

    def versions(self, call: Call) -> Any:
        full = call.query.get("view", "") in FULL
        documents = [self._version(call, image, full=full) for image in self._images(call)]
        return registry_lists.page(call, documents, "versions")

    def version(self, call: Call) -> Any:
        return self._version(
            call, self._image(call, call.path["version"]), full=call.query.get("view", "") in FULL
        )

    def delete_version(self, call: Call) -> Any:
        image = self._image(call, call.path["version"])
        if image.tags and call.query.get("force", "").lower() != "true":
            name = f"{self._parent(call)}/versions/{image.digest}"
            raise precondition(f'The version "{name}" is tagged: delete its tags first, or use force=true.')
        self._check_mutable(call, image)
        self._world.images.remove(image.package, image.digest)
        return self._repositories.operation_of(call, EMPTY)

    def delete_versions(self, call: Call) -> Any:
        """All or none are found; the tags of a version go with it."""
        body = schema.parse("artifactregistry", "v1", "BatchDeleteVersionsRequest", call.body or {}, "")
        names = body.get("names", [])
        if not 0 < len(names) <= MOST_AT_ONCE:
            raise invalid(f"The request names {len(names)} versions: 1 to {MOST_AT_ONCE} are allowed.")
        images = [self._image(call, self._of_version(call, name)) for name in names]
        for image in images:
            self._check_mutable(call, image)
        if not body.get("validateOnly"):
            for image in images:
                self._world.images.remove(image.package, image.digest)
        begun = self._repositories.operation_of(call, EMPTY)
        return {**begun, "metadata": {"@type": f"{TYPE}BatchDeleteVersionsMetadata"}}

    def tags(self, call: Call) -> Any:
        found = [self._tag(call, tag, image.digest) for image in self._images(call) for tag in image.tags]
        return registry_lists.page(call, found, "tags")

    def tag(self, call: Call) -> Any:
        """One question to the engine: the launcher asks it before every build."""
        self._world.check_project(call.path["project"])
        tag = call.path["tag"]
        digest = self._world.images.digest(f"{self._image_name(call)}:{tag}")
        if not digest or tag.startswith(HELD):
            raise missing()
        return self._tag(call, tag, digest)

    def create_tag(self, call: Call) -> Any:
        tag = call.query.get("tagId", "")
        if not TAG.fullmatch(tag) or tag.startswith(HELD):
            raise invalid(f'Invalid tag_id "{tag}": 1 to 128 letters, digits, _, - and periods.')
        image = self._named(call)
        if any(tag in other.tags for other in self._images(call)):
            raise ApiError("ALREADY_EXISTS", "the tag already exists")
        self._world.images.tag(image.package, image.digest, tag)
        return self._tag(call, tag, image.digest)

    def move_tag(self, call: Call) -> Any:
        before = self.tag(call)
        mask = call.query.get("updateMask", "version")
        if mask not in ("version", "*"):
            raise invalid(f'Invalid update_mask "{mask}": only the version of a tag can be changed.')
        image = self._named(call)
        if before["version"].rpartition("/")[2] != image.digest:
            self._check_mutable(call, image, tagged=True)
        self._world.images.tag(image.package, image.digest, call.path["tag"])
        return self._tag(call, call.path["tag"], image.digest)

    def delete_tag(self, call: Call) -> Any:
        self.tag(call)
        image = next(image for image in self._images(call) if call.path["tag"] in image.tags)
        self._check_mutable(call, image)
        self._world.images.untag(image.package, call.path["tag"])
        return {}

    def _check_mutable(self, call: Call, image: Image, *, tagged: bool = False) -> None:
        """DockerRepositoryConfig.immutable_tags: tags cannot be modified, moved or deleted."""
        fixed = self._repositories.found(call).get("dockerConfig", {}).get("immutableTags", False)
        if fixed and (tagged or image.tags):
            raise precondition(
                "The repository has immutable tags: a tag, or a tagged image, cannot be changed."
            )

    def _named(self, call: Call) -> Image:
        """The image of the version that a Tag in the body names."""
        body = schema.parse("artifactregistry", "v1", "Tag", call.body or {}, "tag")
        if not body.get("version"):
            raise invalid("Required field is not set: tag.version.")
        return self._image(call, self._of_version(call, body["version"]))

    def _of_version(self, call: Call, name: str) -> str:
        """The digest in a version's full name, which must be of the path's package."""
        parent, _, digest = name.rpartition("/versions/")
        if unquote(parent.rpartition("/packages/")[2]) != self._package_of(call):
            raise invalid(f'The version "{name}" is not of the package "{self._package_of(call)}".')
        return digest

    def _images(self, call: Call) -> Sequence[Image]:
        """Of the path's package; ApiError NOT_FOUND where it has none."""
        self._repositories.found(call)
        wanted = self._image_name(call)
        found = [image for image in self._repositories.images(call) if image.package == wanted]
        if not found:
            raise missing()
        return found

    def _image(self, call: Call, digest: str) -> Image:
        found = next((image for image in self._images(call) if image.digest == digest), None)
        if found is None:
            raise missing()
        return found

    def _image_name(self, call: Call) -> str:
        return f"{self._repositories.host(call)}{call.path['repository']}/{self._package_of(call)}"

    def _package_of(self, call: Call) -> str:
        return unquote(call.path["package"])

    def _package_id(self, call: Call, image: Image) -> str:
        return image.package.removeprefix(f"{self._repositories.host(call)}{call.path['repository']}/")

    def _repository(self, call: Call) -> str:
        return "projects/{project}/locations/{location}/repositories/{repository}".format(**call.path)

    def _parent(self, call: Call) -> str:
        """The package's name; slashes in its id are escaped."""
        return f"{self._repository(call)}/packages/{quote(self._package_of(call), safe='')}"

    def _package(self, call: Call, images: Sequence[Image]) -> Document:
        identity = self._package_id(call, images[0])
        return {
            "name": f"{self._repository(call)}/packages/{quote(identity, safe='')}",
            "createTime": min(image.built for image in images),
            "updateTime": max(image.tagged for image in images),
        }

    def _tag(self, call: Call, tag: str, digest: str) -> Document:
        parent = self._parent(call)
        return {"name": f"{parent}/tags/{tag}", "version": f"{parent}/versions/{digest}"}

    def _version(self, call: Call, image: Image, *, full: bool) -> Document:
        described = self._docker_image(call, image)
        shown = ("name", "imageSizeBytes", "mediaType", "buildTime")
        document: Document = {
            "name": f"{self._parent(call)}/versions/{image.digest}",
            "createTime": image.built,
            "updateTime": image.tagged,
            "metadata": {name: described[name] for name in shown},
        }
        if full and image.tags:
            document["relatedTags"] = [self._tag(call, tag, image.digest) for tag in image.tags]
        return document

    def _docker_image(self, call: Call, image: Image) -> Document:
        identity = f"{self._package_id(call, image)}@{image.digest}"
        document: Document = {
            "name": f"{self._repository(call)}/dockerImages/{quote(identity, safe='@:')}",
            "uri": f"{image.package}@{image.digest}",
            "imageSizeBytes": str(image.size),
            "uploadTime": image.built,
            "mediaType": MEDIA_TYPE,
            "buildTime": image.built,
            "updateTime": image.tagged,
        }
        return {**document, "tags": list(image.tags)} if image.tags else document
