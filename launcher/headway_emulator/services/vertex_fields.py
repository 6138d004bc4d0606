"""The fields that many resources of Vertex AI share: their limits, and patching by a mask.

Source: the descriptions in Google's discovery document of aiplatform v1, November 2026. The wording of the
messages is not established.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from typing import Any

from headway_emulator.engine.store import Document
from headway_emulator.errors import invalid
from headway_emulator.rest import Call
from headway_emulator.schema import camel, snake

Violation = tuple[str, str]

DISPLAY_NAME_LENGTH = 128
LABELS = 64
LABEL_KEY = re.compile(r"[a-z][a-z0-9_-]{0,62}")
LABEL_VALUE = re.compile(r"[a-z0-9_-]{0,63}")


def required(field: str) -> Violation:
    return field, f"Required field is not set: {field}."


def display_name(body: Mapping[str, Any], root: str, *, needed: bool = True) -> list[Violation]:
    """At most 128 characters; `root` is the request's field that holds the body."""
    name = body.get("displayName", "")
    if not name:
        return [required(f"{root}.display_name")] if needed else []
    if len(name) > DISPLAY_NAME_LENGTH:
        text = f"The display name has {len(name)} characters; at most {DISPLAY_NAME_LENGTH} are allowed."
        return [(f"{root}.display_name", text)]
    return []


def labels(body: Mapping[str, Any], root: str) -> list[Violation]:
    """At most 64 of them, each of lowercase letters, digits, _ and -."""
    given = body.get("labels", {})
    rule = "at most 63 lowercase letters, digits, _ and -"
    bad = [
        (f"{root}.labels", f'Invalid label "{key}": "{value}": keys begin with a letter; each has {rule}.')
        for key, value in given.items()
        if not LABEL_KEY.fullmatch(key) or not LABEL_VALUE.fullmatch(value)
    ]
    if len(given) > LABELS:
        bad.append((f"{root}.labels", f"There are {len(given)} labels; at most {LABELS} are allowed."))
    return bad


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
