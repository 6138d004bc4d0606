"""The fields that many resources of Vertex AI share: their limits, and patching by a mask.

Source: the descriptions in Google's discovery document of aiplatform v1, November 2026. The wording of the
messages is not established.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from typing import Any

from headway_emulator.api import methods
from headway_emulator.api.rest import Call
from headway_emulator.engine.store import Document
from headway_emulator.errors import invalid, not_found, unimplemented
from headway_emulator.schema import camel, snake

Violation = tuple[str, str]

DISPLAY_NAME_LENGTH = 128


def required(field: str) -> Violation:
    return field, "Required field is not set."


def display_name(body: Mapping[str, Any], root: str, *, needed: bool = True) -> list[Violation]:
    """At most 128 characters; `root` is the request's field that holds the body."""
    name = body.get("displayName", "")
    if not name:
        return [required(f"{root}.display_name")] if needed else []
    if len(name) > DISPLAY_NAME_LENGTH:
        text = f"The display name has {len(name)} characters; at most {DISPLAY_NAME_LENGTH} are allowed."
        return [(f"{root}.display_name", text)]
    return []


def refuse_verb(call: Call) -> None:
    """A read of ID:VERB is a method that no rule has taken: 501 with its name, 404 where Google has none."""
    if ":" in call.url.rsplit("/", 1)[1]:
        method = methods.find("aiplatform", "GET", call.url[call.url.index("/v1") :])
        raise unimplemented(method.name) if method is not None else not_found(call.url)


def gcs_folder(uri: str, field: str) -> list[Violation]:
    """A folder of Cloud Storage, or nothing."""
    if uri and not re.fullmatch(r"gs://[^/]+(/.*)?", uri):
        return [(field, f'Invalid Cloud Storage URI "{uri}" in {field}: it must begin with gs://.')]
    return []


def mask(call: Call, allowed: Collection[str], *, needed: bool = True) -> list[str]:
    """The fields of updateMask in camelCase; INVALID_ARGUMENT for one that cannot be changed."""
    text = call.query.get("updateMask", "")
    if not text and needed:
        raise invalid("Required field is not set: update_mask.")
    names = [camel(part.strip()) for part in text.split(",") if part.strip()]
    if names == ["*"] or not names:
        return list(allowed)
    for name in names:
        if name not in allowed:
            known = ", ".join(sorted(snake(known) for known in allowed))
            raise invalid(f'Invalid update_mask: "{snake(name)}" cannot be updated. It takes: {known}.')
    return names


def patched(current: Document, body: Mapping[str, Any], names: Collection[str]) -> Document:
    """The document with those fields as the body has them; a field that the body lacks is cleared."""
    kept = {key: value for key, value in current.items() if key not in names}
    return kept | {name: body[name] for name in names if name in body}
