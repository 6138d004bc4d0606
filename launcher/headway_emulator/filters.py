"""The filter language that list methods share: comparisons joined by AND, OR, NOT and parentheses.

A subset of AIP-160 and of Cloud Logging's query language, in both of which OR binds tighter than AND.
Functions, regular expressions and bare words are refused, never ignored.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from headway_emulator.errors import ApiError, invalid
from headway_emulator.schema import camel

TOKEN = re.compile(
    r"""\s*(?:(?P<open>\()|(?P<close>\))|(?P<op><=|>=|!=|=~|!~|=|<|>|:)"""
    r"""|"(?P<quoted>(?:[^"\\]|\\.)*)"|(?P<word>[^\s()=<>!:"]+))"""
)
OPERATORS: Mapping[str, Callable[[Any, Any], bool]] = {
    "=": lambda have, want: have == want,
    "!=": lambda have, want: have != want,
    "<": lambda have, want: have < want,
    "<=": lambda have, want: have <= want,
    ">": lambda have, want: have > want,
    ">=": lambda have, want: have >= want,
}
SEVERITIES = ("DEFAULT", "DEBUG", "INFO", "NOTICE", "WARNING", "ERROR", "CRITICAL", "ALERT", "EMERGENCY")
"""google.logging.type.LogSeverity, lowest first."""


class Condition(Protocol):
    """What a document meets or does not meet."""

    def holds(self, document: Mapping[str, Any]) -> bool: ...


@dataclass(frozen=True)
class Comparison:
    """Such as labels.team = "vision"; `field` has its dots, in the spelling of the request."""

    field: str
    operator: str
    value: str

    def holds(self, document: Mapping[str, Any]) -> bool:
        have = lookup(document, self.field)
        if self.operator == ":":
            return have is not None and (self.value == "*" or self.value.lower() in str(have).lower())
        if have is None:
            return self.operator == "!="
        if self.field == "severity":
            return OPERATORS[self.operator](_rank(str(have)), _rank(self.value))
        return OPERATORS[self.operator](_text(have), self.value)


@dataclass(frozen=True)
class Both:
    """All parts hold."""

    parts: Sequence[Condition]

    def holds(self, document: Mapping[str, Any]) -> bool:
        return all(part.holds(document) for part in self.parts)


@dataclass(frozen=True)
class Either:
    """At least one part holds."""

    parts: Sequence[Condition]

    def holds(self, document: Mapping[str, Any]) -> bool:
        return any(part.holds(document) for part in self.parts)


@dataclass(frozen=True)
class Not:
    """The part does not hold."""

    part: Condition

    def holds(self, document: Mapping[str, Any]) -> bool:
        return not self.part.holds(document)


def parse(text: str) -> list[Condition]:
    """All of these must hold; ApiError where the text is no filter or asks for more than the subset."""
    reader = _Reader(text)
    if not reader.tokens:
        return []
    conditions = reader.conjunction()
    if reader.tokens:
        raise reader.wrong()
    return conditions


def lookup(document: Mapping[str, Any], path: str) -> Any:
    """The value at a dotted path whose parts may be snake_case; None where there is none."""
    here: Any = document
    for part in path.split("."):
        if not isinstance(here, Mapping):
            return None
        here = here[part] if part in here else here.get(camel(part))
    return here


class _Reader:
    """Recursive descent: a conjunction of disjunctions of terms."""

    def __init__(self, text: str) -> None:
        self._text = text
        self.tokens = _tokens(text)

    def conjunction(self) -> list[Condition]:
        parts = [self._disjunction()]
        while self.tokens and self.tokens[0][0] != "close":
            self._take("word", "AND")
            parts.append(self._disjunction())
        return parts

    def _disjunction(self) -> Condition:
        parts = [self._term()]
        while self._take("word", "OR"):
            parts.append(self._term())
        return parts[0] if len(parts) == 1 else Either(parts)

    def _term(self) -> Condition:
        if self._take("word", "NOT"):
            return Not(self._term())
        if self._take("open", "("):
            inner = Both(self.conjunction())
            if not self._take("close", ")"):
                raise self.wrong()
            return inner
        kinds = [kind for kind, _ in self.tokens[:3]]
        if len(kinds) < 3 or kinds[0] != "word" or kinds[1] != "op" or kinds[2] not in ("word", "quoted"):
            raise self.wrong()
        (_, name), (_, operator), (_, value) = self.tokens[:3]
        del self.tokens[:3]
        return _comparison(name, operator, value)

    def _take(self, kind: str, value: str) -> bool:
        if self.tokens and self.tokens[0] == (kind, value):
            del self.tokens[0]
            return True
        return False

    def wrong(self) -> ApiError:
        at = f"at {self.tokens[0][1]!r}" if self.tokens else "at its end"
        return invalid(f"Invalid filter: expected FIELD OPERATOR VALUE {at}: {self._text}")


def _comparison(name: str, operator: str, value: str) -> Comparison:
    if operator in ("=~", "!~"):
        raise ApiError("UNIMPLEMENTED", f"The emulator does not implement {operator} in filters.")
    if name == "severity" and operator != ":" and value.upper() not in SEVERITIES:
        raise invalid(f"Invalid filter: unknown severity {value}.")
    return Comparison(name, operator, value)


def _tokens(text: str) -> list[tuple[str, str]]:
    tokens: list[tuple[str, str]] = []
    position = 0
    text = text.rstrip()
    while position < len(text):
        found = TOKEN.match(text, position)
        if found is None or found.lastgroup is None:
            raise invalid(f"Invalid filter: cannot read {text[position:]!r} in: {text}")
        kind, value = found.lastgroup, found[found.lastgroup]
        tokens.append((kind, re.sub(r"\\(.)", r"\1", value) if kind == "quoted" else value))
        position = found.end()
    return tokens


def _rank(severity: str) -> int:
    return SEVERITIES.index(severity.upper())


def _text(value: Any) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)
