"""`key=value` words and flags: changes that are laid over what the file says."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from headway.config import document, keys
from headway.config.document import KeyPath
from headway.errors import ConfigError
from headway.spec.parameter import is_swept
from headway.spec.scalars import scalar

_TEXT_ONLY = (("environment", "env"), ("environment", "secrets"))
_SWEPT = ("sweep", "parameters")


@dataclass(frozen=True)
class Change:
    """One key set from outside the file; `label` names where: `command line: args.lr=0.01`, `--gpu`."""

    path: KeyPath
    value: Any
    label: str


def parse(words: Sequence[str], *, sweep: bool = False) -> list[Change]:
    """Read `args.lr=0.01` and the like. Raises ConfigError naming the word that is none.

    For a `sweep`, `args.lr=1e-4..1e-2` is the range of a parameter.
    """
    return [_parse(word, sweep) for word in words]


def from_flags(flags: Mapping[str, object]) -> list[Change]:
    """Flags are dotted keys already: `{"resources.gpu": "a100:4"}` is `--gpu`; None is a flag not given."""
    return [
        Change(_known(dotted, flag_name(dotted)), _plain(value), flag_name(dotted))
        for dotted, value in flags.items()
        if value is not None
    ]


def flag_name(dotted: str) -> str:
    """How the flag for a key is called on the command line."""
    if dotted == "resources.regions":
        return "--region"  # one at a time
    return "--" + dotted.rpartition(".")[2].replace("_", "-")


def _parse(word: str, sweep: bool) -> Change:
    label = f"command line: {word}"
    dotted, equals, text = word.partition("=")
    if not equals:
        raise ConfigError(f"{label}: is no override", hint="write key=value, for example args.lr=0.01")
    path = _known(dotted.strip(), label)
    if path[:-1] in _TEXT_ONLY:
        return Change(path, text, label)
    if path[:-1] == _SWEPT or (sweep and path[0] == "args" and is_swept(text)):
        return Change((*_SWEPT, path[-1]), text, label)
    try:
        return Change(path, _value(text), label)
    except ValueError as error:
        raise ConfigError(
            f"{label}: the value is not readable as YAML: {error}", hint="quote it: 'key=\"text\"'"
        ) from error


def _value(text: str) -> Any:
    """Brackets, braces and quotes are YAML's; all else is one scalar, so that `*.png` needs no quotes."""
    stripped = text.strip()
    if stripped[:1] in ("[", "{", '"', "'"):
        return document.parse_value(stripped)
    return scalar(stripped) if stripped else ""


def _plain(value: object) -> Any:
    return list(value) if isinstance(value, tuple) else value


def _known(dotted: str, label: str) -> KeyPath:
    if path := keys.find(dotted):
        return path
    near = keys.nearest(tuple(dotted.split(".")))
    hint = (
        f"did you mean {near}?"
        if near
        else "`launch config schema` lists the keys; args.NAME sets an argument"
    )
    parent = keys.find(dotted.rpartition(".")[0])
    if (parent and keys.kinds().get(parent) == "list") or "[" in dotted:
        hint = "a list is set as a whole, for example data=[data/a,data/b]"
    raise ConfigError(f"{label}: there is no key {dotted!r}", hint=hint)
