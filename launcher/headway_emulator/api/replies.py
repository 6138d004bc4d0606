"""The emulator's own replies against Google's published schemas: what a client could stumble over shows here.

Stricter than what Google's clients read, and as strict as what Google sends: enums as names, 64-bit integers
as strings, timestamps in UTC, no field that the schema does not have.
"""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Iterator, Mapping
from typing import Any

from headway_emulator.api.methods import Method
from headway_emulator.schema import discovery

TIMESTAMP = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d{3}|\.\d{6}|\.\d{9})?Z")
DURATION = re.compile(r"-?\d+(\.\d{3}|\.\d{6}|\.\d{9})?s")
LONG = re.compile(r"-?(0|[1-9]\d*)")
FORMS: Mapping[str, re.Pattern[str]] = {
    "google-datetime": TIMESTAMP,
    "date-time": TIMESTAMP,
    "google-duration": DURATION,
    "int64": LONG,
    "uint64": LONG,
}
TYPE_URL = "type.googleapis.com/"


def violations(method: Method, reply: Any) -> list[str]:
    """Each place in the reply that is not as the method's schema says, with what is wrong there."""
    schemas = discovery(method.service, method.version)["schemas"]
    if not method.response:
        return []
    return list(_Checker(schemas).message(method.response, reply, "reply"))


class _Checker:
    def __init__(self, schemas: Mapping[str, Any]) -> None:
        self._schemas = schemas

    def message(self, schema: str, value: Any, at: str) -> Iterator[str]:
        if not isinstance(value, dict):
            yield f"{at}: {_short(value)} where a {schema} is due"
            return
        properties = self._schemas[schema].get("properties", {})
        operation = {"done", "response", "metadata"} <= properties.keys()
        for name, inner in value.items():
            if name not in properties:
                yield f"{at}.{name}: {schema} has no such field"
            elif operation and name in ("response", "metadata"):
                yield from self._any(inner, f"{at}.{name}")
            else:
                yield from self._value(properties[name], inner, f"{at}.{name}")

    def _any(self, value: Any, at: str) -> Iterator[str]:
        """A message of the type that it names: clients refuse one without a name, or with unknown fields."""
        if not isinstance(value, dict) or not str(value.get("@type", "")).startswith(TYPE_URL):
            yield f"{at}: without an @type that begins with {TYPE_URL}"
            return
        rest = {name: inner for name, inner in value.items() if name != "@type"}
        if (schema := self._named(value["@type"].removeprefix(TYPE_URL))) is not None:
            yield from self.message(schema, rest, at)
        elif value["@type"].endswith("google.protobuf.Empty") and rest:
            yield f"{at}: an Empty with fields"

    def _named(self, full_name: str) -> str | None:
        """The schema of google.cloud.aiplatform.v1.X is GoogleCloudAiplatformV1X, or simply X."""
        joined = "".join(part[:1].upper() + part[1:] for part in full_name.split("."))
        return next((name for name in (joined, full_name.rsplit(".", 1)[-1]) if name in self._schemas), None)

    def _value(self, kind: Mapping[str, Any], value: Any, at: str) -> Iterator[str]:
        if "$ref" in kind:
            yield from self.message(kind["$ref"], value, at)
        elif kind["type"] == "array":
            if not isinstance(value, list):
                yield f"{at}: {_short(value)} where a list is due"
                return
            for index, item in enumerate(value):
                yield from self._value(kind["items"], item, f"{at}[{index}]")
        elif kind["type"] == "object":
            if not isinstance(value, dict):
                yield f"{at}: {_short(value)} where a map is due"
                return
            inner = kind.get("additionalProperties", {"type": "any"})
            for key, item in value.items():
                yield from self._value(inner, item, f"{at}[{key!r}]")
        elif (wrong := _scalar(kind, value)) is not None:
            yield f"{at}: {_short(value)} where {wrong} is due"


def _scalar(kind: Mapping[str, Any], value: Any) -> str | None:
    """What is due, where the value is something else."""
    if "enum" in kind:
        return None if value in kind["enum"] else f"one of {', '.join(kind['enum'][:4])}, ..."
    whole = isinstance(value, int) and not isinstance(value, bool)
    match kind["type"]:
        case "any":
            return None
        case "boolean":
            return None if isinstance(value, bool) else "a boolean"
        case "integer":
            return None if whole else "an integer"
        case "number":
            return None if whole or isinstance(value, float) else "a number"
    form = kind.get("format", "")
    if not isinstance(value, str):
        return f"a string ({form})" if form else "a string"
    if form in FORMS and not FORMS[form].fullmatch(value):
        return f"a {form}"
    return "base64" if form == "byte" and not _base64(value) else None


def _base64(text: str) -> bool:
    try:
        base64.b64decode(text, validate=True)
    except binascii.Error:
        return False
    return True


def _short(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 60 else text[:57] + "..."
