"""Google's error answer: a google.rpc.Status as JSON, with the HTTP status that belongs to its code."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

HTTP_OF_STATUS: Mapping[str, int] = {
    "INVALID_ARGUMENT": 400,
    "FAILED_PRECONDITION": 400,
    "OUT_OF_RANGE": 400,
    "UNAUTHENTICATED": 401,
    "PERMISSION_DENIED": 403,
    "NOT_FOUND": 404,
    "ALREADY_EXISTS": 409,
    "ABORTED": 409,
    "RESOURCE_EXHAUSTED": 429,
    "CANCELLED": 499,
    "INTERNAL": 500,
    "UNIMPLEMENTED": 501,
    "UNAVAILABLE": 503,
    "DEADLINE_EXCEEDED": 504,
}
"""google.rpc.Code names and their HTTP status (google/rpc/code.proto)."""

RPC_CODE: Mapping[str, int] = {
    "CANCELLED": 1,
    "INVALID_ARGUMENT": 3,
    "DEADLINE_EXCEEDED": 4,
    "NOT_FOUND": 5,
    "RESOURCE_EXHAUSTED": 8,
    "FAILED_PRECONDITION": 9,
    "INTERNAL": 13,
    "UNAVAILABLE": 14,
}
"""The numbers of google.rpc.Code used inside resources, for instance in CustomJob.error."""


class ApiError(Exception):
    """An answer other than success; `status` is a name of google.rpc.Code."""

    def __init__(self, status: str, message: str, details: Sequence[Mapping[str, Any]] = ()) -> None:
        super().__init__(message)
        self.status = status
        self.message = message
        self.details = tuple(details)

    @property
    def http_status(self) -> int:
        return HTTP_OF_STATUS[self.status]

    def body(self) -> dict[str, Any]:
        """The JSON document that Google's REST front sends."""
        error: dict[str, Any] = {"code": self.http_status, "message": self.message, "status": self.status}
        if self.details:
            error["details"] = [dict(detail) for detail in self.details]
        return {"error": error}


def bad_request(violations: Sequence[tuple[str, str]]) -> ApiError:
    """INVALID_ARGUMENT with one (field, description) for each violation, as Google's front sends it."""
    detail = {
        "@type": "type.googleapis.com/google.rpc.BadRequest",
        "fieldViolations": [
            {"field": field, "description": text} if field else {"description": text}
            for field, text in violations
        ],
    }
    return ApiError("INVALID_ARGUMENT", "\n".join(text for _, text in violations), [detail])


def invalid(message: str) -> ApiError:
    return ApiError("INVALID_ARGUMENT", message)


def not_found(name: str) -> ApiError:
    return ApiError("NOT_FOUND", f'Resource "{name}" was not found.')


def precondition(message: str) -> ApiError:
    return ApiError("FAILED_PRECONDITION", message)


def unimplemented(what: str) -> ApiError:
    return ApiError("UNIMPLEMENTED", f"The emulator does not implement {what}.")
