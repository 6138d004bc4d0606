"""The model registry's versions and aliases, over MLflow's REST API: importing its client takes seconds."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from headway.errors import InputError, NotFound, Refused, RemoteError

_TIMEOUT_S = 10.0
_PAUSES_S = (0.5, 2.0)
_PAGE = 200


@dataclass(frozen=True)
class Version:
    """A version of a registered model: its number, when it was made (UTC), its aliases and tags."""

    name: str
    version: str
    created: datetime | None
    tags: Mapping[str, str] = field(default_factory=dict)
    aliases: tuple[str, ...] = ()


@dataclass(frozen=True)
class RegisteredModel:
    """A registered model: alias -> version, and its newest version."""

    name: str
    aliases: Mapping[str, str]
    newest: str | None
    updated: datetime | None


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


class Registry:
    """The registry of a tracking server. Each method asks it; raises RemoteError where it does not answer.

    Every call is safe to repeat, and is: twice, after a short pause, while the server does not answer.
    """

    def __init__(self, uri: str, environment: Mapping[str, str] = os.environ) -> None:
        self._uri = uri.rstrip("/")
        self._login = login(environment)

    def models(self) -> list[RegisteredModel]:
        """All registered models, by name."""
        return [_model(one) for one in self._pages("registered-models/search", "registered_models", {})]

    def model(self, name: str) -> RegisteredModel:
        """Raises NotFound."""
        reply = self._call("GET", "registered-models/get", {"name": name})
        return _model(reply["registered_model"])

    def holder(self, name: str, alias: str) -> str | None:
        """The version that an alias names, or None."""
        return self.model(name).aliases.get(alias)

    def version(self, name: str, version: str) -> Version:
        """Raises NotFound."""
        reply = self._call("GET", "model-versions/get", {"name": name, "version": version})
        return _version(reply["model_version"])

    def versions(self, name: str, limit: int) -> list[Version]:
        """The newest versions of a model, newest first."""
        if "'" in name:
            raise InputError(f"{name!r} cannot be looked for: there is a quote in it")
        query = {"filter": f"name = '{name}'", "order_by": "version_number DESC"}
        found: list[Version] = []
        for one in self._pages("model-versions/search", "model_versions", query, min(limit, _PAGE)):
            found.append(_version(one))
            if len(found) == limit:
                break
        return found

    def tag(self, name: str, version: str, tags: Mapping[str, str]) -> None:
        """Set tags of a version."""
        for key, value in tags.items():
            body = {"name": name, "version": version, "key": key, "value": value}
            self._call("POST", "model-versions/set-tag", body)

    def move(self, name: str, alias: str, version: str) -> None:
        """Let an alias name a version, wherever it was. MLflow has no condition: look just before."""
        body = {"name": name, "alias": alias, "version": version}
        self._call("POST", "registered-models/alias", body)

    def _pages(
        self, path: str, key: str, query: Mapping[str, str], size: int = _PAGE
    ) -> Iterator[dict[str, Any]]:
        token = ""
        while True:
            asked = {**query, "max_results": str(size), **({"page_token": token} if token else {})}
            page = self._call("GET", path, asked)
            yield from page.get(key, [])
            token = page.get("next_page_token", "")
            if not token:
                return

    def _call(self, method: str, path: str, values: Mapping[str, str]) -> dict[str, Any]:
        for pause in _PAUSES_S:
            try:
                return self._once(method, path, values)
            except (Refused, NotFound):
                raise
            except RemoteError:
                time.sleep(pause)
        return self._once(method, path, values)

    def _once(self, method: str, path: str, values: Mapping[str, str]) -> dict[str, Any]:
        import requests

        given: dict[str, Any] = {"params": values} if method == "GET" else {"json": values}
        try:
            reply = requests.request(
                method,
                f"{self._uri}/api/2.0/mlflow/{path}",
                timeout=_TIMEOUT_S,
                **given,
                **self._login,
            )
        except requests.RequestException as error:
            kind = type(error).__name__
            raise RemoteError(f"the MLflow server at {self._uri} does not answer ({kind})") from error
        try:
            document = reply.json()
        except ValueError:
            document = None
        if not isinstance(document, dict):
            raise RemoteError(
                f"the MLflow server at {self._uri} answered {reply.status_code}, and no JSON object",
                hint="is it the address of an MLflow server, and is a login needed?",
            )
        if reply.ok:
            return document
        said = f"the MLflow server at {self._uri}: {document.get('message', reply.reason)}"
        if document.get("error_code") == "RESOURCE_DOES_NOT_EXIST" or reply.status_code == 404:
            raise NotFound(said)
        raise (Refused if reply.status_code < 500 else RemoteError)(said)


def _model(one: Mapping[str, Any]) -> RegisteredModel:
    newest = max((int(version["version"]) for version in one.get("latest_versions", ())), default=None)
    return RegisteredModel(
        name=one["name"],
        aliases={alias["alias"]: str(alias["version"]) for alias in one.get("aliases", ())},
        newest=None if newest is None else str(newest),
        updated=_time(one.get("last_updated_timestamp")),
    )


def _version(one: Mapping[str, Any]) -> Version:
    return Version(
        name=one["name"],
        version=str(one["version"]),
        created=_time(one.get("creation_timestamp")),
        tags={tag["key"]: tag.get("value", "") for tag in one.get("tags", ())},
        aliases=tuple(one.get("aliases", ())),
    )


def _time(milliseconds: Any) -> datetime | None:
    return None if milliseconds is None else datetime.fromtimestamp(int(milliseconds) / 1000, UTC)
