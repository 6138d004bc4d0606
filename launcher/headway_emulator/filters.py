"""The filter language that list methods share: comparisons joined by AND, OR, NOT and parentheses.

A subset of AIP-160, in which OR binds tighter than AND. Functions, regular expressions and bare words are
refused, never ignored. Cloud Logging's larger language (log_filters.py) is read by the same reader.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Protocol

from headway_emulator.errors import ApiError, invalid
from headway_emulator.schema import camel

SPACE = re.compile(r"(?:\s+|--[^\n]*)*")
"""Also a comment, which goes on to the end of its line."""
TOKEN = re.compile(
    r"""(?P<open>\()|(?P<close>\))|(?P<op><=|>=|!=|=~|!~|=|<|>|:)|"(?P<quoted>(?:[^"\\]|\\.)*)\""""
    r"""|(?P<word>[^\s()=<>!:"]+(?:(?<=\.)"(?:[^"\\]|\\.)*"[^\s()=<>!:"]*)*)""",
    re.DOTALL,
)
VALUE = re.compile(r"""(?P<word>[^\s()"=<>!~:][^\s()"]*)""")
"""A bare word after an operator, in which colons and the like have no meaning."""
PART = re.compile(r'"((?:[^"\\]|\\.)*)"|([^."]+)')
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
MISSING = object()
TIME = re.compile(r"[a-z]+(_[a-z]+)*_time|[a-z]+([A-Z][a-z]+)*Time")
"""A field that is a time, such as create_time: compared as a time, whatever its zone and digits."""


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
            return have is not None and (self.value == "*" or _has(have, self.value))
        if have is None:
            return self.operator == "!="
        if TIME.fullmatch(self.field):
            return OPERATORS[self.operator](_moment(str(have)), _moment(self.value))
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
    return Reader(text).conditions()


def parts(path: str) -> list[str]:
    """The names in a dotted path; a quoted one may have dots of its own."""
    return [unescaped(quoted) if quoted else plain for quoted, plain in PART.findall(path)]


def lookup(document: Mapping[str, Any], path: str) -> Any:
    """The value at a dotted path whose parts may be snake_case; None where there is none."""
    have = find(document, parts(path))
    return None if have is MISSING else have


def find(document: Mapping[str, Any], names: Sequence[str]) -> Any:
    """The value below these names, or MISSING; the keys of a map may have dots that were not quoted."""
    here: Any = document
    for index, name in enumerate(names):
        if not isinstance(here, Mapping):
            return MISSING
        if name in here:
            here = here[name]
        elif (other := camel(name)) in here:
            here = here[other]
        else:
            return here.get(".".join(names[index:]), MISSING)
    return here


def unescaped(quoted: str) -> str:
    return re.sub(r"\\(.)", r"\1", quoted)


class Reader:
    """Recursive descent: a conjunction of disjunctions of terms."""

    kind = "Invalid filter"

    def __init__(self, text: str) -> None:
        self._text = text
        self.tokens = self._tokens()

    def conditions(self) -> list[Condition]:
        """All that must hold; ApiError where something is left over."""
        if not self.tokens:
            return []
        try:
            found = self.conjunction()
        except RecursionError as error:
            raise invalid(f"{self.kind}: it is nested too deep.") from error
        if self.tokens:
            raise self.wrong()
        return found

    def conjunction(self) -> list[Condition]:
        found = [self._disjunction()]
        while self.tokens and self.tokens[0][0] != "close":
            self.take("word", "AND")
            found.append(self._disjunction())
        return found

    def _disjunction(self) -> Condition:
        found = [self._term()]
        while self.take("word", "OR"):
            found.append(self._term())
        return found[0] if len(found) == 1 else Either(found)

    def _term(self) -> Condition:
        if self.take("word", "NOT"):
            return Not(self._term())
        if self.tokens and self.tokens[0][0] == "word" and self.tokens[0][1].startswith("-"):
            rest = self.tokens.pop(0)[1][1:]
            if rest:
                self.tokens.insert(0, ("word", rest))
            return Not(self._term())
        if self.take("open", "("):
            inner = Both(self.conjunction())
            self.require("close", ")")
            return inner
        kinds = [kind for kind, _ in self.tokens[:2]]
        if kinds == ["word", "op"]:
            (_, name), (_, operator) = self.tokens[:2]
            del self.tokens[:2]
            return self.comparison(name, operator)
        return self.alone()

    def comparison(self, name: str, operator: str) -> Condition:
        """What follows FIELD OPERATOR."""
        if operator in ("=~", "!~"):
            raise ApiError("UNIMPLEMENTED", f"The emulator does not implement {operator} in filters.")
        value = self.value()
        if TIME.fullmatch(name) and operator != ":":
            try:
                _moment(value)
            except ValueError as error:
                raise invalid(f'{self.kind}: "{value}" is no RFC 3339 time, which {name} is.') from error
        return Comparison(name, operator, value)

    def alone(self) -> Condition:
        """A term that is no comparison."""
        raise self.wrong()

    def value(self) -> str:
        """One value, bare or quoted."""
        if not self.tokens or self.tokens[0][0] not in ("word", "quoted"):
            raise self.wrong()
        return self.tokens.pop(0)[1]

    def take(self, kind: str, value: str) -> bool:
        if self.tokens and self.tokens[0] == (kind, value):
            del self.tokens[0]
            return True
        return False

    def require(self, kind: str, value: str) -> None:
        if not self.take(kind, value):
            raise self.wrong()

    def wrong(self) -> ApiError:
        at = f"at {self.tokens[0][1]!r}" if self.tokens else "at its end"
        return invalid(f"{self.kind}: expected FIELD OPERATOR VALUE {at}: {self._text}")

    def _tokens(self) -> list[tuple[str, str]]:
        tokens: list[tuple[str, str]] = []
        position = _after_space(self._text, 0)
        while position < len(self._text):
            found = VALUE.match(self._text, position) if tokens and tokens[-1][0] == "op" else None
            found = found or TOKEN.match(self._text, position)
            if found is None or found.lastgroup is None:
                raise invalid(f"{self.kind}: cannot read {self._text[position:]!r} in: {self._text}")
            kind, value = found.lastgroup, found[found.lastgroup]
            tokens.append((kind, unescaped(value) if kind == "quoted" else value))
            position = _after_space(self._text, found.end())
        return tokens


def _after_space(text: str, position: int) -> int:
    found = SPACE.match(text, position)
    return found.end() if found else position


def _has(have: Any, value: str) -> bool:
    """Whether a map has the key, a list the element, or a text the words, in which * is any characters."""
    if isinstance(have, Mapping):
        return value in have
    if isinstance(have, list):
        return any(_text(element) == value for element in have)
    if "*" in value:
        pattern = ".*".join(map(re.escape, value.split("*")))
        return re.fullmatch(pattern, str(have), re.IGNORECASE | re.DOTALL) is not None
    return value.lower() in str(have).lower()


def _moment(text: str) -> datetime:
    """ValueError where it is no time; one without a zone is in UTC."""
    moment = datetime.fromisoformat(text)
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)


def _text(value: Any) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)
