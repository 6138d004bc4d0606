"""Bash parameter expansions of a value, as Cloud Build allows them in substitutions: ${_NAME%-suffix}.

Source: Google's page "Using payload bindings and bash parameter expansions in substitutions", read in
November 2026. Patterns are the shell's own: *, ? and [...].
"""

from __future__ import annotations

import re
from collections.abc import Callable
from fnmatch import translate

DEFAULT = re.compile(r":?[-=](?P<word>.*)", re.DOTALL)
SLICE = re.compile(r":\s*(?P<start>-?\d+)(?::(?P<length>-?\d+))?")
REPLACE = re.compile(r"/(?P<way>[/#%]?)(?P<pattern>(?:\\/|[^/])*)(?:/(?P<by>.*))?", re.DOTALL)
CASES: dict[str, Callable[[str], str]] = {
    "^^": str.upper,
    ",,": str.lower,
    "^": lambda value: value[:1].upper() + value[1:],
    ",": lambda value: value[:1].lower() + value[1:],
}


def expand(value: str, operation: str) -> str | None:
    """`value` after what follows its name in the braces; None where that is no expansion."""
    if operation in CASES:
        return CASES[operation](value)
    if found := SLICE.fullmatch(operation):
        return _slice(value, int(found["start"]), found["length"])
    if found := DEFAULT.fullmatch(operation):
        return value or found["word"]
    for sign, cut in (
        ("##", _longest_head),
        ("#", _shortest_head),
        ("%%", _longest_tail),
        ("%", _shortest_tail),
    ):
        if operation.startswith(sign):
            return cut(value, _pattern(operation.removeprefix(sign)))
    if found := REPLACE.fullmatch(operation):
        return _replace(value, found["way"], found["pattern"].replace("\\/", "/"), found["by"] or "")
    return None


def _slice(value: str, start: int, length: str | None) -> str:
    """Negative numbers count from the end, as in the shell."""
    begin = max(0, len(value) + start) if start < 0 else start
    if length is None:
        return value[begin:]
    count = int(length)
    return value[begin : len(value) + count if count < 0 else begin + count]


def _pattern(glob: str) -> re.Pattern[str]:
    return re.compile(translate(glob))


def _longest_head(value: str, pattern: re.Pattern[str]) -> str:
    ends = range(len(value), -1, -1)
    return next((value[end:] for end in ends if pattern.match(value[:end])), value)


def _shortest_head(value: str, pattern: re.Pattern[str]) -> str:
    ends = range(len(value) + 1)
    return next((value[end:] for end in ends if pattern.match(value[:end])), value)


def _longest_tail(value: str, pattern: re.Pattern[str]) -> str:
    starts = range(len(value) + 1)
    return next((value[:start] for start in starts if pattern.match(value[start:])), value)


def _shortest_tail(value: str, pattern: re.Pattern[str]) -> str:
    starts = range(len(value), -1, -1)
    return next((value[:start] for start in starts if pattern.match(value[start:])), value)


def _replace(value: str, way: str, glob: str, by: str) -> str:
    """The first match, all (//), or only one at the start (/#) or at the end (/%)."""
    if not glob:
        return value
    pattern = translate(glob).removesuffix(r"\Z").removesuffix(r"\z")
    if way == "#":
        return re.sub(rf"\A{pattern}", lambda _: by, value, count=1)
    if way == "%":
        tail = _longest_tail(value, _pattern(glob))
        return value if tail == value else tail + by
    return re.sub(pattern, lambda _: by, value, count=0 if way == "/" else 1)
