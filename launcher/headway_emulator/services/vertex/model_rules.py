"""What ModelService refuses in an upload that its schema allows.

Source: the descriptions of Model, UploadModelRequest, ModelContainerSpec and MergeVersionAliasesRequest in
google-cloud-aiplatform 2.7.0 (aiplatform_v1/types). The wording of Google's messages is not established.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

from headway_emulator.services.vertex.fields import Violation, display_name, gcs_folder, required
from headway_emulator.services.vertex.rules import labels, refused

MODEL_ID = re.compile(r"[a-z_][a-z0-9_-]{0,62}")
ALIAS = re.compile(r"[a-z][a-zA-Z0-9-]{0,126}[a-z0-9]")
DEFAULT = "default"
LONGEST_DEPLOYMENT = 2 * 3600
"""Seconds."""


def check_upload(request: Mapping[str, Any]) -> None:
    """ApiError naming every field that breaks a rule."""
    if "model" not in request:
        raise refused([required("model")])
    model = request["model"]
    violations = [
        *display_name(model, "model"),
        *labels(model.get("labels", {}), "model.labels"),
        *gcs_folder(model.get("artifactUri", ""), "model.artifact_uri"),
        *gcs_folder(model.get("metadataSchemaUri", ""), "model.metadata_schema_uri"),
        *_container(model),
        *_model_id(request),
        *_aliases(model.get("versionAliases", []), "model.version_aliases"),
    ]
    if violations:
        raise refused(violations)


def check_aliases(aliases: Sequence[str]) -> None:
    """Of a merge: an alias after a - is taken away; the default can only be given to another version."""
    if not aliases:
        raise refused([required("version_aliases")])
    place = "version_aliases"
    violations = _aliases([alias.removeprefix("-") for alias in aliases], place)
    if f"-{DEFAULT}" in aliases:
        text = "A model has exactly one default version: give the alias to another version to move it."
        violations.append((place, text))
    if violations:
        raise refused(violations)


def _container(model: Mapping[str, Any]) -> list[Violation]:
    if "containerSpec" not in model:
        return []
    spec, at = model["containerSpec"], "model.container_spec"
    violations = [] if spec.get("imageUri") else [required(f"{at}.image_uri")]
    for name, place in (("predictRoute", "predict_route"), ("healthRoute", "health_route")):
        if not spec.get(name, "/").startswith("/"):
            violations.append((f"{at}.{place}", f'Invalid {place} "{spec[name]}": it must begin with "/".'))
    if spec.get("predictRoute") and spec.get("invokeRoutePrefix"):
        text = "Only one of predict_route and invoke_route_prefix can be set."
        violations.append((f"{at}.invoke_route_prefix", text))
    for i, port in enumerate(spec.get("ports", [])):
        if not 1 <= port.get("containerPort", 0) <= 65535:
            place = f"{at}.ports[{i}].container_port"
            violations.append((place, f"Invalid port in {place}: 1 to 65535."))
    if float(spec.get("deploymentTimeout", "0s").removesuffix("s")) > LONGEST_DEPLOYMENT:
        violations.append((f"{at}.deployment_timeout", "The deployment timeout is limited to 2 hours."))
    return violations


def _model_id(request: Mapping[str, Any]) -> list[Violation]:
    given = request.get("modelId", "")
    if given and not MODEL_ID.fullmatch(given):
        text = f'Invalid model_id "{given}": up to 63 of [a-z0-9_-], the first no number or hyphen.'
        return [("model_id", text)]
    if given and request.get("parentModel"):
        return [("model_id", "model_id names a new model; parent_model an existing one. Give one of them.")]
    return []


def _aliases(aliases: Sequence[str], place: str) -> list[Violation]:
    return [
        (place, f'Invalid version alias "{alias}": it must match {ALIAS.pattern}.')
        for alias in aliases
        if not ALIAS.fullmatch(alias)
    ]
