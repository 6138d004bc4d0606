"""An MLflow server over its REST API: importing MLflow's own client takes seconds."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, TypeVar

from headway.errors import NotFound, Refused, RemoteError

T = TypeVar("T")
Document = dict[str, Any]


def login(environment: Mapping[str, str]) -> dict[str, Any]:
    """What MLflow's own client would use, as `requests` takes it: login and certificates.

    MLFLOW_TRACKING_TOKEN, or _USERNAME and _PASSWORD; _SERVER_CERT_PATH, _CLIENT_CERT_PATH, _INSECURE_TLS.
    """

    def given(name: str) -> str | None:
        return environment.get(f"MLFLOW_TRACKING_{name}") or None

    known: dict[str, Any] = {}
    if token := given("TOKEN"):
        known["headers"] = {"Authorization": f"Bearer {token}"}
    elif (name := given("USERNAME")) and (password := given("PASSWORD")):
        known["auth"] = (name, password)
    if authority := given("SERVER_CERT_PATH"):
        known["verify"] = authority
    elif (given("INSECURE_TLS") or "").lower() in ("true", "1"):
        known["verify"] = False
    if certificate := given("CLIENT_CERT_PATH"):
        known["cert"] = certificate
    return known


def as_it_is(reply: Document) -> Document:
    """The whole answer, where a caller takes nothing out of it."""
    return reply


class MlflowServer:
    """One server. Each call gives what `take` finds in the answer.

    Raises NotFound, Refused, and RemoteError where the server does not answer, or with something else than
    MLflow's documents: `take` need not look whether all is there.
    """

    def __init__(
        self,
        uri: str,
        environment: Mapping[str, str],
        *,
        pauses_s: Sequence[float] = (),
        timeout_s: float = 10.0,
    ) -> None:
        """`pauses_s`: each call is repeated after them while no answer comes; only where that is safe."""
        self.uri = uri.rstrip("/")
        self._timeout_s = timeout_s
        self._login = login(environment)
        self._pauses_s = pauses_s

    def get(self, path: str, query: Mapping[str, str], take: Callable[[Document], T]) -> T:
        return self._call("GET", path, query, take)

    def post(self, path: str, body: Mapping[str, Any], take: Callable[[Document], T]) -> T:
        return self._call("POST", path, body, take)

    def pages(
        self, path: str, query: Mapping[str, str], take: Callable[[Document], Sequence[T]]
    ) -> Iterator[T]:
        """What `take` finds in each page, until there is none any more."""
        token, named = "", set[str]()
        while True:
            asked = {**query, **({"page_token": token} if token else {})}
            found, following = self.get(path, asked, lambda page: (take(page), _next(page)))
            yield from found
            if not following or following in named:  # a server that names a page again has no more
                return
            named.add(following)
            token = following

    def _call(self, method: str, path: str, values: Mapping[str, Any], take: Callable[[Document], T]) -> T:
        for pause in self._pauses_s:
            try:
                return self._taken(method, path, values, take)
            except (Refused, NotFound):
                raise
            except RemoteError:
                time.sleep(pause)
        return self._taken(method, path, values, take)

    def _taken(self, method: str, path: str, values: Mapping[str, Any], take: Callable[[Document], T]) -> T:
        reply = self._once(method, path, values)
        try:
            return take(reply)
        except (LookupError, TypeError, ValueError, AttributeError) as error:
            raise RemoteError(
                f"the MLflow server at {self.uri} answered {path} otherwise than MLflow does ({error!r})",
                hint="is it the address of an MLflow server, of a version that headway knows?",
            ) from error

    def _once(self, method: str, path: str, values: Mapping[str, Any]) -> Document:
        import requests

        given: dict[str, Any] = {"params": values} if method == "GET" else {"json": values}
        try:
            reply = requests.request(
                method, f"{self.uri}/api/2.0/mlflow/{path}", timeout=self._timeout_s, **given, **self._login
            )
        except requests.RequestException as error:
            kind = type(error).__name__
            raise RemoteError(f"the MLflow server at {self.uri} does not answer ({kind})") from error
        try:
            document = reply.json()
        except ValueError:
            document = None
        if not isinstance(document, dict):
            raise RemoteError(
                f"the MLflow server at {self.uri} answered {reply.status_code}, and no JSON object",
                hint="is it the address of an MLflow server, and is a login needed?",
            )
        if reply.ok:
            return document
        said = f"the MLflow server at {self.uri}: {document.get('message', reply.reason)}"
        if document.get("error_code") == "RESOURCE_DOES_NOT_EXIST" or reply.status_code == 404:
            raise NotFound(said)
        raise (Refused if reply.status_code < 500 else RemoteError)(said)


def _next(page: Document) -> str:
    return str(page.get("next_page_token") or "")
