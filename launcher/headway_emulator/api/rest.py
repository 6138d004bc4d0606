"""The HTTP side of every service: a request becomes a frozen `Call`, a function's answer becomes JSON."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

from starlette.concurrency import run_in_threadpool
from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route
from starlette.types import Receive, Scope, Send

from headway_emulator.api import faulting, front, methods, partial, passage, payload, replies
from headway_emulator.errors import ApiError, invalid, unimplemented
from headway_emulator.schema import integer


@dataclass(frozen=True)
class Call:
    """A request without its HTTP: what the path named, the query, and the parsed body."""

    path: Mapping[str, str]
    query: Mapping[str, str]
    body: Any
    url: str
    """The request's path, for messages."""
    headers: Mapping[str, str] = field(default_factory=dict)
    every: Mapping[str, Sequence[str]] = field(default_factory=dict)
    """The query again, with all values of a parameter that is given more than once."""

    @property
    def version(self) -> str:
        return self.path.get("version", "v1")

    def page_size(self, default: int, most: int) -> int:
        given = self.query.get("pageSize", "") or "0"
        size = integer(given, "int32")
        if size is None or size < 0:
            raise invalid(f"Invalid value at 'page_size' (TYPE_INT32), {json.dumps(given)}")
        return min(size or default, most)


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


class App(Protocol):
    """An ASGI application below a service's prefix, for what is no method with JSON in and out."""

    name: str
    path: str
    """With {variables}; any verb."""
    permission: str

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None: ...

    async def close(self) -> None:
        """With the server; it may be called again after that."""


@dataclass(frozen=True)
class Service:
    """One emulated API; `fidelity` says in a sentence how far it goes."""

    name: str
    fidelity: str
    rules: Sequence[Rule]
    apps: Sequence[App] = ()

    def routes(self) -> list[Route]:
        return [Route(rule.path, _Endpoint(self.name, rule), methods=[rule.verb]) for rule in self.rules]


class _Endpoint:
    """A rule as an ASGI application: faults around it, Google's front before it, its reply checked."""

    def __init__(self, service: str, rule: Rule) -> None:
        self._service = service
        self._rule = rule

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        passage.name(scope, f"{self._service}.{self._rule.name}", self._rule.permission)
        await faulting.guard(self._respond, scope, receive, send)

    async def _respond(self, scope: Scope, receive: Receive, send: Send) -> None:
        request = Request(scope, receive)
        here = passage.of(scope)
        try:
            call = Call(
                path=request.path_params,
                query=dict(request.query_params),
                body=await payload.body(request),
                url=scope["path"],
                headers=dict(request.headers),
                every={name: request.query_params.getlist(name) for name in request.query_params},
            )
            result = await run_in_threadpool(self._result, call, here is not None and here.checks_replies)
        except ApiError as error:
            result = error_response(error)
        except ClientDisconnect:
            return
        response = result if isinstance(result, Response) else JSONResponse(result)
        await response(scope, receive, send)

    def _result(self, call: Call, checks_reply: bool) -> Any:
        """What the rule's function gives; ApiError INTERNAL where that is not what Google would send."""
        self._refuse_verb(call.url)
        method = methods.of_rule(self._service, self._rule.verb, self._rule.path)
        if "location" in call.path:
            itself = self._rule.path.endswith("/{location}")  # which answers by itself whether it is there
            service = "" if itself else self._service
            front.check_location(service, call.headers.get("host", ""), call.path["location"])
        if method is not None:
            front.check_query(method, call.query)
            front.check_no_body(method, call.body)
        result = self._rule.answer(call)
        if method is None or isinstance(result, Response):
            return result
        if checks_reply:
            _check(method, result)
        fields = call.query.get("fields") or call.query.get("$fields")
        return partial.selected(fields, method, result) if fields else result

    def _refuse_verb(self, url: str) -> None:
        """UNIMPLEMENTED where the rule's last {variable} took ID:VERB, another method of Google's."""
        if ":" not in url.rsplit("/", 1)[1] or not self._rule.path.endswith("}"):
            return
        path = url.removeprefix(f"/{self._service}")
        if (other := methods.find(self._service, self._rule.verb, path)) is not None:
            raise unimplemented(other.name)


def _check(method: methods.Method, result: Any) -> None:
    """ApiError INTERNAL, and a line in the log, where Google would not send such a reply."""
    if wrong := replies.violations(method, result):
        text = f"The reply to {method.name} is not as Google's schema says: {'; '.join(wrong)}"
        sys.stderr.write(f"headway-emulator: {text}\n")
        raise ApiError("INTERNAL", text)


def error_response(error: ApiError) -> JSONResponse:
    return JSONResponse(error.body(), status_code=error.http_status)
