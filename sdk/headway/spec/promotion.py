"""Promotion: when a model that was trained takes over from the champion, and what became of it."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Mapping
from fnmatch import fnmatchcase
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

from headway.spec.layout import TAG_REPLACED
from headway.spec.section import Section, Timeout, parse_duration

CHAMPION = "champion"
"""The alias that a promotion moves, where the config names no other."""

Goal = Literal["max", "min"]
Bound = Annotated[float, Field(allow_inf_nan=False)]
Loss = Annotated[float, Field(ge=0, allow_inf_nan=False)]
Metrics = dict[str, float | None]
"""What an evaluation gave; None where it was not a finite number."""
Values = Mapping[str, float | None]

_ENTRY = re.compile(r"[A-Za-z_]\w*(\.[A-Za-z_]\w*)*:[A-Za-z_]\w*")
_ALIAS = re.compile(r"(?!(?i:latest)$|[vV][0-9]+$)[\w-]{1,255}", re.ASCII)
"""What MLflow takes for an alias (mlflow.utils.validation, 3.17)."""
_ROUNDING = 1e-9
"""0.95 - 0.93 is a little more than 0.02 as a computer counts."""


def is_alias(text: str) -> bool:
    """Whether MLflow takes it for an alias."""
    return _ALIAS.fullmatch(text) is not None


def tag_replaced(alias: str) -> str:
    """The tag of a version that has the alias: the version that had it before."""
    return TAG_REPLACED if alias == CHAMPION else f"{TAG_REPLACED}.{alias}"


class Promotion(Section):
    """When the model of this run takes over: its gates, and the data that it is judged on."""

    metric: Annotated[str, Field(min_length=1)]
    """The metric that decides, by the name that `evaluate` gives it."""
    goal: Goal = "max"
    """Whether more of a metric is better (`max`) or less (`min`)."""
    min: Bound | None = None
    """Least that the metric must be."""
    max: Bound | None = None
    """Most that the metric may be."""
    better_than: str | None = None
    """Alias of the model that must be surpassed, such as `champion`; the first one has nothing to surpass."""
    on: Annotated[str, Field(min_length=1)]
    """DVC-tracked data that models are compared on, relative to config.yaml; it is pinned like `data`."""
    evaluate: str
    """`module:function` of the run's code: (model: Path, data: Path) -> dict of numbers."""
    max_regression: dict[str, Loss] = Field(default_factory=dict)
    """Most that a metric may fall behind the champion's, by its name or a pattern: `{"slice/*": 0.02}`."""
    timeout: Timeout = parse_duration("1h")
    """Longest time that one evaluation may take."""

    @property
    def alias(self) -> str:
        """The alias that moves."""
        return self.better_than or CHAMPION

    @field_validator("evaluate")
    @classmethod
    def _is_a_function(cls, value: str) -> str:
        if not _ENTRY.fullmatch(value):
            raise ValueError(f"{value!r} is no module:function; write for example  train:evaluate")
        return value

    @field_validator("better_than")
    @classmethod
    def _is_an_alias(cls, value: str | None) -> str | None:
        if value is not None and not is_alias(value):
            raise ValueError(f"{value!r} cannot be an alias; write for example  champion")
        return value

    @model_validator(mode="after")
    def _has_a_gate(self) -> Promotion:
        if self.min is None and self.max is None and self.better_than is None:
            raise ValueError(
                "there is no gate: any model would take over; add min, max, or  better_than: champion"
            )
        if self.min is not None and self.max is not None and self.min > self.max:
            raise ValueError(f"min is {self.min} and max {self.max}; no metric is in between")
        return self

    def pin(self) -> PromotePin:
        """The section as it is kept in a plan."""
        return PromotePin(
            **self.model_dump(include={"metric", "goal", "min", "max", "on", "evaluate", "max_regression"}),
            alias=self.alias,
            better=self.better_than is not None,
            timeout_s=int(self.timeout.total_seconds()),
        )


class PromotePin(BaseModel):
    """What a plan says of promotion. `on` is among the plan's data pins, or inside of one."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    alias: str
    metric: str
    goal: Goal
    min: float | None
    max: float | None
    better: bool
    on: str
    evaluate: str
    max_regression: dict[str, float]
    timeout_s: int


class Gate(BaseModel):
    """One gate and how it went; a value is None where it was not given, or is no finite number."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    gate: str
    metric: str
    limit: float | None
    challenger: float | None
    champion: float | None
    passed: bool
    text: str


class Promoted(BaseModel):
    """What became of the model of a run: `promoted`, `refused` by a gate, or `failed` to be compared.

    `champion` is the version that the alias named when models were compared, None where it named none;
    `table` the gs:// address of the comparison. Unknown keys are ignored, as in the status that holds it.
    """

    model_config = ConfigDict(frozen=True, extra="ignore")

    outcome: Literal["promoted", "refused", "failed"]
    reason: str
    alias: str
    model: str | None
    version: str | None = None
    champion: str | None = None
    on: str
    md5: str | None = None
    gates: tuple[Gate, ...] = ()
    challenger_metrics: Metrics = {}
    champion_metrics: Metrics = {}
    table: str | None = None


def judge(pin: PromotePin, challenger: Values, champion: Values | None) -> tuple[Gate, ...]:
    """Each gate of a plan, by what the evaluations gave; `champion` is None where there is none yet.

    A value that is missing, infinite or not a number passes no gate.
    """
    return tuple(_gates(pin, _finite(challenger), None if champion is None else _finite(champion)))


def _gates(pin: PromotePin, ours: Mapping[str, float], theirs: Mapping[str, float] | None) -> Iterator[Gate]:
    name, value = pin.metric, ours.get(pin.metric)
    missing = None if value is not None else _absent(name, ours)

    def gate(kind: str, limit: float | None, passed: bool, text: str) -> Gate:
        before = theirs.get(name) if theirs is not None else None
        return Gate(
            gate=kind,
            metric=name,
            limit=limit,
            challenger=value,
            champion=before,
            passed=passed and not missing,
            text=missing or text,
        )

    if pin.min is not None:
        passed = value is not None and value >= pin.min
        yield gate("min", pin.min, passed, f"{_number(value)}, at least {_number(pin.min)} is asked for")
    if pin.max is not None:
        passed = value is not None and value <= pin.max
        yield gate("max", pin.max, passed, f"{_number(value)}, at most {_number(pin.max)} is allowed")
    if pin.better:
        passed, text = _better(pin, value, theirs)
        yield gate("better_than", None, passed, text)
    for pattern, limit in pin.max_regression.items():
        yield from _regressions(pin, pattern, limit, ours, theirs)


def _better(pin: PromotePin, value: float | None, theirs: Mapping[str, float] | None) -> tuple[bool, str]:
    if theirs is None:
        return value is not None, f"there is no {pin.alias} yet: nothing to surpass"
    before = theirs.get(pin.metric)
    if before is None:
        return False, f"of the {pin.alias}, {_absent(pin.metric, theirs)}"
    passed = value is not None and (value > before if pin.goal == "max" else value < before)
    return passed, f"{_number(value)}, the {pin.alias} has {_number(before)}"


def _regressions(
    pin: PromotePin,
    pattern: str,
    limit: float,
    ours: Mapping[str, float],
    theirs: Mapping[str, float] | None,
) -> Iterator[Gate]:
    known = sorted({*ours, *(theirs or {})})
    names = [name for name in known if name == pattern or fnmatchcase(name, pattern)]
    for name in names or [pattern]:
        value = ours.get(name)
        before = theirs.get(name) if theirs is not None else None
        loss = None
        if value is None:
            text = _absent(name, ours)
        elif theirs is None:
            text = f"there is no {pin.alias} yet: nothing to fall behind"
        elif before is None:
            text = f"only the new model has it: {_number(value)}"
        else:
            loss = before - value if pin.goal == "max" else value - before
            text = f"{_number(value)}, the {pin.alias} has {_number(before)}"
        yield Gate(
            gate="max_regression",
            metric=name,
            limit=limit,
            challenger=value,
            champion=before,
            passed=value is not None and (loss is None or loss <= limit + _ROUNDING),
            text=text,
        )


def _absent(name: str, given: Mapping[str, float]) -> str:
    return f"evaluate gave no finite {name}; it gave {', '.join(sorted(given)) or 'nothing'}"


def _finite(metrics: Values) -> dict[str, float]:
    return {name: value for name, value in metrics.items() if value is not None and math.isfinite(value)}


def _number(value: Any) -> str:
    return "none" if value is None else f"{value:.6g}"
