"""gRPC to REST and back, as Google's own front does it: by the method's HTTP rule (google/api/http.proto)."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlencode

from google.api_core import path_template, rest_helpers
from google.protobuf import json_format
from google.protobuf.message import DecodeError, Message
from google.rpc import code_pb2, status_pb2

from headway_emulator.transparent.methods import Method, know
from headway_emulator.transparent.rules import PATHS

CODE_OF_NAME: Mapping[str, int] = dict(code_pb2.Code.items())
CODE_OF_HTTP: Mapping[int, int] = {
    400: code_pb2.INVALID_ARGUMENT,
    401: code_pb2.UNAUTHENTICATED,
    403: code_pb2.PERMISSION_DENIED,
    404: code_pb2.NOT_FOUND,
    409: code_pb2.ABORTED,
    412: code_pb2.FAILED_PRECONDITION,
    416: code_pb2.OUT_OF_RANGE,
    429: code_pb2.RESOURCE_EXHAUSTED,
    499: code_pb2.CANCELLED,
    500: code_pb2.INTERNAL,
    501: code_pb2.UNIMPLEMENTED,
    503: code_pb2.UNAVAILABLE,
    504: code_pb2.DEADLINE_EXCEEDED,
}
"""For an error that names no code of its own, such as Cloud Storage's (google/rpc/code.proto)."""


class Failed(Exception):
    """An answer other than success."""

    def __init__(self, status: status_pb2.Status) -> None:
        super().__init__(status.message)
        self.status = status


@dataclass(frozen=True)
class Rest:
    """The same call as a REST client sends it; `path` is percent-encoded, with its query."""

    verb: str
    path: str
    body: bytes | None


def to_rest(method: Method, request: bytes, prefix: str) -> Rest:
    """Failed INVALID_ARGUMENT where the message does not fit any of the method's paths."""
    try:
        message = method.request.FromString(request)
        found = path_template.transcode([dict(rule) for rule in method.rules], message)
    except DecodeError as error:
        raise failed(code_pb2.INTERNAL, f"The request is no {method.request.__name__}.") from error
    except ValueError as error:
        raise failed(code_pb2.INVALID_ARGUMENT, _unfit(method)) from error
    path = found["uri"]
    for spelled, ours in PATHS.items():
        path = path.replace(spelled, ours)
    query = rest_helpers.flatten_query_params(_json(found["query_params"]), strict=True)
    asked = f"?{urlencode(query)}" if query else ""
    body = json.dumps(_json(found["body"])).encode() if "body" in found else None
    return Rest(found["method"].upper(), f"{method.prefix or prefix}{path}{asked}", body)


def from_rest(method: Method, http_status: int, content: bytes) -> bytes:
    """The reply as gRPC sends it; Failed where it is an error."""
    try:
        document = json.loads(content or b"{}")
    except ValueError:
        document = None
    if not 200 <= http_status < 300:
        raise Failed(status_of(http_status, document, content))
    for type_url in _types(document):
        know(type_url)
    try:
        reply = json_format.ParseDict(document or {}, method.reply(), ignore_unknown_fields=True)
    except (json_format.ParseError, TypeError) as error:
        text = f"The emulator's answer to {method.name} is no {method.reply.__name__}: {error}"
        raise failed(code_pb2.INTERNAL, text) from error
    serialized: bytes = reply.SerializeToString()
    return serialized


def status_of(http_status: int, document: Any, content: bytes = b"") -> status_pb2.Status:
    """The google.rpc.Status that an error's JSON stands for, details included."""
    error = document.get("error", {}) if isinstance(document, dict) else {}
    if not isinstance(error, dict):
        error = {}
    name = error.get("status", "")
    code = CODE_OF_NAME.get(name, CODE_OF_HTTP.get(http_status, code_pb2.UNKNOWN))
    message = error.get("message") or content.decode(errors="replace") or f"HTTP status {http_status}"
    status = status_pb2.Status(code=code, message=message)
    for detail in error.get("details", ()):
        know(str(detail.get("@type", "")))
        json_format.ParseDict(detail, status.details.add(), ignore_unknown_fields=True)
    return status


def failed(code: int, message: str) -> Failed:
    return Failed(status_pb2.Status(code=code, message=message))


def _json(message: Any) -> Any:
    """camelCase names, enum names, int64 as text; a body may be a list or a scalar field."""
    if isinstance(message, Message):
        return json_format.MessageToDict(message)
    return message


def _types(document: Any) -> Iterator[str]:
    """The type of every Any in it."""
    if isinstance(document, dict):
        if isinstance(found := document.get("@type"), str):
            yield found
        for value in document.values():
            yield from _types(value)
    elif isinstance(document, list):
        for value in document:
            yield from _types(value)


def _unfit(method: Method) -> str:
    """Names the paths, as nothing in the request does."""
    paths = " or ".join(dict.fromkeys(rule["uri"] for rule in method.rules))
    return f"Invalid resource field value in the request: {method.name} wants {paths}."
