"""The model registry's versions and aliases."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from itertools import islice
from typing import Any

from headway.errors import InputError
from headway.tracking.mlflow_server import MlflowServer, as_it_is

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


class Registry:
    """The registry of a tracking server. Each method asks it; raises RemoteError where it does not answer.

    Every call is safe to repeat, and is: twice, after a short pause, while the server does not answer.
    """

    def __init__(self, uri: str, environment: Mapping[str, str] = os.environ) -> None:
        self._server = MlflowServer(uri, environment, pauses_s=_PAUSES_S)

    def models(self) -> list[RegisteredModel]:
        """All registered models, by name."""
        pages = self._server.pages(
            "registered-models/search",
            {"max_results": str(_PAGE)},
            lambda page: [_model(one) for one in page.get("registered_models", ())],
        )
        return list(pages)

    def model(self, name: str) -> RegisteredModel:
        """Raises NotFound."""
        return self._server.get(
            "registered-models/get", {"name": name}, lambda reply: _model(reply["registered_model"])
        )

    def holder(self, name: str, alias: str) -> str | None:
        """The version that an alias names, or None."""
        return self.model(name).aliases.get(alias)

    def version(self, name: str, version: str) -> Version:
        """Raises NotFound."""
        return self._server.get(
            "model-versions/get",
            {"name": name, "version": version},
            lambda reply: _version(reply["model_version"]),
        )

    def versions(self, name: str, limit: int) -> list[Version]:
        """The newest versions of a model, newest first."""
        if "'" in name:
            raise InputError(f"{name!r} cannot be looked for: there is a quote in it")
        pages = self._server.pages(
            "model-versions/search",
            {
                "filter": f"name = '{name}'",
                "order_by": "version_number DESC",
                "max_results": str(min(limit, _PAGE)),
            },
            lambda page: [_version(one) for one in page.get("model_versions", ())],
        )
        return list(islice(pages, limit))

    def tag(self, name: str, version: str, tags: Mapping[str, str]) -> None:
        """Set tags of a version."""
        for key, value in tags.items():
            body = {"name": name, "version": version, "key": key, "value": value}
            self._server.post("model-versions/set-tag", body, as_it_is)

    def move(self, name: str, alias: str, version: str) -> None:
        """Let an alias name a version, wherever it was. MLflow has no condition: look just before."""
        body = {"name": name, "alias": alias, "version": version}
        self._server.post("registered-models/alias", body, as_it_is)


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
