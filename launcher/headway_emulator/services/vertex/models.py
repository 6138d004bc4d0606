"""Vertex AI's model registry: models, their versions and aliases, and the export of their artifacts."""

from __future__ import annotations

import random
from collections.abc import Mapping
from typing import Any

from headway_emulator import schema
from headway_emulator.api.listing import Listing
from headway_emulator.api.rest import Call, Rule
from headway_emulator.engine.clock import timestamp
from headway_emulator.engine.etags import check_etag
from headway_emulator.engine.models.artifacts import ArtifactError, Artifacts
from headway_emulator.engine.models.registry import Registry
from headway_emulator.engine.store import Document
from headway_emulator.errors import ApiError, bad_request, invalid, precondition, unimplemented
from headway_emulator.services.vertex.fields import mask, refuse_verb
from headway_emulator.services.vertex.model_rules import check_aliases, check_upload
from headway_emulator.services.vertex.operations import VERSIONS, Operations, version_of
from headway_emulator.world import World

MODELS = Listing("model", "models", orders=("displayName", "createTime", "updateTime"))
MODEL_VERSIONS = Listing("modelVersion", "models", orders=("createTime", "updateTime"))
MODEL_FIELDS = ("displayName", "description", "labels")
VERSION_FIELDS = ("versionDescription", "labels")
UPLOAD = "UploadModelOperationMetadata"
EXPORT = "ExportModelOperationMetadata"


def rules(world: World) -> list[Rule]:
    """The permissions are those of Google's table of IAM permissions for Vertex AI."""
    models = Models(world)
    found = []
    for version in VERSIONS:
        parent = f"/{version}/projects/{{project}}/locations/{{location}}/models"
        one = f"{parent}/{{model}}"
        rows = [
            ("upload", "POST", f"{parent}:upload", models.upload, "upload"),
            ("list", "GET", parent, models.list, "list"),
            ("listVersions", "GET", f"{one}:listVersions", models.list_versions, "list"),
            ("deleteVersion", "DELETE", f"{one}:deleteVersion", models.delete_version, "delete"),
            ("mergeVersionAliases", "POST", f"{one}:mergeVersionAliases", models.merge_aliases, "update"),
            ("export", "POST", f"{one}:export", models.export, "export"),
            ("get", "GET", one, models.get, "get"),
            ("patch", "PATCH", one, models.patch, "update"),
            ("delete", "DELETE", one, models.delete, "delete"),
        ]
        found += [
            Rule(f"models.{name}", verb, path, answer, f"aiplatform.models.{permission}")
            for name, verb, path, answer, permission in rows
        ]
    return found


class Models:
    """The methods of ModelService; versions and aliases are the registry's."""

    def __init__(self, world: World) -> None:
        self._world = world
        self._registry = Registry(world.store, lambda: timestamp(world.clock.now_ns()))
        self._operations = Operations(world)
        self._artifacts = Artifacts(world.settings.storage_url if world.settings else "")

    def upload(self, call: Call) -> Any:
        """A new model, or a new version of parent_model, which is the default where it asks for that."""
        parent, version = self._parent(call), version_of(call)
        body = schema.parse("aiplatform", version, "UploadModelRequest", call.body, "")
        check_upload(body)
        model = body["model"]
        if given := body.get("parentModel", ""):
            name = self._parent_model(parent, given)
        else:
            name = f"{parent}/models/{body.get('modelId') or random.randint(10**18, 9 * 10**18)}"
            self._registry.refuse_existing(name)
        try:
            self._require_files(model.get("artifactUri", ""))
        except ApiError as error:
            return self._operations.failed(name, version, UPLOAD, error)
        document = self._registry.add(name, model, new=not given)
        done = {"model": name, "modelVersionId": document["versionId"]}
        return self._operations.made(name, version, (UPLOAD, {}), ("UploadModelResponse", done))

    def get(self, call: Call) -> Any:
        refuse_verb(call)
        return self._registry.get(*self._name(call))

    def list(self, call: Call) -> Any:
        """The default version of each; `model` in a filter is the model's id."""
        page = MODELS.page(self._world.store, f"{self._parent(call)}/models/", call)
        return _public_page(page)

    def list_versions(self, call: Call) -> Any:
        """Named with their numbers, as documented, newest first."""
        name, _ = self._name(call)
        self._registry.get(name, "")
        return _public_page(MODEL_VERSIONS.page(self._world.store, f"{name}@", call))

    def patch(self, call: Call) -> Any:
        """Of the model, or, where the name has a version, of that version; never of both at once."""
        name, version = self._name(call)
        body = schema.parse("aiplatform", version_of(call), "Model", call.body, "model")
        of_version = version not in ("", "-")
        names = mask(call, {*MODEL_FIELDS, *VERSION_FIELDS})
        allowed = VERSION_FIELDS if of_version else MODEL_FIELDS
        if wrong := [field for field in names if field not in allowed]:
            what = "a model version" if of_version else "a model"
            raise precondition(
                f"{schema.snake(wrong[0])} is no field of {what}: models/ID@VERSION updates the version, "
                "models/ID the model, in two requests."
            )
        check_upload({"model": {"displayName": "kept", **{f: body[f] for f in names if f in body}}})
        with self._world.store.transaction():
            check_etag(body, self._registry.get(name, "" if version == "-" else version))
            return self._registry.update(name, version if of_version else "", body, names)

    def delete(self, call: Call) -> Any:
        name, version = self._name(call)
        if version:
            raise invalid(f"{name}@{version} names a version: delete it with :deleteVersion.")
        self._registry.delete(name)
        return self._operations.deleted(name, version_of(call))

    def delete_version(self, call: Call) -> Any:
        name, version = self._name(call)
        if not version.isdecimal():
            raise invalid("The name of a model version must have its version ID: models/MODEL@VERSION.")
        self._registry.delete_version(name, version)
        return self._operations.deleted(name, version_of(call))

    def merge_aliases(self, call: Call) -> Any:
        name, version = self._name(call)
        if not version.isdecimal():
            raise invalid("The name of a model version must have its version ID: models/MODEL@VERSION.")
        body = schema.parse("aiplatform", version_of(call), "MergeVersionAliasesRequest", call.body, "")
        aliases = body.get("versionAliases", [])
        check_aliases(aliases)
        return self._registry.merge(name, version, aliases)

    def export(self, call: Call) -> Any:
        """Copies the artifact; a container image is not copied."""
        name, number = self._name(call)
        version = version_of(call)
        body = schema.parse("aiplatform", version, "ExportModelRequest", call.body, "")
        model = self._registry.get(name, number)
        prefix = _destination(model, body.get("outputConfig", {}))
        moment = timestamp(self._world.clock.now_ns())
        target = f"{prefix}/model-export-{model['displayName']}-{moment[:-4]}Z"
        try:
            self._artifacts.copy(model["artifactUri"], target)
        except ArtifactError as error:
            return self._operations.failed(name, version, EXPORT, precondition(str(error)))
        metadata = (EXPORT, {"outputInfo": {"artifactOutputUri": target}})
        return self._operations.made(name, version, metadata, ("ExportModelResponse", {}))

    def _require_files(self, folder: str) -> None:
        """All of it is copied at the upload, so it must be there; Google's wording is not established."""
        if not folder:
            return
        try:
            if not self._artifacts.names(folder):
                raise precondition(f'There are no files under "{folder}" to copy.')
        except ArtifactError as error:
            raise precondition(str(error)) from error

    def _parent_model(self, parent: str, given: str) -> str:
        """The named model of this project and location, by either name of the project."""
        words = given.split("@")[0].split("/")
        if len(words) != 6 or words[::2] != ["projects", "locations", "models"]:
            raise invalid(f'Invalid parent_model "{given}": projects/P/locations/L/models/MODEL is expected.')
        name = f"{self._world.location(words[1], words[3])}/models/{words[5]}"
        if not name.startswith(f"{parent}/"):
            raise invalid(f'The parent_model "{given}" is not in the location of the request, {parent}.')
        self._registry.get(name, "")
        return name

    def _parent(self, call: Call) -> str:
        return self._world.location(call.path["project"], call.path["location"])

    def _name(self, call: Call) -> tuple[str, str]:
        """The model's name, and the version or alias after the @, or an empty string."""
        model, _, version = call.path["model"].partition("@")
        return f"{self._parent(call)}/models/{model}", version


def _public_page(page: Document) -> Document:
    """Without the field that only filters use."""
    if "models" in page:
        page["models"] = [
            {key: value for key, value in model.items() if key != "model"} for model in page["models"]
        ]
    return page


def _destination(model: Mapping[str, Any], config: Mapping[str, Any]) -> str:
    """Where the artifact goes, without a slash at the end."""
    formats = {form["id"]: form["exportableContents"] for form in model.get("supportedExportFormats", [])}
    if not formats:
        raise precondition(f"The model {model['name']} is not exportable: it has no artifact_uri.")
    form = config.get("exportFormatId") or next(iter(formats))
    if form not in formats:
        known = ", ".join(formats)
        raise invalid(f'Unsupported export_format_id "{form}". The model supports: {known}.')
    if "imageDestination" in config:
        raise unimplemented("the export of a model's image (outputConfig.imageDestination)")
    prefix = config.get("artifactDestination", {}).get("outputUriPrefix", "")
    place = "output_config.artifact_destination.output_uri_prefix"
    if not prefix.startswith("gs://"):
        raise bad_request([(place, f"Required field is not set: {place}; it must begin with gs://.")])
    if "ARTIFACT" not in formats[form]:
        raise precondition(f'The model {model["name"]} has no artifact to export as "{form}".')
    return str(prefix).rstrip("/")
