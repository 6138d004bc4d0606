"""What Google's front refuses before a method sees the request, in its words: queries and locations.

Sources of the wording: the public error answers of Google APIs that users report, and protobuf's
google/protobuf/util/internal/proto_writer.cc, whose messages the front passes on.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any

from headway_emulator.api.methods import Method
from headway_emulator.api.payload import unbound
from headway_emulator.api.regions import REGIONS
from headway_emulator.errors import ApiError, bad_request, invalid
from headway_emulator.schema import INTEGERS, camel, discovery, integer, snake

REGIONAL_HOST = re.compile(r"(?P<region>[a-z]+-[a-z]+\d+)-\w+\.googleapis\.com(?::\d+)?")
MASK = re.compile(r"[\w.`*/-]+(,\s*[\w.`*/-]+)*")
WHOLE = re.compile(r"-?[0-9]{1,20}")
LOCATION = re.compile(r"[a-z]+(-[a-z]+)+\d+(-[a-z])?|us|eu|europe|asia|global|-")


def check_query(method: Method, given: Mapping[str, str]) -> None:
    """ApiError for a parameter that the method does not have, or a value that is not of its type."""
    violations = []
    for name, value in given.items():
        plain = name.removeprefix("$")
        kind = method.parameters.get(plain) or method.parameters.get(camel(plain))
        if kind is None:
            raise unbound(name)
        if (expected := _expected(kind, value)) is not None:
            place = snake(camel(plain))
            violations.append((place, f"Invalid value at '{place}' ({expected}), {json.dumps(value)}"))
    violations += [("read_mask", text) for text in _unreadable(method, given.get("readMask", ""))]
    if violations:
        raise bad_request(violations)


def check_no_body(method: Method, body: Any) -> None:
    """ApiError for fields in the body of a method that has none."""
    if not method.request and isinstance(body, Mapping) and body:
        raise bad_request(
            [
                ("", f'Invalid JSON payload received. Unknown name "{name}": Cannot find field.')
                for name in body
            ]
        )


def check_location(service: str, host: str, location: str) -> None:
    """ApiError for a location that does not exist, or that the regional host does not serve.

    Of Vertex AI's every one is known; of others only what a region's name looks like.
    """
    of_vertex = service == "aiplatform" and any(map(str.isdigit, location))
    if not LOCATION.fullmatch(location) or (of_vertex and location not in REGIONS):
        raise ApiError(
            "PERMISSION_DENIED", f"Permission denied on 'locations/{location}' (or it may not exist)."
        )
    regional = REGIONAL_HOST.fullmatch(host)
    if regional is not None and location not in (regional["region"], "-"):
        raise invalid(
            "The provided location ID doesn't match the endpoint. "
            f"The valid location ID is `{regional['region']}`."
        )


def _unreadable(method: Method, mask: str) -> list[str]:
    """What a read mask names that the resource, or the resource of the list, does not have."""
    if not mask or mask == "*" or not method.response:
        return []
    schemas = discovery(method.service, method.version)["schemas"]
    properties: Mapping[str, Any] = schemas[method.response].get("properties", {})
    listed = [kind["items"]["$ref"] for kind in properties.values() if "$ref" in kind.get("items", {})]
    if "nextPageToken" in properties and listed:
        properties = schemas[listed[0]]["properties"]
    names = [part.strip().split(".")[0] for part in mask.split(",")]
    return [
        f'Invalid read_mask: "{name}" is not a field.'
        for name in names
        if name != "*" and camel(name) not in properties
    ]


def _expected(kind: Mapping[str, Any], value: str) -> str | None:
    """The type's name where the value is not of it; an empty value is the same as none."""
    if not value or kind.get("repeated"):
        return None
    form = kind.get("format", "")
    if kind["type"] == "integer" or form in INTEGERS:
        fits = WHOLE.fullmatch(value) and integer(value, form) is not None
        return None if fits else f"TYPE_{(form or 'int32').upper()}"
    if kind["type"] == "boolean":
        return None if value in ("true", "false") else "TYPE_BOOL"
    if form == "google-fieldmask":
        return None if MASK.fullmatch(value) else "type.googleapis.com/google.protobuf.FieldMask"
    return None
