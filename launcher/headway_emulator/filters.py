"""The filter language that list methods share: comparisons joined by AND.

A subset of AIP-160 and of Cloud Logging's query language. OR, NOT and functions are refused, never ignored.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from headway_emulator.errors import ApiError, invalid
from headway_emulator.schema import camel

TOKEN = re.compile(
    r"""\s*(?:(?P<open>\()|(?P<close>\))|(?P<op><=|>=|!=|=|<|>|:)"""
    r"""|"(?P<quoted>(?:[^"\\]|\\.)*)"|(?P<word>[^\s()=<>!:"]+))"""
)
OPERATORS: Mapping[str, Callable[[str, str], bool]] = {
    "=": lambda have, want: have == want,
    "!=": lambda have, want: have != want,
    "<": lambda have, want: have < want,
    "<=": lambda have, want: have <= want,
    ">": lambda have, want: have > want,
    ">=": lambda have, want: have >= want,
}


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
        return OPERATORS[self.operator](_text(have), self.value)


def parse(text: str) -> list[Comparison]:
    """All of these must hold; ApiError where the text asks for more than the subset."""
    tokens = [token for token in _tokens(text) if token[0] not in ("open", "close")]
    comparisons = []
    while tokens:
        if tokens[0] == ("word", "AND"):
            tokens.pop(0)
            continue
        if tokens[0][0] == "word" and tokens[0][1] in ("OR", "NOT"):
            raise ApiError(
                "UNIMPLEMENTED", f"The emulator does not implement {tokens[0][1]} in filters: {text}"
            )
        if len(tokens) < 3 or tokens[1][0] != "op" or tokens[2][0] == "op":
            raise invalid(f"Invalid filter: expected FIELD OPERATOR VALUE at {tokens[0][1]!r} in: {text}")
        comparisons.append(Comparison(tokens[0][1], tokens[1][1], tokens[2][1]))
        del tokens[:3]
    return comparisons


def lookup(document: Mapping[str, Any], path: str) -> Any:
    """The value at a dotted path whose parts may be snake_case; None where there is none."""
    here: Any = document
    for part in path.split("."):
        if not isinstance(here, Mapping):
            return None
        here = here[part] if part in here else here.get(camel(part))
    return here


def _tokens(text: str) -> list[tuple[str, str]]:
    tokens: list[tuple[str, str]] = []
    position = 0
    text = text.rstrip()
    while position < len(text):
        found = TOKEN.match(text, position)
        if found is None or found.lastgroup is None:
            raise invalid(f"Invalid filter: cannot read {text[position:]!r} in: {text}")
        value = found[found.lastgroup]
        tokens.append(
            (found.lastgroup, re.sub(r"\\(.)", r"\1", value) if found.lastgroup == "quoted" else value)
        )
        position = found.end()
    return tokens


def _text(value: Any) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)
