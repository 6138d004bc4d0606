"""Partial responses: `fields`, a parameter of every method of Google's, leaves out what it does not name.

Source: Google's page on partial responses: `a,b` lists fields, `a/b` goes into one, `a(b,c)` takes several of
one, and `*` is any.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

from headway_emulator.api.methods import Method
from headway_emulator.errors import ApiError, invalid
from headway_emulator.schema import discovery

TOKENS = re.compile(r"[\w@$.*-]+|[/,()]")

Selection = dict[str, "Selection"]
"""The named fields, each with what is taken of it: all of it where that is empty."""


def selected(fields: str, method: Method, reply: Any) -> Any:
    """What `fields` names of the reply; ApiError INVALID_ARGUMENT for what it cannot name."""
    wanted = _parsed(fields)
    schemas = discovery(method.service, method.version)["schemas"]
    _check(wanted, {"$ref": method.response}, schemas, "")
    return _taken(wanted, reply)


def _parsed(text: str) -> Selection:
    tokens = TOKENS.findall(text)
    if "".join(tokens) != re.sub(r"\s", "", text):
        raise invalid(f"Invalid field selection {text}")
    words = iter([*tokens, ""])
    found, end = _list(words, text)
    if end:
        raise invalid(f"Invalid field selection {text}")
    return found


def _list(words: Iterator[str], text: str) -> tuple[Selection, str]:
    """A list up to what ends it: ")", or "" at the end of the text."""
    found: Selection = {}
    while True:
        here, word = found, next(words)
        while True:
            if word in ("", *"/,()"):
                raise invalid(f"Invalid field selection {text}")
            here = here.setdefault(word, {})
            if (word := next(words)) != "/":
                break
            word = next(words)
        if word == "(":
            inner, end = _list(words, text)
            if end != ")":
                raise invalid(f"Invalid field selection {text}")
            here.update(inner)
            word = next(words)
        if word != ",":
            return found, word


def _check(wanted: Selection, kind: Mapping[str, Any], schemas: Mapping[str, Any], at: str) -> None:
    """ApiError for a field that messages of the kind do not have; of a free-form object anything goes."""
    kind = kind.get("items", kind)
    properties = schemas.get(kind.get("$ref", ""), kind).get("properties")
    for name, inner in wanted.items():
        path = f"{at}{name}"
        if properties is not None and name != "*":
            if name not in properties:
                text = f"Error expanding 'fields' parameter. Cannot find matching fields for path '{path}'."
                raise ApiError("INVALID_ARGUMENT", text)
            _check(inner, properties[name], schemas, f"{path}/")


def _taken(wanted: Selection, value: Any) -> Any:
    if not wanted:
        return value
    if isinstance(value, list):
        return [_taken(wanted, item) for item in value]
    if not isinstance(value, Mapping):
        return value
    everything = wanted.get("*")
    return {
        name: _taken(wanted.get(name, everything or {}), item)
        for name, item in value.items()
        if name in wanted or everything is not None
    }
