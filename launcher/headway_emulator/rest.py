"""The HTTP side of every service: a request becomes a frozen `Call`, a function's answer becomes JSON."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from headway_emulator.errors import ApiError, bad_request

MAX_BODY = 16 << 20


@dataclass(frozen=True)
class Call:
    """A request without its HTTP: what the path named, the query, and the parsed body."""

    path: Mapping[str, str]
    query: Mapping[str, str]
    body: Any
    url: str
    """The request's path, for messages."""
    headers: Mapping[str, str] = field(default_factory=dict)

    @property
    def version(self) -> str:
        return self.path.get("version", "v1")

    def page_size(self, default: int, most: int) -> int:
        given = self.query.get("pageSize", "") or str(default)
        if not given.isdecimal():
            raise ApiError(
                "INVALID_ARGUMENT", f"Invalid value at 'page_size' (TYPE_INT32), {json.dumps(given)}"
            )
        return min(int(given) or default, most)


Answer = Callable[[Call], Any]


@dataclass(frozen=True)
class Rule:
    """One method of a service: its name in Google's discovery document, HTTP verb, path and function.

    `permission` is the IAM permission that Google documents for it.
    """

    name: str
    verb: str
    path: str
    answer: Answer
    permission: str = ""


@dataclass(frozen=True)
class Service:
    """One emulated API; `fidelity` says in a sentence how far it goes."""

    name: str
    fidelity: str
    rules: Sequence[Rule]

    def routes(self) -> list[Route]:
        return [Route(rule.path, _endpoint(rule.answer), methods=[rule.verb]) for rule in self.rules]


def _endpoint(answer: Answer) -> Callable[[Request], Any]:
    async def endpoint(request: Request) -> Response:
        try:
            call = Call(
                path=request.path_params,
                query=dict(request.query_params),
                body=await _body(request),
                url=request.url.path,
                headers=dict(request.headers),
            )
            result = await run_in_threadpool(answer, call)
        except ApiError as error:
            return error_response(error)
        return result if isinstance(result, Response) else JSONResponse(result)

    return endpoint


def error_response(error: ApiError) -> JSONResponse:
    return JSONResponse(error.body(), status_code=error.http_status)


async def _body(request: Request) -> Any:
    if int(request.headers.get("content-length") or 0) > MAX_BODY:
        raise ApiError("INVALID_ARGUMENT", f"Request payload size exceeds the limit: {MAX_BODY} bytes.")
    raw = await request.body()
    if not raw or request.headers.get("content-type", "").startswith("application/x-www-form-urlencoded"):
        return None
    try:
        return json.loads(raw)
    except ValueError as error:
        text = f"Invalid JSON payload received. {error}"
        raise bad_request([("", text)]) from error
