"""Parameter: one argument that the trials of a sweep vary, and the text grammar that it is written in.

1e-4..1e-2   1e-4..1e-2:log   1..10 (whole numbers)   64,128,256   adam,sgd   true,false   [64,64],[32,32]
choice(a,b)   range(1,10,2)   interval(0,1)   tag(log, interval(1e-4,1e-2))   int(interval(1,10))   (Hydra's)
0.5..0.99 if optimizer=sgd   (only in trials with that value; several: optimizer=sgd|adam)
"""

from __future__ import annotations

import hashlib
import json
import math
import re
from collections.abc import Mapping, Sequence
from typing import Literal, TypeGuard

from pydantic import BaseModel, ConfigDict

from headway.spec.scalars import scalar

Value = bool | int | float | str | list[bool | int | float | str]
"""What a trial is given for one parameter."""
Kind = Literal["double", "integer", "discrete", "categorical"]
Scale = Literal["linear", "log", "reverse_log"]

MOST_VALUES = 1000
"""A discrete parameter of Vertex AI has no more values."""

_NUMBER = r"[-+]?(?:\d+(?:\.\d*)?|\.\d+)(?:[eE][-+]?\d+)?"
_RANGE = re.compile(rf"\s*(?P<low>{_NUMBER})\s*\.\.\s*(?P<high>[^:\s]*)\s*(?::\s*(?P<scale>\w*)\s*)?")
_BEGINS_AS_RANGE = re.compile(rf"\s*{_NUMBER}\s*\.\.")
_CALL = re.compile(r"\s*(?P<name>[a-z_]+)\((?P<inner>.*)\)\s*", re.DOTALL)
_CONDITION = re.compile(r"^(?P<space>.*?)\s+if\s+(?P<condition>.*)$", re.DOTALL)
_SCALES: tuple[Scale, ...] = ("linear", "log", "reverse_log")
_FUNCTIONS = ("choice", "range", "interval", "tag", "int", "float")
_EXAMPLE = "write for example 1e-4..1e-2:log, 1..10, 64,128,256 or adam,sgd"
_OPEN, _CLOSED = "([{", ")]}"


class Condition(BaseModel):
    """The parameter is there only in trials where `parent` has one of `values`."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    parent: str
    values: tuple[Value, ...]


class Parameter(BaseModel):
    """One key of `args` that is varied: from `low` to `high`, both included, or one of `values`."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str
    kind: Kind
    low: int | float | None = None
    high: int | float | None = None
    values: tuple[Value, ...] = ()
    scale: Scale = "linear"
    condition: Condition | None = None

    def text(self, value: Value) -> str:
        """How a value is written: to Vertex AI, in a trial's words and in tables."""
        return text_of(value)

    def value(self, given: object) -> Value:
        """The value that a trial's word, or a number of Vertex AI's, means.

        Raises ValueError where this parameter has no such value.
        """
        word = str(given).strip()
        if self.kind == "categorical":
            found = next((value for value in self.values if self.text(value) == word), None)
        else:
            found = self._number(scalar(word))
        if found is None:
            raise ValueError(f"{self.name} has no value {word}")
        return found

    def _number(self, given: object) -> int | float | None:
        if not is_number(given):
            return None
        if self.kind == "discrete":
            return next((value for value in self.values if is_number(value) and value == given), None)
        return float(given) if self.kind == "double" else int(given)

    @property
    def choices(self) -> Sequence[Value] | None:
        """All its values, in order; None where they cannot be counted."""
        if self.kind == "integer" and self.low is not None and self.high is not None:
            return range(int(self.low), int(self.high) + 1)
        return None if self.kind == "double" else self.values

    def __str__(self) -> str:
        space = (
            ",".join(item_of(value) for value in self.values) or f"{text_of(self.low)}..{text_of(self.high)}"
        )
        scale = "" if self.scale == "linear" else f":{self.scale}"
        told = f"{space}{scale}"
        if self.condition:
            told += f" if {self.condition.parent}={'|'.join(map(item_of, self.condition.values))}"
        return told


def parse(name: str, text: str) -> Parameter:
    """Read one parameter's text. Raises ValueError: what is wrong, and after `; ` what would be right."""
    condition = None
    if match := _CONDITION.match(text):
        text, condition = match["space"], _condition(match["condition"])
    return _space(name, text).model_copy(update={"condition": condition})


def is_swept(text: str) -> bool:
    """Whether a word's value asks for a sweep, be it a faulty one; else it is one plain value."""
    call = _CALL.fullmatch(_CONDITION.sub(r"\g<space>", text))
    return bool(
        _BEGINS_AS_RANGE.match(text) or (call and call["name"] in _FUNCTIONS) or len(_split(text, ",")) > 1
    )


def digest(values: Mapping[str, Value]) -> str:
    """The name of a point of the search space: 16 characters, whatever the order of the parameters."""
    document = json.dumps(dict(values), sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(document.encode()).hexdigest()[:16]


def _condition(text: str) -> Condition:
    parent, equals, wanted = (part.strip() for part in text.partition("="))
    values = [_scalar_or_list(item) for item in _split(wanted.replace("|", ","), ",")]
    if not equals or not re.fullmatch(r"\S+", parent) or not wanted or None in values:
        raise ValueError(f"{text!r} is no condition; write for example if optimizer=sgd")
    return Condition(parent=parent.removeprefix("args."), values=tuple(v for v in values if v is not None))


def _space(name: str, text: str) -> Parameter:
    if call := _CALL.fullmatch(text):
        return _called(name, call["name"], call["inner"], text)
    if _BEGINS_AS_RANGE.match(text):
        return _range(name, text)
    items = _split(text, ",")
    if len(items) < 2:
        raise ValueError(f"{text.strip()!r} is no range and no list of values; {_EXAMPLE}")
    return _choice(name, items)


def _range(name: str, text: str) -> Parameter:
    match = _RANGE.fullmatch(text)
    if match is None or not re.fullmatch(_NUMBER, match["high"]):
        raise ValueError(f"{text.strip()!r} is no range; {_EXAMPLE}")
    scale = match["scale"] or "linear"
    known: dict[str, Scale] = {each: each for each in _SCALES}
    if scale not in known or match["scale"] == "":
        raise ValueError(f"there is no scale {scale!r}; it is log or reverse_log")
    low, high = scalar(match["low"]), scalar(match["high"])
    return _between(name, low, high, known[scale])


def _between(name: str, low: object, high: object, scale: Scale, kind: Kind | None = None) -> Parameter:
    if not is_number(low) or not is_number(high):
        raise ValueError(f"{low} to {high} is no range of numbers; {_EXAMPLE}")
    if not (math.isfinite(low) and math.isfinite(high)):
        raise ValueError(f"{text_of(low)} to {text_of(high)} is without an end; {_EXAMPLE}")
    if low >= high:
        raise ValueError(f"{text_of(low)} is not less than {text_of(high)}; write the smaller one first")
    if scale != "linear" and low <= 0:
        raise ValueError(f"a {scale} scale begins above 0, not at {text_of(low)}; leave out :{scale}")
    whole = isinstance(low, int) and isinstance(high, int)
    kind = kind or ("integer" if whole else "double")
    if kind == "double":
        low, high = float(low), float(high)
    return Parameter(name=name, kind=kind, low=low, high=high, scale=scale)


def _called(name: str, function: str, inner: str, text: str) -> Parameter:
    items = _split(inner, ",")
    if function == "choice":
        return _choice(name, items)
    if function == "range":
        return _steps(name, text, items)
    if function == "interval" and len(items) == 2:
        return _between(name, scalar(items[0].strip()), scalar(items[1].strip()), "linear", "double")
    if function == "tag" and len(items) > 1:
        return _tagged(name, [item.strip() for item in items[:-1]], items[-1])
    if function in ("int", "float"):
        return _cast(name, function, _space(name, inner))
    raise ValueError(f"{text.strip()!r} is not understood; {_EXAMPLE}")


def _tagged(name: str, tags: Sequence[str], inner: str) -> Parameter:
    found = _space(name, inner)
    for tag in tags:
        if tag in ("int", "float"):
            found = _cast(name, tag, found)
        elif tag in ("log", "reverse_log") and not found.values:
            found = _between(
                name, found.low, found.high, "log" if tag == "log" else "reverse_log", found.kind
            )
        else:
            raise ValueError(f"there is no tag {tag!r} of it; tag(log, interval(1e-4, 1e-2)) is one")
    return found


def _cast(name: str, to: str, found: Parameter) -> Parameter:
    convert = int if to == "int" else float
    if found.values:
        numbers = [value for value in found.values if is_number(value)]
        if len(numbers) < len(found.values):
            raise ValueError(
                f"{', '.join(map(text_of, found.values))} are not all numbers; leave out {to}(...)"
            )
        return _discrete(name, [convert(value) for value in numbers])
    kind: Kind = "integer" if to == "int" else "double"
    return _between(name, convert(found.low or 0), convert(found.high or 0), found.scale, kind)


def _steps(name: str, text: str, items: Sequence[str]) -> Parameter:
    """Hydra's range(start, stop, step): the stop is not in it."""
    numbers = [number for number in map(scalar, (item.strip() for item in items)) if is_number(number)]
    if len(numbers) != len(items) or not 1 <= len(numbers) <= 3:
        raise ValueError(f"{text.strip()!r} is no range of numbers; write for example range(1,10,2)")
    first: list[int | float] = [0] if len(numbers) == 1 else []
    start, stop, step = [*first, *numbers, 1][:3]
    if not step or (stop - start) / step <= 0:
        raise ValueError(f"{text.strip()!r} is empty; its stop is left out, as Python's range leaves it out")
    count = math.ceil(round((stop - start) / step, 9))
    if step == 1 and isinstance(start, int) and isinstance(stop, int) and count > 1:
        return _between(name, start, stop - 1, "linear")
    return _discrete(name, [start + n * step for n in range(min(count, MOST_VALUES + 1))])


def _choice(name: str, items: Sequence[str]) -> Parameter:
    values = [_scalar_or_list(item) for item in items]
    found = [value for value in values if value is not None]
    if len(found) < len(values):
        raise ValueError(f"{','.join(items)!r} has an empty value; quotes make it text")
    numbers = [value for value in found if is_number(value)]
    if len(numbers) == len(found):
        return _discrete(name, numbers)
    _check_values([text_of(value) for value in found])
    return Parameter(name=name, kind="categorical", values=tuple(found))


def _discrete(name: str, numbers: Sequence[int | float]) -> Parameter:
    if not all(math.isfinite(number) for number in numbers):
        raise ValueError("a value is not finite; leave it out")
    _check_values([text_of(float(number)) for number in numbers])
    # Vertex AI takes them in increasing order only
    return Parameter(name=name, kind="discrete", values=tuple(sorted(numbers)))


def _check_values(texts: Sequence[str]) -> None:
    if len(texts) < 2:
        raise ValueError(f"{', '.join(texts) or 'nothing'} is no choice; give two values or more")
    if twice := next((text for text in texts if texts.count(text) > 1), None):
        raise ValueError(f"the value {twice} is there twice; keep one of them")
    if len(texts) > MOST_VALUES:
        raise ValueError(f"it has more than {MOST_VALUES:,} values; a range such as 1..5000 has no such end")


def _split(text: str, at: str) -> list[str]:
    """The parts between separators that stand outside of brackets and quotes."""
    parts, depth, quote = [""], 0, ""
    for letter in text:
        if quote:
            quote = "" if letter == quote else quote
        elif letter in "\"'":
            quote = letter
        elif letter in _OPEN or letter in _CLOSED:
            depth += 1 if letter in _OPEN else -1
        elif letter == at and depth <= 0:
            parts.append("")
            continue
        parts[-1] += letter
    return parts


def _scalar_or_list(text: str) -> Value | None:
    """One item of a list of values: a scalar, quoted text, or a list in brackets. None: there is nothing."""
    word = text.strip()
    if word[:1] == "[" and word[-1:] == "]":
        inner = [_one(item) for item in _split(word[1:-1], ",")] if word[1:-1].strip() else []
        return [item for item in inner if item is not None]
    return _one(word)


def _one(text: str) -> bool | int | float | str | None:
    word = text.strip()
    if len(word) > 1 and word[0] == word[-1] and word[0] in "\"'":
        return word[1:-1]
    return scalar(word)


def is_number(value: object) -> TypeGuard[int | float]:
    return isinstance(value, int | float) and not isinstance(value, bool)


def text_of(value: object) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, list):
        return json.dumps(value, separators=(",", ":"), ensure_ascii=False)
    return str(value)


def item_of(value: object) -> str:
    """A value as an item of the grammar: quoted where it would be read as something else."""
    if isinstance(value, list):
        return f"[{','.join(map(item_of, value))}]"
    if not isinstance(value, str):
        return text_of(value)
    plain = scalar(value) == value and not re.search(r"[\s,()\[\]{}\"'|=]", value)
    return value if plain else f'"{value}"' if '"' not in value else f"'{value}'"
