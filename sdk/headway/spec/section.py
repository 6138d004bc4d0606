"""What every section of config.yaml is built on: frozen, no unknown keys; durations as people write them."""

from __future__ import annotations

import re
from datetime import timedelta
from typing import TYPE_CHECKING, Annotated, Any

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, PlainSerializer, WithJsonSchema

if TYPE_CHECKING:
    from pydantic import GetJsonSchemaHandler
    from pydantic_core import CoreSchema

_UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86400}
_DURATION = re.compile(r"^(?:\d+(?:\.\d+)?[dhms])+$")
_LONGEST_S = 100 * 366 * 86400
"""A hundred years: added to any date of a job, it is a date still."""


_REGION = re.compile(r"[a-z]+(-[a-z]+)+\d+")
_ZONE = re.compile(rf"({_REGION.pattern})-[a-z]")


def region(text: str) -> str:
    """The name of a region of Google's. Raises ValueError for what is none, a zone above all."""
    if _REGION.fullmatch(text):
        return text
    if zone := _ZONE.fullmatch(text):
        raise ValueError(f"{text!r} is a zone, and jobs are sent to a region; write {zone[1]}")
    raise ValueError(f"{text!r} is no region's name; write for example us-central1")


Region = Annotated[str, AfterValidator(region)]


def _number(value: object) -> object:
    if isinstance(value, bool):
        raise ValueError(f"{str(value).lower()} is no number")
    return value


Number = BeforeValidator(_number)
"""Behind a field's bounds: true, which Python takes for 1, is no number."""


def parse_duration(text: object) -> timedelta:
    """Read `90s`, `45m`, `2h`, `1h30m`, `7d` or a number of seconds.

    Raises ValueError where it is neither, or negative, or longer than any job.
    """
    if isinstance(text, timedelta):
        return text
    seconds: float | None = None
    if isinstance(text, int | float) and not isinstance(text, bool):
        seconds = text
    elif isinstance(text, str) and _DURATION.match(text.strip()):
        parts = re.findall(r"(\d+(?:\.\d+)?)([dhms])", text.strip())
        seconds = sum(float(number) * _UNITS[unit] for number, unit in parts)
    if seconds is None or not 0 <= seconds <= _LONGEST_S:
        raise ValueError(f"{text!r} is no duration; write for example 90s, 45m, 2h or 1h30m")
    return timedelta(seconds=seconds)


def format_duration(value: timedelta) -> str:
    """The shortest of the spellings that `parse_duration` reads: `2h`, `1h30m`, `45s`."""
    seconds = int(value.total_seconds())
    parts: list[str] = []
    for unit, size in (("d", 86400), ("h", 3600), ("m", 60), ("s", 1)):
        number, seconds = divmod(seconds, size)
        if number:
            parts.append(f"{number}{unit}")
    return "".join(parts) or "0s"


Duration = Annotated[
    timedelta,
    BeforeValidator(parse_duration),
    PlainSerializer(format_duration, return_type=str),
    WithJsonSchema({"type": ["string", "number"], "examples": ["2h", "1h30m", "90s"]}),
]


def _lasting(value: timedelta) -> timedelta:
    """Google takes a timeout of zero for none, and then ends nothing for days."""
    if value < timedelta(seconds=1):
        raise ValueError(f"{value.total_seconds():g}s is less than a second; write for example 45m or 2h")
    return value


Timeout = Annotated[Duration, AfterValidator(_lasting)]
"""A duration after which something is ended."""


class Section(BaseModel):
    """A section of config.yaml; the docstrings of its fields are their descriptions in the schema."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    @classmethod
    def __get_pydantic_json_schema__(
        cls, core_schema: CoreSchema, handler: GetJsonSchemaHandler
    ) -> dict[str, Any]:
        # pydantic can do so itself, but only as each class is made: every command would parse their sources
        schema = handler(core_schema)
        properties = handler.resolve_ref_schema(schema)["properties"]
        for name, text in _docstrings(cls).items():
            properties[cls.model_fields[name].alias or name]["description"] = text
        return schema


def _docstrings(section: type) -> dict[str, str]:
    """Field -> the docstring below it."""
    import ast
    import inspect
    import textwrap
    from itertools import pairwise

    (definition,) = ast.parse(textwrap.dedent(inspect.getsource(section))).body
    assert isinstance(definition, ast.ClassDef)
    return {
        field.target.id: inspect.cleandoc(below.value.value)
        for field, below in pairwise(definition.body)
        if isinstance(field, ast.AnnAssign)
        and isinstance(field.target, ast.Name)
        and isinstance(below, ast.Expr)
        and isinstance(below.value, ast.Constant)
        and isinstance(below.value.value, str)
    }
