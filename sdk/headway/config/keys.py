"""The keys that config.yaml may have, taken from JobSpec, and the nearest one to a slip."""

from __future__ import annotations

import difflib
from collections.abc import Iterable
from functools import cache
from typing import Any, Literal, get_args, get_origin

from pydantic import BaseModel
from pydantic.fields import FieldInfo

from headway.config.document import KeyPath
from headway.spec.job import JobSpec

Kind = Literal["value", "list", "section", "open"]
"""`open` is a mapping whose keys are the user's own: args, environment.env, environment.secrets."""


@cache
def kinds() -> dict[KeyPath, Kind]:
    """Every key of config.yaml, sections too."""
    return dict(_walk(JobSpec, ()))


def _walk(model: type[BaseModel], path: KeyPath) -> Iterable[tuple[KeyPath, Kind]]:
    for name, field in model.model_fields.items():
        here = (*path, field.alias or name)
        yield here, _kind(field)
        if _kind(field) == "section" and (section := _model(field)):
            yield from _walk(section, here)


def _kind(field: FieldInfo) -> Kind:
    annotation: Any = field.annotation
    if get_origin(annotation) is dict:
        return "open"
    if get_origin(annotation) is tuple:
        return "list"
    return "value" if _model(field) is None else "section"


def _model(field: FieldInfo) -> type[BaseModel] | None:
    """The model of a section, of one that may be absent too."""
    kinds = [kind for kind in (get_args(field.annotation) or (field.annotation,)) if isinstance(kind, type)]
    return next((kind for kind in kinds if issubclass(kind, BaseModel)), None)


def find(dotted: str) -> KeyPath | None:
    """The path that a dotted key means, or None. Below an open mapping the rest is one key, dots and all."""
    words = tuple(dotted.split("."))
    for length in range(1, len(words) + 1):
        here = words[:length]
        if kinds().get(here) == "open" and length < len(words):
            return (*here, ".".join(words[length:]))
    return words if words in kinds() else None


def children(section: KeyPath) -> list[str]:
    """The keys of a section, in the order of the documentation."""
    return [path[-1] for path in kinds() if path[:-1] == section]


def nearest(path: KeyPath) -> str | None:
    """The right dotted key for a wrong one: misspelt in its section, or put into the wrong one."""
    dotted = ".".join(path)
    siblings = {name: ".".join((*path[:-1], name)) for name in children(path[:-1])}
    close = difflib.get_close_matches(path[-1], siblings, n=1, cutoff=0.6)
    if close:
        return siblings[close[0]]
    everywhere = [".".join(known) for known in kinds()]
    same_name = [known for known in everywhere if known.rpartition(".")[2] == path[-1]]
    return next(iter(same_name or difflib.get_close_matches(dotted, everywhere, n=1, cutoff=0.7)), None)
