"""A YAML file as plain values, with line and column of every key and value.

Scalars are read as YAML 1.2 has them: `1e-4` is a number, `no` and `2026-01-01` are text, `010` is ten.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from headway.errors import ConfigError
from headway.spec.scalars import scalar

KeyPath = tuple[str, ...]
"""The keys from the top down to a value; list items have no path of their own."""

_PREFIX = "tag:yaml.org,2002:"
_PLAIN, _TEXT, _MERGE = "!plain", f"{_PREFIX}str", f"{_PREFIX}merge"
_SCALARS = {f"{_PREFIX}{kind}" for kind in ("int", "float", "bool", "null")} | {_PLAIN}


@dataclass(frozen=True)
class Mark:
    """A place in a file; both count from 1."""

    line: int
    column: int


@dataclass(frozen=True)
class Document:
    """What a file says: `keys` tells where each key is written, `marks` where its value begins."""

    values: dict[str, Any]
    keys: dict[KeyPath, Mark] = field(default_factory=dict)
    marks: dict[KeyPath, Mark] = field(default_factory=dict)


class _Loader(yaml.SafeLoader):
    """Composes nodes only. Plain scalars get a tag of our own, so that `scalar` alone gives them a type."""

    yaml_implicit_resolvers = {  # noqa: RUF012  (PyYAML's own class attribute)
        "<": [(_MERGE, re.compile(r"^<<$"))],
        None: [(_PLAIN, re.compile(r".*", re.DOTALL))],
    }


def read(path: Path) -> Document:
    """Read a file whose top is a mapping. Raises ConfigError with line and column where it is none."""
    try:
        return parse(path.read_text(encoding="utf-8"), path)
    except UnicodeDecodeError as error:
        raise ConfigError(
            "is not UTF-8 text", file=path, hint=f"byte {error.start} is the first bad one"
        ) from None
    except OSError as error:
        raise ConfigError(f"cannot be read: {error.strerror}", file=path) from error


def parse(text: str, file: Path | str) -> Document:
    """Read YAML text; `file` is what an error names. Raises ConfigError."""
    try:
        root = yaml.compose(text, Loader=_Loader)
    except yaml.YAMLError as error:
        raise _unreadable(error, text, file) from error
    if root is None:
        raise ConfigError(
            "is empty", file=file, hint="it needs at least  name: my-job  and  entrypoint: train.py"
        )
    if not isinstance(root, yaml.MappingNode):
        mark = _mark(root)
        raise ConfigError(
            "is no mapping of keys to values",
            file=file,
            line=mark.line,
            column=mark.column,
            hint="write lines such as  name: my-job",
        )
    document = Document({})
    document.values.update(_Builder(file, document).mapping(root, ()))
    return document


def parse_value(text: str) -> Any:
    """The value of one YAML text, such as `[a, b]`. Raises ValueError saying what is wrong with it."""
    try:
        node = yaml.compose(text, Loader=_Loader)
        return None if node is None else _Builder("value", Document({})).value(node, None)
    except yaml.YAMLError as error:
        raise ValueError(_reason(error)) from error
    except ConfigError as error:
        raise ValueError(error.message.partition(": ")[2]) from error


class _Builder:
    """Turns nodes into values and notes where each was written; `path` is None inside a list."""

    def __init__(self, file: Path | str, document: Document) -> None:
        self.file, self.document = file, document
        self.open: list[int] = []

    def value(self, node: yaml.Node, path: KeyPath | None) -> Any:
        if isinstance(node, yaml.ScalarNode):
            return self.scalar(node)
        if id(node) in self.open:
            raise self.error(node, "an anchor contains itself")
        self.open.append(id(node))
        if isinstance(node, yaml.MappingNode):
            found: Any = self.mapping(node, path)
        else:
            found = [self.value(item, None) for item in node.value]
        self.open.pop()
        return found

    def scalar(self, node: yaml.ScalarNode) -> Any:
        if node.tag == _TEXT:
            return node.value
        if node.tag in _SCALARS:
            return scalar(node.value)
        raise self.error(node, f"the tag {node.tag.replace(_PREFIX, '!!')} is not understood here")

    def mapping(self, node: yaml.MappingNode, path: KeyPath | None) -> dict[str, Any]:
        found: dict[str, Any] = {}
        merged: dict[str, Any] = {}
        for key_node, value_node in node.value:
            if key_node.tag == _MERGE:
                merged = {**self.merge(value_node), **merged}
                continue
            key = self.key(key_node)
            if key in found:
                raise self.error(key_node, f"the key {key!r} is there twice", hint="keep one of them")
            below = None if path is None else (*path, key)
            if below is not None:
                self.document.keys[below], self.document.marks[below] = _mark(key_node), _mark(value_node)
            found[key] = self.value(value_node, below)
        return {**merged, **found}

    def merge(self, node: yaml.Node) -> dict[str, Any]:
        sources = node.value if isinstance(node, yaml.SequenceNode) else [node]
        merged: dict[str, Any] = {}
        for source in sources:
            if not isinstance(source, yaml.MappingNode):
                raise self.error(source, "<< takes a mapping")
            merged = {**_Builder(self.file, Document({})).mapping(source, None), **merged}
        return merged

    def key(self, node: yaml.Node) -> str:
        if not isinstance(node, yaml.ScalarNode):
            raise self.error(
                node, "a key must be a word, not a list or a mapping", hint="quotes make it text"
            )
        return str(node.value)

    def error(self, node: yaml.Node, message: str, hint: str | None = None) -> ConfigError:
        mark = _mark(node)
        return ConfigError(message, file=self.file, line=mark.line, column=mark.column, hint=hint)


def _mark(node: yaml.Node) -> Mark:
    return Mark(node.start_mark.line + 1, node.start_mark.column + 1)


def _reason(error: yaml.YAMLError) -> str:
    problem = str(getattr(error, "problem", None) or getattr(error, "reason", None) or error)
    return f"{getattr(error, 'context', None)} {problem}" if problem.startswith("but ") else problem


def _unreadable(error: yaml.YAMLError, text: str, file: Path | str) -> ConfigError:
    mark = getattr(error, "problem_mark", None) or getattr(error, "context_mark", None)
    if mark is None:
        return ConfigError(f"is not readable as YAML: {_reason(error)}", file=file)
    return ConfigError(
        f"is not readable as YAML: {_reason(error)}",
        file=file,
        line=mark.line + 1,
        column=mark.column + 1,
        details=_excerpt(text, mark.line, mark.column),
        hint=_advice(_reason(error)),
    )


def _excerpt(text: str, line: int, column: int) -> Iterator[str]:
    lines = text.splitlines()
    if line < len(lines):
        yield lines[line].replace("\t", " ")
        yield " " * column + "^"


def _advice(reason: str) -> str:
    if "\\t" in reason or "tab" in reason:
        return "indent with spaces: YAML takes no tabs"
    if "mapping values are not allowed" in reason:
        return "a text with ': ' in it needs quotes; else look at the indentation"
    if "start any token" in reason:
        return "a text that begins with this character needs quotes"
    return "look at the quotes, brackets and indentation here and on the line above"
