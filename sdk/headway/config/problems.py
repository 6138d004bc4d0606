"""What is wrong with a config, in people's words: pydantic's findings, translated."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from headway.config import keys
from headway.config.document import KeyPath

if TYPE_CHECKING:
    from pydantic import ValidationError
    from pydantic_core import ErrorDetails

_EXPECTED = {
    "int_type": "a whole number",
    "int_parsing": "a whole number",
    "int_parsing_size": "a smaller whole number",
    "int_from_float": "a whole number",
    "bool_type": "true or false",
    "bool_parsing": "true or false",
    "string_type": "text",
    "tuple_type": "a list",
    "dict_type": "a mapping of keys to values",
    "model_type": "a mapping of keys to values",
}
_ARG = "a number, text, true, false, or a list of these"
_EXAMPLES = {
    "name": "name: my-job",
    "entrypoint": "entrypoint: train.py",
    "promote.metric": "metric: test_acc",
    "promote.on": "on: data/holdout",
    "promote.evaluate": "evaluate: train:evaluate",
}


@dataclass(frozen=True)
class Problem:
    """One thing wrong at one key. `at_key`: the key itself is at fault, not its value."""

    path: KeyPath
    message: str
    hint: str | None = None
    at_key: bool = False
    missing: bool = False


def translate(error: ValidationError) -> list[Problem]:
    """One Problem for each key at fault."""
    found: dict[KeyPath, Problem] = {}
    for detail in error.errors(include_url=False):
        problem = _translate(detail)
        found.setdefault(problem.path, problem)
    suggested = {keys.nearest(problem.path) for problem in found.values() if problem.at_key}
    return [p for p in found.values() if not (p.missing and ".".join(p.path) in suggested)]


def _translate(detail: ErrorDetails) -> Problem:
    path, value, kind = _path(detail["loc"]), detail["input"], detail["type"]
    dotted, context = ".".join(path), detail.get("ctx", {})
    if kind == "missing":
        return Problem(
            path,
            f"{dotted} is missing",
            hint=f"add  {_EXAMPLES[dotted]}" if dotted in _EXAMPLES else None,
            missing=True,
        )
    if kind == "extra_forbidden":
        return _unknown(path)
    if path[0] == "args":
        return _argument(path, value)
    if detail["loc"][-1] == "[key]":
        return Problem(
            path,
            f"{path[-1]!r} cannot be the name of an environment variable",
            hint="letters, digits and _, not a digit first",
            at_key=True,
        )
    if kind in _EXPECTED:
        return Problem(
            path, f"{dotted} must be {_EXPECTED[kind]}, not {describe(value)}", _spelling(kind, value)
        )
    if kind == "greater_than_equal":
        return Problem(path, f"{dotted} must be at least {context['ge']}, not {value}")
    if kind == "less_than_equal":
        return Problem(path, f"{dotted} must be at most {context['le']}, not {value}")
    if kind == "string_too_short":
        return Problem(
            path,
            f"{dotted} is empty",
            hint=f"write for example  {_EXAMPLES[dotted]}" if dotted in _EXAMPLES else None,
        )
    if kind == "string_pattern_mismatch":
        return _reservation(path, value) if path[-1] == "reservation" else _name(path, str(value))
    if kind == "value_error":
        reason, _, hint = str(context["error"]).partition("; ")
        return Problem(path, f"{dotted}: {reason}", hint or None)
    return Problem(path, f"{dotted}: {detail['msg'].replace('Input should', 'it should')}")


def _path(location: tuple[int | str, ...]) -> KeyPath:
    """Pydantic's location without list positions, union members and `[key]`."""
    depth = {"args": 2, "schedule": 4}.get(str(location[0]), 3)
    return tuple(part for part in location[:depth] if isinstance(part, str) and part != "[key]")


def _unknown(path: KeyPath) -> Problem:
    section = ".".join(path[:-1])
    near = keys.nearest(path)
    known = ", ".join(keys.children(path[:-1]))
    return Problem(
        path,
        f"there is no key {path[-1]!r}" + (f" in {section}" if section else ""),
        hint=f"did you mean {near}?" if near else f"{section or 'config.yaml'} has {known}",
        at_key=True,
    )


def _argument(path: KeyPath, value: Any) -> Problem:
    if len(path) == 1:
        return Problem(path, f"args must be {_EXPECTED['dict_type']}, not {describe(value)}")
    hint = None
    for item in value if isinstance(value, list) else [value]:
        if isinstance(item, float) and not math.isfinite(item):
            said = f"{'.'.join(path)} is {item}, which no JSON carries to the job"
            return Problem(path, said, f'write "{item}", as text')
    if isinstance(value, Mapping) and value:
        hint = f"arguments are flat: write  {path[-1]}.{next(iter(value))}: ..."
    return Problem(path, f"{'.'.join(path)} must be {_ARG}, not {describe(value)}", hint)


def _name(path: KeyPath, value: str) -> Problem:
    slug = re.sub(r"[^a-z0-9]+", "-", value.lower()).lstrip("-0123456789")[:40].strip("-")
    return Problem(
        path,
        f"{'.'.join(path)} {value!r} must be lowercase letters, digits and dashes, a letter first, up to 40",
        hint=f"write for example {slug}" if slug else None,
    )


def _reservation(path: KeyPath, value: object) -> Problem:
    return Problem(
        path,
        f"{'.'.join(path)} {value!r} is no reservation's full name",
        hint="write projects/PROJECT/zones/ZONE/reservations/NAME, or any",
    )


def _spelling(kind: str, value: Any) -> str | None:
    if kind == "tuple_type" and isinstance(value, str):
        return f"write [{value}]"
    if kind == "string_type" and isinstance(value, bool | int | float):
        return f'write "{_yaml(value)}", with the quotes'
    return None


def describe(value: Any) -> str:
    """What was found, as a person would call it."""
    if value is None:
        return "nothing"
    if isinstance(value, bool):
        return _yaml(value)
    if isinstance(value, int | float):
        return f"the number {value}"
    if isinstance(value, str):
        return f"the text {value!r}"
    return "a mapping" if isinstance(value, Mapping) else "a list"


def _yaml(value: bool | int | float) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)
