"""Requests checked against Google's published schemas, and brought to one form.

The schemas are the discovery documents inside google-api-python-client. The one form is proto JSON in
camelCase, enums as names, 64-bit integers as strings, output-only fields dropped.
"""

from __future__ import annotations

import base64
import binascii
import importlib.util
import json
import math
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from headway_emulator import facts
from headway_emulator.errors import ApiError, bad_request
from headway_emulator.once import once

PREFIXES = {"aiplatform": "GoogleCloudAiplatformV1"}
"""What the schema names of a service begin with; v1beta1 ends in "beta1" instead."""
PACKAGES: Mapping[str, str] = {
    "aiplatform": "google.cloud.aiplatform",
    "artifactregistry": "google.devtools.artifactregistry",
    "cloudbuild": "google.devtools.cloudbuild",
    "cloudfunctions": "google.cloud.functions",
    "cloudscheduler": "google.cloud.scheduler",
    "logging": "google.logging",
    "monitoring": "google.monitoring",
    "secretmanager": "google.cloud.secretmanager",
}
"""The protobuf package, without its version, in which a service's message types have their names."""
DURATION = re.compile(r"-?\d{1,12}(\.\d{1,9})?s")
TIMESTAMP = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d{1,9})?(Z|[+-]\d\d:\d\d)")
LONGEST_DURATION = 315_576_000_000
"""Seconds, either way (google/protobuf/duration.proto)."""
NUMBER = re.compile(r"-?[0-9]+(\.[0-9]+)?([eE][+-]?[0-9]+)?")
INTEGER = re.compile(r"-?[0-9]{1,20}")
INTEGERS = {"int32", "uint32", "int64", "uint64"}


@once
def discovery(service: str, version: str) -> Mapping[str, Any]:
    """One discovery document; importing googleapiclient itself would cost half a second."""
    document: Mapping[str, Any] = json.loads((_documents() / f"{service}.{version}.json").read_text())
    return document


@once
def documented(service: str, version: str) -> bool:
    """Whether Google publishes that version of the service."""
    known = re.fullmatch(r"[a-z]+", service) and re.fullmatch(r"v\d+\w*", version)
    return bool(known) and (_documents() / f"{service}.{version}.json").is_file()


@once
def _documents() -> Path:
    package = importlib.util.find_spec("googleapiclient")
    if package is None or package.origin is None:
        raise ApiError(
            "INTERNAL", "google-api-python-client is not installed: pip install google-api-python-client"
        )
    return Path(package.origin).parent / "discovery_cache" / "documents"


@once
def enum_numbers() -> Mapping[str, Mapping[str, Any]]:
    """By "Schema.field": the enum's full type name and its names by number."""
    table = facts.table("enums.toml")
    return {
        place: {
            "type": enum["type"],
            "names": {number: name for name, number in enum["values"].items()},
        }
        for enum in table["enum"]
        for place in enum["fields"]
    }


def parse(service: str, version: str, schema: str, body: Any, root: str) -> dict[str, Any]:
    """The body as the short-named schema in its one form; ApiError with every violation otherwise.

    `root` is the request's field that the body fills, such as custom_job: messages name places under it.
    """
    if not isinstance(body, dict | None):
        text = 'Invalid JSON payload received. Unknown name "": Root element must be a message.'
        raise bad_request([("", text)])
    package = f"{PACKAGES.get(service, f'google.{service}')}.{version}"
    begin = prefix(service, version)
    reader = _Reader(discovery(service, version)["schemas"], begin, package)
    parsed = reader.message(begin + schema, body or {}, root)
    if reader.violations:
        raise bad_request(reader.violations)
    return parsed


def prefix(service: str, version: str) -> str:
    """What the names of a version's schemas begin with."""
    known = PREFIXES.get(service, "")
    return known.removesuffix("V1") + "V1beta1" if known and version == "v1beta1" else known


def snake(name: str) -> str:
    return re.sub(r"([A-Z])", r"_\1", name).lower()


def camel(name: str) -> str:
    head, *rest = name.split("_")
    return head + "".join(part[:1].upper() + part[1:] for part in rest)


@dataclass
class _Reader:
    schemas: Mapping[str, Any]
    prefix: str
    package: str
    violations: list[tuple[str, str]] = field(default_factory=list)

    def message(self, schema: str, body: Mapping[str, Any], place: str) -> dict[str, Any]:
        properties = self.schemas[schema].get("properties", {})
        parsed: dict[str, Any] = {}
        for given, value in body.items():
            name = given if given in properties else camel(given)
            if name not in properties:
                self._unknown(given, place, "Cannot find field.")
            elif isinstance(value, list) and properties[name].get("type") not in ("array", "any"):
                self._list(given, properties[name], place)
            elif not _output_only(properties[name]) and value is not None:
                at = f"{place}.{snake(name)}" if place else snake(name)
                result = self._value(properties[name], value, at, f"{self._short(schema)}.{name}")
                if result is not None:
                    parsed[name] = result
        return parsed

    def _short(self, schema: str) -> str:
        return schema.removeprefix(self.prefix)

    def _value(self, kind: Mapping[str, Any], value: Any, at: str, owner: str) -> Any:
        if "$ref" in kind:
            if not isinstance(value, dict):
                return self._wrong(
                    at, f"type.googleapis.com/{self.package}.{self._short(kind['$ref'])}", value
                )
            return self.message(kind["$ref"], value, at)
        if kind["type"] == "array":
            items = value if isinstance(value, list) else [value]
            return [self._value(kind["items"], item, f"{at}[{i}]", owner) for i, item in enumerate(items)]
        if kind["type"] == "object":
            return self._map(kind, value, at, owner)
        if isinstance(value, dict) and kind["type"] != "any":
            return self._object_on_scalar(at)
        if "enum" in kind:
            return self._enum(kind["enum"], value, at, owner)
        return self._scalar(kind, value, at)

    def _map(self, kind: Mapping[str, Any], value: Any, at: str, owner: str) -> Any:
        if not isinstance(value, dict):
            return self._wrong(at, "TYPE_MESSAGE", value)
        inner = kind.get("additionalProperties", {"type": "any"})
        return {
            key: self._value(inner, item, f"{at}[{json.dumps(key)}]", owner) for key, item in value.items()
        }

    def _enum(self, names: list[str], value: Any, at: str, owner: str) -> Any:
        known = enum_numbers().get(owner)
        if isinstance(value, str) and value in names:
            return value
        if isinstance(value, int) and not isinstance(value, bool):
            if known is None:
                raise ApiError(
                    "UNIMPLEMENTED", f"The emulator does not know the numbers of {at}: send its name."
                )
            if value in known["names"]:
                return known["names"][value]
        return self._wrong(at, f"type.googleapis.com/{known['type']}" if known else "TYPE_ENUM", value)

    def _scalar(self, kind: Mapping[str, Any], value: Any, at: str) -> Any:
        form = kind.get("format", "")
        match kind["type"]:
            case "any":
                return value
            case "boolean":
                return value if isinstance(value, bool) else self._wrong(at, "TYPE_BOOL", value)
            case "number":
                number = _number(value)
                return self._wrong(at, "TYPE_DOUBLE", value) if number is None else number
            case "integer":
                return self._integer(value, at, form)
        if form in INTEGERS:
            number = self._integer(value, at, form)
            return None if number is None else str(number)
        return self._text(value, at, form)

    def _integer(self, value: Any, at: str, form: str) -> Any:
        number = integer(value, form)
        return self._wrong(at, f"TYPE_{form.upper() or 'INT32'}", value) if number is None else number

    def _text(self, value: Any, at: str, form: str) -> Any:
        if not isinstance(value, str):
            return self._wrong(at, "TYPE_STRING", value)
        if (unfit := _misformed(form, value)) is not None:
            kind, reason = unfit
            field = camel(at.rsplit(".", 1)[-1])
            return self._say(at, f"type.googleapis.com/google.protobuf.{kind}", f"Field '{field}', {reason}")
        if form == "byte":
            data = _base64(value)
            return self._wrong(at, "TYPE_BYTES", value) if data is None else data
        return value

    def _unknown(self, name: str, place: str, reason: str) -> None:
        where = f" at '{place}'" if place else ""
        text = f'Invalid JSON payload received. Unknown name "{name}"{where}: {reason}'
        self.violations.append((place, text))

    def _list(self, name: str, kind: Mapping[str, Any], place: str) -> None:
        """A list where one value is due; a map is told apart, a Struct is not."""
        if kind.get("additionalProperties", {"type": "any"}).get("type") == "any":
            self._unknown(name, place, "Proto field is not repeating, cannot start list.")
        else:
            self._say(place, "Map", f"Cannot bind a list to map for field '{name}'.")

    def _object_on_scalar(self, at: str) -> None:
        """Told of the message around the field, with the field's name where the type would be."""
        place, _, name = at.rpartition(".")
        self._say(place, name, "Starting an object on a scalar field")

    def _wrong(self, at: str, kind: str, value: Any) -> None:
        self._say(at, kind, json.dumps(value))

    def _say(self, at: str, kind: str, reason: str) -> None:
        where = f" at '{at}'" if at else ""
        self.violations.append((at, f"Invalid value{where} ({kind}), {reason}"))


def _misformed(form: str, value: str) -> tuple[str, str] | None:
    """The message type and protobuf's words for what is wrong with a duration or a time."""
    if form == "google-duration" and not DURATION.fullmatch(value):
        if not value.endswith("s"):
            return "Duration", "Illegal duration format; duration must end with 's'"
        return "Duration", "Invalid duration format, failed to parse seconds"
    if form == "google-duration" and abs(float(value[:-1])) > LONGEST_DURATION:
        return "Duration", "Duration value exceeds limits"
    if form == "google-datetime" and not _is_moment(value):
        return "Timestamp", f"Invalid time format: {value}"
    return None


def _is_moment(text: str) -> bool:
    """Whether it is RFC 3339 and the calendar has it, in UTC too (google/protobuf/timestamp.proto)."""
    if not (found := TIMESTAMP.fullmatch(text)):
        return False
    try:
        datetime.fromisoformat(text.replace(found[1] or "", "", 1)).astimezone(UTC)
    except (ValueError, OverflowError):
        return False
    return True


def _output_only(kind: Mapping[str, Any]) -> bool:
    return bool(kind.get("readOnly"))


def integer(value: Any, form: str) -> int | None:
    """Of the format (int32 where that is ""); proto JSON allows 4, 4.0, 4e0 and "4". None for all else."""
    number = _number(value)
    if number is None or number != int(number):
        return None
    bits, low = (64, 0) if form.endswith("64") else (32, 0)
    if not form.startswith("u"):
        bits, low = bits - 1, -(1 << (bits - 1))
    return int(number) if low <= number < 1 << bits else None


def _number(value: Any) -> int | float | None:
    """A finite number, or the text of one; an integer stays one, whose last digits a double would lose."""
    if isinstance(value, str):
        if not NUMBER.fullmatch(value):
            return None
        value = int(value) if INTEGER.fullmatch(value) else float(value)
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        return None
    return value


def _base64(text: str) -> str | None:
    """Standard and padded, from either alphabet with padding or without; None for what is neither."""
    plain = text.replace("-", "+").replace("_", "/").rstrip("=")
    try:
        data = base64.b64decode(plain + "=" * (-len(plain) % 4), validate=True)
    except (binascii.Error, ValueError):  # ValueError: characters beyond ASCII
        return None
    return base64.b64encode(data).decode()
