"""What Google's front refuses before a method sees the request, in its words: bodies, queries, locations.

Sources of the wording: the public error answers of Google APIs that users report, and protobuf's JSON parser
(google/protobuf/util/internal/json_stream_parser.cc and proto_writer.cc), whose messages the front passes on.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from json import JSONDecodeError
from typing import Any, NoReturn

from starlette.requests import Request

from headway_emulator.api.methods import Method
from headway_emulator.errors import ApiError, bad_request, invalid
from headway_emulator.schema import camel, discovery, snake

MAX_BODY = 10 << 20
"""Bytes; the limit that the front's own message names: 10485760."""
REGIONAL_HOST = re.compile(r"(?P<region>[a-z]+-[a-z]+\d+)-\w+\.googleapis\.com(?::\d+)?")
LOCATION = re.compile(r"[a-z]+(-[a-z]+)+\d+(-[a-z])?|us|eu|europe|asia|global|-")
TOKEN_PATH = "/token"  # noqa: S105 - a path
SHOWN = 20
"""Characters of a broken body that the message shows before and after the place."""
PARSE_ERRORS: Mapping[str, str] = {
    "Expecting ':' delimiter": "Expected : between key:value pair.",
    "Expecting ',' delimiter": "Expected , or } after key:value pair.",
    "Expecting property name enclosed in double quotes": "Expected an object key or }.",
    "Illegal trailing comma before end of object": "Expected an object key or }.",
    "Unterminated string starting at": "Closing quote expected in string.",
    "Extra data": "Parsing terminated before end of input.",
}
"""What Python's parser calls it, and what protobuf's does."""


async def body(request: Request) -> Any:
    """The parsed body, None where there is none; ApiError as the front words it."""
    if int(request.headers.get("content-length") or 0) > MAX_BODY:
        raise invalid(f"Request payload size exceeds the limit: {MAX_BODY} bytes.")
    raw = await request.body()
    if len(raw) > MAX_BODY:
        raise invalid(f"Request payload size exceeds the limit: {MAX_BODY} bytes.")
    if not raw:
        return None
    if request.headers.get("content-type", "").startswith("application/x-www-form-urlencoded"):
        if request.url.path.endswith(TOKEN_PATH):
            return None
        raise _unbound(raw.decode("utf-8", "replace").split("=", 1)[0].split("&", 1)[0])
    try:
        text = raw.decode()
        return json.loads(text, parse_constant=lambda word: _constant(word, text))
    except JSONDecodeError as error:
        raise bad_request([("", _unparsed(error))]) from error
    except UnicodeDecodeError as error:
        raise bad_request(
            [("", "Invalid JSON payload received. Encountered non UTF-8 code points.")]
        ) from error
    except RecursionError as error:
        text = "Invalid JSON payload received. Message too deep. Max recursion depth reached"
        raise bad_request([("", text)]) from error


def check_query(method: Method, given: Mapping[str, str]) -> None:
    """ApiError for a parameter that the method does not have, or a value that is not of its type."""
    violations = []
    for name, value in given.items():
        plain = name.removeprefix("$")
        kind = method.parameters.get(plain) or method.parameters.get(camel(plain))
        if kind is None:
            raise _unbound(name)
        if (expected := _expected(kind, value)) is not None:
            place = snake(camel(plain))
            violations.append((place, f"Invalid value at '{place}' ({expected}), {json.dumps(value)}"))
    violations += [("read_mask", text) for text in _unreadable(method, given.get("readMask", ""))]
    if violations:
        raise bad_request(violations)


def check_location(host: str, location: str) -> None:
    """ApiError for a location that does not exist, or that the regional host does not serve."""
    if not LOCATION.fullmatch(location):
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
    if kind["type"] == "integer" or form in ("int64", "uint64"):
        return None if re.fullmatch(r"-?[0-9]+", value) else f"TYPE_{(form or 'int32').upper()}"
    if kind["type"] == "boolean":
        return None if value in ("true", "false") else "TYPE_BOOL"
    if form == "google-fieldmask":
        fits = re.fullmatch(r"[\w.`*/-]+(,\s*[\w.`*/-]+)*", value)
        return None if fits else "type.googleapis.com/google.protobuf.FieldMask"
    return None


def _unbound(name: str) -> ApiError:
    text = (
        f'Invalid JSON payload received. Unknown name "{name}": Cannot bind query parameter. '
        f"Field '{name}' could not be found in request message."
    )
    return bad_request([("", text)])


def _constant(word: str, text: str) -> NoReturn:
    """NaN and the infinities, which Python's parser would take."""
    raise JSONDecodeError("Expecting value", text, max(text.find(word), 0))


def _unparsed(error: JSONDecodeError) -> str:
    """The reason, the text around the place, and a mark below it."""
    at = error.pos
    if error.msg == "Expecting value" and not error.doc[at:].strip():
        reason = "Unexpected end of string. Expected a value."
    else:
        reason = PARSE_ERRORS.get(error.msg, "Unexpected token.")
    begin = max(0, at - SHOWN)
    around = " ".join(error.doc[begin : at + SHOWN].split("\n"))
    return f"Invalid JSON payload received. {reason}\n{around}\n{' ' * (at - begin)}^"
