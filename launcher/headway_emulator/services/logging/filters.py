"""Cloud Logging's query language over entries as they are shown.

Source: "Logging query language" in Google's documentation (comparisons, missing and defaulted fields, values,
regular expressions, SEARCH) and LogEntry in its discovery document.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from headway_emulator.engine.clock import nano_timestamp, parse_timestamp
from headway_emulator.errors import invalid, unimplemented
from headway_emulator.filters import (
    MISSING,
    OPERATORS,
    SEVERITIES,
    Both,
    Condition,
    Either,
    Not,
    Reader,
    find,
    parts,
)
from headway_emulator.schema import camel, discovery

KIND = "Unparseable filter"
LONGEST = 20_000
"""Characters of a filter (ListLogEntriesRequest.filter)."""
TIMES = ("timestamp", "receiveTimestamp")
FREE = ("jsonPayload", "protoPayload", "labels", "otel")
"""Fields below which every name is possible; one that an entry lacks is missing, not defaulted."""
FUNCTIONS = ("SEARCH", "log_id", "ip_in_net")
OTHER_FUNCTIONS = ("sample", "source", "cast", "regexp_extract")
WORD = re.compile(r"\w+")

Holds = Callable[[Any], bool]


def parse(text: str) -> list[Condition]:
    """All of these must hold; ApiError INVALID_ARGUMENT where the text is no query."""
    if len(text) > LONGEST:
        raise invalid(f"{KIND}: the filter has {len(text)} characters; at most {LONGEST} are allowed.")
    return _LogReader(text).conditions()


@dataclass(frozen=True)
class FieldTest:
    """A comparison of one field; `operator` and `value` are kept for who looks it up by index."""

    path: tuple[str, ...]
    operator: str
    value: str
    test: Holds
    default: Any
    """What a field has that an entry does not give; MISSING where it has nothing, and no comparison holds."""

    def holds(self, document: Mapping[str, Any]) -> bool:
        have = find(document, self.path)
        if self.operator == ":" and self.value == "*":
            return have is not MISSING
        if have is MISSING:
            have = self.default
        if isinstance(have, list):
            return any(self.test(item) for item in have)
        return have is not MISSING and self.test(have)


@dataclass(frozen=True)
class Search:
    """A test of every value in an entry, or below one field of it."""

    path: tuple[str, ...]
    test: Callable[[Iterator[str]], bool]

    def holds(self, document: Mapping[str, Any]) -> bool:
        have = find(document, self.path) if self.path else document
        return have is not MISSING and self.test(_texts(have))


class _LogReader(Reader):
    kind = KIND

    def comparison(self, name: str, operator: str) -> Condition:
        path = _path(name)
        if not self.take("open", "("):
            return _test(path, operator, self.value())
        found = self._values(path, operator)
        self.require("close", ")")
        return found

    def _values(self, path: tuple[str, ...], operator: str) -> Condition:
        """Such as ("a" OR "b") after the operator: one comparison for each."""
        conjunction: list[Condition] = []
        while True:
            either: list[Condition] = [self._one(path, operator)]
            while self.take("word", "OR"):
                either.append(self._one(path, operator))
            conjunction.append(Either(either))
            if not self.tokens or self.tokens[0][0] == "close":
                return Both(conjunction)
            self.take("word", "AND")

    def _one(self, path: tuple[str, ...], operator: str) -> Condition:
        if self.take("word", "NOT"):
            return Not(self._one(path, operator))
        if self.take("open", "("):
            found = self._values(path, operator)
            self.require("close", ")")
            return found
        return _test(path, operator, self.value())

    def alone(self) -> Condition:
        """A function, or a value that any field may have."""
        if not self.tokens or self.tokens[0][0] not in ("word", "quoted") or self._is_keyword():
            raise self.wrong()
        kind, value = self.tokens.pop(0)
        if kind == "word" and self.take("open", "("):
            return self._function(value)
        wanted = value.lower()
        return Search((), lambda texts: any(wanted in text.lower() for text in texts))

    def _is_keyword(self) -> bool:
        return self.tokens[0] in (("word", "AND"), ("word", "OR"), ("word", "NOT"))

    def _function(self, name: str) -> Condition:
        if name in OTHER_FUNCTIONS:
            raise unimplemented(f"{name}() in log filters")
        if name not in FUNCTIONS:
            raise invalid(f'{KIND}: there is no function "{name}".')
        arguments: list[str] = []
        while not self.take("close", ")"):
            if word := self.value().strip(","):
                arguments.append(word)
        wanted = 2 if name == "ip_in_net" else 1
        if len(arguments) not in (wanted, 2 if name == "SEARCH" else wanted):
            raise invalid(f"{KIND}: {name}() has {len(arguments)} arguments.")
        if name == "log_id":
            return _log_id(arguments[0])
        path = _path(arguments[0]) if len(arguments) == 2 else ()
        return _search(path, arguments[-1]) if name == "SEARCH" else _in_net(path, arguments[-1])


def _path(name: str) -> tuple[str, ...]:
    """The field's names, the known ones in camelCase; ApiError where LogEntry has no such field."""
    names = parts(name)
    if not names:
        raise invalid(f'{KIND}: "{name}" names no field.')
    schemas = discovery("logging", "v2")["schemas"]
    properties = schemas["LogEntry"]["properties"]
    for index, part in enumerate(names):
        field = part if part in properties else camel(part)
        if field not in properties:
            raise invalid(f'{KIND}: unrecognized field "{name}".')
        names[index] = field
        kind = properties[field]
        if "additionalProperties" in kind:
            return tuple(names)
        while "items" in kind:
            kind = kind["items"]
        properties = schemas[kind["$ref"]].get("properties", {}) if "$ref" in kind else {}
    return tuple(names)


def _test(path: tuple[str, ...], operator: str, value: str) -> FieldTest:
    missing = path[0] in FREE or path[:2] == ("resource", "labels")
    if operator in ("=~", "!~"):
        wanted = operator == "=~"
        found = expression(value)
        regular: Holds = lambda have: found(_text(have)) == wanted  # noqa: E731
        return FieldTest(path, operator, value, regular, MISSING if missing else "")
    if operator == ":" and value == "*":
        return FieldTest(path, operator, value, lambda _: True, MISSING)
    if path == ("severity",):
        return FieldTest(path, operator, value, _severity(operator, value), SEVERITIES[0])
    if path[0] in TIMES:
        value = time(value)
    test = _compare(operator, value)
    if path[0] == "httpRequest":
        return FieldTest(path, operator, value, lambda have: test(_whole(have)), "")
    return FieldTest(path, operator, value, test, MISSING if missing else "")


def _compare(operator: str, value: str) -> Holds:
    """By the kind of what the entry has: numbers as numbers, text without regard to case."""
    wanted, number = value.lower(), _number(value)
    has = operator == ":"
    holds = OPERATORS["=" if has else operator]

    def test(have: Any) -> bool:
        if have is None:
            return holds("null_value", wanted)
        if isinstance(have, bool):
            return holds(str(have).lower(), wanted)
        if isinstance(have, int | float):
            return number is not None and holds(have, number)
        if isinstance(have, Mapping):
            return has and (wanted in map(str.lower, have) or any(wanted in t.lower() for t in _texts(have)))
        if isinstance(have, list):
            return any(test(item) for item in have)
        text = str(have).lower()
        return wanted in text if has else holds(text, wanted)

    return test


def _severity(operator: str, value: str) -> Holds:
    """By rank; a number of google.logging.type.LogSeverity stands for its name."""
    name = SEVERITIES[int(value) // 100] if value in map(str, range(0, 801, 100)) else value.upper()
    if name not in SEVERITIES:
        raise invalid(f"{KIND}: unknown severity {value}.")
    rank = SEVERITIES.index(name)
    holds = OPERATORS["=" if operator == ":" else operator]
    return lambda have: holds(SEVERITIES.index(have), rank)


def severities(operator: str, value: str) -> tuple[str, ...]:
    """The names for which a comparison of the severity holds."""
    test = _severity(operator, value)
    return tuple(name for name in SEVERITIES if test(name))


def time(text: str) -> str:
    """An RFC 3339 time in the form of the entries, so that they compare as text."""
    try:
        return nano_timestamp(parse_timestamp(text))
    except ValueError as error:
        raise invalid(f'{KIND}: "{text}" is no RFC 3339 time.') from error


def expression(pattern: str) -> Holds:
    """Whether RE2, which is what Google asks too, finds it in a text; ApiError where it is none."""
    import re2

    options = re2.Options()
    options.log_errors = False
    try:
        compiled = re2.compile(pattern, options)
    except re2.error as error:
        said = error.args[0].decode(errors="replace") if error.args else ""
        raise invalid(f'{KIND}: "{pattern}" is no regular expression: {said}.') from error
    return lambda text: compiled.search(text) is not None


def _log_id(wanted: str) -> FieldTest:
    from urllib.parse import unquote

    def test(have: Any) -> bool:
        return unquote(str(have).partition("/logs/")[2]).lower() == wanted.lower()

    return FieldTest(("logName",), "log_id", wanted, test, "")


def _search(path: tuple[str, ...], query: str) -> Search:
    """Every word of the query is a word of the value; words in backticks stand together."""
    phrases = [f" {' '.join(_words(phrase))} " for phrase in re.findall(r"`([^`]*)`", query)]
    single = set(_words(re.sub(r"`[^`]*`", " ", query)))

    def test(texts: Iterator[str]) -> bool:
        found = [_words(text) for text in texts]
        together = "  ".join(f" {' '.join(words)} " for words in found)
        return single <= {word for words in found for word in words} and all(p in together for p in phrases)

    return Search(path, test)


def _in_net(path: tuple[str, ...], text: str) -> FieldTest:
    try:
        network = ipaddress.ip_network(text, strict=False)
    except ValueError as error:
        raise invalid(f'{KIND}: "{text}" is no subnet.') from error

    def test(have: Any) -> bool:
        try:
            return ipaddress.ip_address(str(have)) in network
        except ValueError:
            return False

    return FieldTest(path, "ip_in_net", text, test, MISSING)


def _texts(value: Any) -> Iterator[str]:
    """Every value below, as text."""
    if isinstance(value, Mapping):
        for item in value.values():
            yield from _texts(item)
    elif isinstance(value, Sequence) and not isinstance(value, str):
        for item in value:
            yield from _texts(item)
    elif value is not None:
        yield _text(value)


def _words(text: str) -> list[str]:
    return [word.lower() for word in WORD.findall(text)]


def _text(value: Any) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    return f"{value:g}" if isinstance(value, float) and value.is_integer() else str(value)


def _whole(have: Any) -> Any:
    """A 64-bit integer, which JSON has as text, as the number it is."""
    return int(have) if isinstance(have, str) and have.isdecimal() else have


def _number(text: str) -> float | None:
    try:
        return float(text)
    except ValueError:
        return None
