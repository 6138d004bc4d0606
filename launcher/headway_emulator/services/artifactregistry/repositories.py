"""Artifact Registry's repositories, created or implied by the images in them, and its operations."""

from __future__ import annotations

import re
import uuid
from collections.abc import Mapping, Sequence
from typing import Any

from headway_emulator import schema
from headway_emulator.api.rest import Call
from headway_emulator.engine.clock import timestamp
from headway_emulator.engine.images.images import Image
from headway_emulator.engine.store import Document
from headway_emulator.errors import ApiError, invalid, unimplemented
from headway_emulator.services.artifactregistry import lists as registry_lists
from headway_emulator.world import World

REPOSITORY = "artifactRepository"
OPERATION = "artifactOperation"
TYPE = "type.googleapis.com/google.devtools.artifactregistry.v1."
EMPTY: Document = {"@type": "type.googleapis.com/google.protobuf.Empty"}
REPOSITORY_ID = re.compile(r"[a-z]([a-z0-9-]{0,61}[a-z0-9])?")
"""Lowercase letters, digits and hyphens, at most 63 ("Create standard repositories")."""
LABEL_KEY = re.compile(r"[a-z][a-z0-9_-]{0,62}")
LABEL_VALUE = re.compile(r"[a-z0-9_-]{0,63}")
MOST_LABELS = 64
"""Repository.labels: up to 64 entries, keys and values no longer than 63 characters."""
CHANGED = (
    "description",
    "labels",
    "cleanupPolicies",
    "cleanupPolicyDryRun",
    "dockerConfig",
    "vulnerabilityScanningConfig",
)
"""What repositories.patch may change; format, mode and key are fixed at the creation."""
LOCATIONS = (
    *(
        "us",
        "europe",
        "asia",
        "us-central1",
        "us-east1",
        "us-east4",
        "us-west1",
        "us-west2",
        "us-west3",
        "us-west4",
    ),
    *("northamerica-northeast1", "southamerica-east1", "europe-north1", "europe-west1", "europe-west2"),
    *("europe-west3", "europe-west4", "europe-west6", "asia-east1", "asia-northeast1", "asia-northeast3"),
    *("asia-south1", "asia-southeast1", "australia-southeast1", "me-west1"),
)
"""Some of Google's; a repository in another one is taken as well."""


class Repositories:
    """Kept under the project's id, shown with the project as the request spelled it."""

    def __init__(self, world: World) -> None:
        self._world = world

    def create(self, call: Call) -> Any:
        identity = call.query.get("repositoryId", "")
        if not REPOSITORY_ID.fullmatch(identity):
            raise invalid(
                f'Invalid repository_id "{identity}": 1 to 63 lowercase letters, digits and hyphens, '
                "beginning with a letter and ending with a letter or digit."
            )
        body = schema.parse("artifactregistry", "v1", "Repository", call.body or {}, "repository")
        _check(body)
        now = timestamp(self._world.clock.now_ns())
        kept = {**body, "createTime": now, "updateTime": now}
        kept["mode"] = "STANDARD_REPOSITORY"
        key = self._key(call.path, identity)
        with self._world.store.transaction():
            if self._world.store.get(REPOSITORY, key) is not None:
                raise ApiError("ALREADY_EXISTS", "the repository already exists")
            self._world.store.put(REPOSITORY, key, {**kept, "name": key})
        shown = self._shown({**kept, "name": key}, call.path["project"])
        return self.operation_of(call, {"@type": f"{TYPE}Repository", **shown})

    def get(self, call: Call) -> Any:
        return self._shown(self.found(call), call.path["project"])

    def list(self, call: Call) -> Any:
        prefix = self._key(call.path, "")
        known = {document["name"]: document for document in self._world.store.list(REPOSITORY, prefix)}
        for image in self._world.images.below(self.host(call)):
            name = f"{prefix}{image.package.split('/')[2]}"
            known.setdefault(name, _implied(name, image))
        shown = [self._shown(document, call.path["project"]) for document in known.values()]
        return registry_lists.page(call, shown, "repositories")

    def patch(self, call: Call) -> Any:
        body = schema.parse("artifactregistry", "v1", "Repository", call.body or {}, "repository")
        mask = [schema.camel(p.split(".")[0]) for p in call.query.get("updateMask", "").split(",") if p]
        fields = mask or [name for name in body if name not in ("name", "format", "mode")]
        if wrong := [name for name in fields if name not in CHANGED]:
            raise invalid(f'The field "{schema.snake(wrong[0])}" of a repository cannot be changed.')
        with self._world.store.transaction():
            before = self.found(call)
            kept = {name: value for name, value in before.items() if name not in fields}
            after = {**kept, **{name: body[name] for name in fields if name in body}}
            _check(after)
            after["updateTime"] = timestamp(self._world.clock.now_ns())
            self._world.store.put(REPOSITORY, after["name"], after)
        return self._shown(after, call.path["project"])

    def delete(self, call: Call) -> Any:
        """With all that lies in it, as the real service does."""
        found = self.found(call)
        for image in self.images(call):
            self._world.images.remove(image.package, image.digest)
        self._world.store.delete(REPOSITORY, found["name"])
        return self.operation_of(call, EMPTY)

    def locations(self, call: Call) -> Any:
        project = call.path["project"]
        self._world.check_project(project)
        used = {key.split("/")[3] for key in self._names()}
        found = [
            {"name": f"projects/{project}/locations/{location}", "locationId": location}
            for location in sorted({*LOCATIONS, *used})
        ]
        return {"locations": found}

    def operation(self, call: Call) -> Any:
        self._world.check_project(call.path["project"])
        found = self._world.store.get(OPERATION, call.path["operation"])
        if found is None:
            raise missing()
        return found

    def operation_of(self, call: Call, response: Document) -> Document:
        """Kept as done, first shown as begun: a client that does not poll is found out."""
        identity = str(uuid.uuid4())
        begun: Document = {
            "name": "projects/{project}/locations/{location}/operations/".format(**call.path) + identity,
            "metadata": {"@type": f"{TYPE}OperationMetadata"},
        }
        self._world.store.put(OPERATION, identity, {**begun, "done": True, "response": response})
        return begun

    def found(self, call: Call) -> Document:
        """The repository of the path: created, or there because an image is; ApiError NOT_FOUND otherwise."""
        key = self._key(call.path, call.path["repository"])
        kept = self._world.store.get(REPOSITORY, key)
        if kept is not None:
            return kept
        if images := self.images(call):
            return _implied(key, images[0])
        raise missing()

    def images(self, call: Call) -> Sequence[Image]:
        """All that lie in the repository of the path."""
        return self._world.images.below(f"{self.host(call)}{call.path['repository']}/")

    def host(self, call: Call) -> str:
        """How image names of the location begin: with the project's id, however the request named it."""
        return f"{call.path['location']}-docker.pkg.dev/{self._world.settings.project}/"

    def _key(self, path: Mapping[str, str], identity: str) -> str:
        self._world.check_project(path["project"])
        return f"projects/{self._world.settings.project}/locations/{path['location']}/repositories/{identity}"

    def _names(self) -> Sequence[str]:
        return [document["name"] for document in self._world.store.list(REPOSITORY)]

    def _shown(self, kept: Document, project: str) -> Document:
        _, _, _, location, _, identity = kept["name"].split("/")
        host = f"{location}-docker.pkg.dev/{self._world.settings.project}/{identity}"
        sizes = {image.digest: image.size for image in self._world.images.below(f"{host}/")}
        return {
            **kept,
            "name": f"projects/{project}/locations/{location}/repositories/{identity}",
            "registryUri": host,
            "sizeBytes": str(sum(sizes.values())),
        }


def missing() -> ApiError:
    """In the words of Google's services for a resource that is not there."""
    return ApiError("NOT_FOUND", "Requested entity was not found.")


def _implied(name: str, image: Image) -> Document:
    """A repository that no one created: a build pushed into it, which needs none here."""
    times = {"createTime": image.built, "updateTime": image.tagged}
    return {"name": name, "format": "DOCKER", "mode": "STANDARD_REPOSITORY", **times}


def _check(body: Mapping[str, Any]) -> None:
    if body.get("format", "FORMAT_UNSPECIFIED") == "FORMAT_UNSPECIFIED":
        raise invalid("Required field is not set: repository.format.")
    if body["format"] != "DOCKER":
        raise unimplemented(f"repositories of the format {body['format']}: only DOCKER")
    if body.get("mode", "MODE_UNSPECIFIED") not in ("MODE_UNSPECIFIED", "STANDARD_REPOSITORY"):
        raise unimplemented(f"repositories of the mode {body['mode']}: only STANDARD_REPOSITORY")
    labels = body.get("labels", {})
    if len(labels) > MOST_LABELS:
        raise invalid(f"A repository has {len(labels)} labels; at most {MOST_LABELS} are allowed.")
    for key, value in labels.items():
        if not LABEL_KEY.fullmatch(key) or not LABEL_VALUE.fullmatch(value):
            raise invalid(
                f'Invalid label "{key}": "{value}": keys begin with a lowercase letter; keys and values have '
                "at most 63 lowercase letters, digits, underscores and dashes."
            )
