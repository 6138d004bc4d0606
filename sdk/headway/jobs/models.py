"""Registered models: which version is champion, how it came to be, and its change by hand."""

from __future__ import annotations

import getpass
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Any

from pydantic import BaseModel

from headway.errors import InputError, NotFound, RemoteError
from headway.spec import layout
from headway.spec.place import Place
from headway.spec.promotion import CHAMPION, is_alias, tag_replaced
from headway.tracking.registry import RegisteredModel, Registry, Version


class _View(BaseModel):
    """A document of `launch models`; None is what is not known."""

    def document(self) -> dict[str, Any]:
        return self.model_dump(mode="json")


class ModelView(_View):
    """A registered model: which version each alias names, its newest version, its last change (UTC)."""

    name: str
    aliases: dict[str, str]
    newest: str | None
    updated: datetime | None


class VersionView(_View):
    """A version: the run that made it, where its model lies, and what became of it when it was compared."""

    version: str
    created: datetime | None
    aliases: tuple[str, ...]
    run_id: str | None
    model: str | None
    promotion: str | None
    comparison: str | None
    promoted_by: str | None
    replaced: str | None
    rolled_back: str | None


class ModelHistory(ModelView):
    """A registered model and its newest versions, newest first."""

    versions: tuple[VersionView, ...]


class Moved(_View):
    """An alias that names another version now; `before` is the one that it named."""

    name: str
    alias: str
    version: str
    before: str | None


def models(place: Place) -> list[ModelView]:
    """The registered models of a place's tracking server, by name. Raises RemoteError."""
    return [ModelView(**_facts(one)) for one in _registry(place).models()]


def model(name: str, place: Place, *, limit: int = 20) -> ModelHistory:
    """A model and its newest versions. Raises NotFound."""
    registry = _registry(place)
    with _known(place):
        found = registry.model(name)
    versions = registry.versions(name, limit)
    # a list's entries do not tell their aliases on every MLflow server
    names = {version.version: _aliases(found, version) for version in versions}
    views = tuple(_view(version, names[version.version]) for version in versions)
    return ModelHistory(**_facts(found), versions=views)


def promote(name: str, version: str, place: Place, *, alias: str = CHAMPION) -> Moved:
    """Let the alias name a version, whatever its gates said. Raises InputError, NotFound."""
    if not is_alias(alias):
        raise InputError(
            f"--alias: {alias!r} cannot be an alias", hint=f"write for example --alias {CHAMPION}"
        )
    registry = _registry(place)
    with _known(place, name):
        known = dict(registry.version(name, version).tags)
        before = registry.holder(name, alias)
    if before != version:
        tags = {tag_replaced(alias): before or "", layout.TAG_PROMOTED_BY: _person()}
        registry.tag(name, version, tags)
        try:
            _move(registry, name, alias, before, version)
        except RemoteError:
            registry.tag(name, version, {key: known.get(key, "") for key in tags})
            raise
    return Moved(name=name, alias=alias, version=version, before=before)


def rollback(name: str, place: Place, *, alias: str = CHAMPION) -> Moved:
    """Give the alias back to the version that its present one replaced. Raises InputError, NotFound."""
    registry = _registry(place)
    with _known(place, name):
        now = registry.holder(name, alias)
    show = f"launch models show{place.words} {name}"
    if now is None:
        raise InputError(f"no version of {name} is {alias}", hint=f"see its versions: {show}")
    before = registry.version(name, now).tags.get(tag_replaced(alias))
    if not before:
        raise InputError(
            f"version {now} of {name} replaced none: there is nothing to go back to",
            hint=f"name one: launch models promote{place.words} {name} VERSION",
        )
    try:
        registry.version(name, before)
    except NotFound as error:
        raise NotFound(
            f"version {before} of {name}, which version {now} replaced, is gone",
            hint=f"name another: launch models promote{place.words} {name} VERSION",
        ) from error
    told = f"to version {before}, by {_person()}, {datetime.now(UTC):%Y-%m-%dT%H:%M:%SZ}"
    registry.tag(name, now, {layout.TAG_ROLLED_BACK: told})
    _move(registry, name, alias, now, before)
    return Moved(name=name, alias=alias, version=before, before=now)


def _move(registry: Registry, name: str, alias: str, before: str | None, version: str) -> None:
    """Raises RemoteError where somebody moved it meanwhile."""
    if (now := registry.holder(name, alias)) != before:
        raise RemoteError(
            f"{alias} of {name} was moved to version {now} meanwhile; it is left there",
            hint="look at it, and say it again",
        )
    registry.move(name, alias, version)


def _registry(place: Place) -> Registry:
    return Registry(place.tracking_uri)


@contextmanager
def _known(place: Place, name: str | None = None) -> Iterator[None]:
    """What is not there is said with the command that lists what is."""
    try:
        yield
    except NotFound as error:
        listing = f"show{place.words} {name}" if name else f"list{place.words}"
        raise NotFound(error.message, hint=f"see what there is: launch models {listing}") from error


def _facts(found: RegisteredModel) -> dict[str, Any]:
    return {
        "name": found.name,
        "aliases": dict(found.aliases),
        "newest": found.newest,
        "updated": found.updated,
    }


def _aliases(found: RegisteredModel, version: Version) -> tuple[str, ...]:
    return tuple(sorted(alias for alias, at in found.aliases.items() if at == version.version))


def _view(version: Version, aliases: tuple[str, ...]) -> VersionView:
    tags = version.tags
    return VersionView(
        version=version.version,
        created=version.created,
        aliases=aliases,
        run_id=tags.get(layout.TAG_RUN),
        model=tags.get(layout.TAG_MODEL),
        promotion=tags.get(layout.TAG_PROMOTION),
        comparison=tags.get(layout.TAG_COMPARISON),
        promoted_by=tags.get(layout.TAG_PROMOTED_BY),
        replaced=tags.get(layout.TAG_REPLACED) or None,
        rolled_back=tags.get(layout.TAG_ROLLED_BACK),
    )


def _person() -> str:
    try:
        return getpass.getuser()
    except (OSError, KeyError):  # a container's user without a name
        return "somebody"
