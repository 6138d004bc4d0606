"""Sweep: the section of config.yaml that says what is varied and how it is judged, and its form in a plan."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, WithJsonSchema

from headway.spec.parameter import Condition, Parameter, Value, is_number, item_of, parse, text_of
from headway.spec.section import Number, Section
from headway.spec.unfit import Unfit

Goal = Literal["max", "min"]
Algorithm = Literal["default", "random", "grid"]
EarlyStopping = Literal["none", "median"]

_METRIC = re.compile(r"(?P<name>\S+):(?P<goal>min|max)")
_GOALS: Mapping[str, Goal] = {"min": "min", "max": "max", "minimize": "min", "maximize": "max"}


def _as_text(value: object) -> object:
    """A YAML list as the grammar's text; a number as the one value that it is."""
    if isinstance(value, list):
        _check_items(value)
        return ",".join(item_of(item) for item in value)
    return text_of(value) if isinstance(value, bool | int | float) else value


def _check_items(values: list[object]) -> None:
    """Raises ValueError for what no argument can be: a trial would be given its name in words."""
    for value in values:
        if isinstance(value, list):
            _check_items(value)
        elif value is None or isinstance(value, Mapping):
            raise ValueError(f"a value is {'nothing' if value is None else 'a mapping'}; quotes make it text")
        elif isinstance(value, float) and not math.isfinite(value):
            raise ValueError("a value is not finite; leave it out")


def _parsable(text: str) -> str:
    parse("it", text)
    return text


def _metric(value: object) -> object:
    """`{name: val_loss, goal: min}` as one text, `val_loss:min`; checked here, for the message."""
    if isinstance(value, Mapping):
        if set(value) != {"name", "goal"}:
            raise ValueError("it has a name and a goal; write for example val_loss:min")
        value = f"{value['name']}:{value['goal']}"
    if isinstance(value, str):
        name, _, goal = value.rpartition(":")
        value = f"{name.strip()}:{_GOALS.get(goal.strip().lower(), goal)}"
        if not _METRIC.fullmatch(value):
            raise ValueError(f"{value.lstrip(':')!r} does not say min or max; write for example val_loss:min")
    return value


Space = Annotated[
    str,
    BeforeValidator(_as_text),
    AfterValidator(_parsable),
    WithJsonSchema({"anyOf": [{"type": "string"}, {"type": "array", "minItems": 2}]}),
]
Metric = Annotated[
    str,
    BeforeValidator(_metric),
    WithJsonSchema(
        {
            "anyOf": [
                {"type": "string", "pattern": r"^\S+:(min|max|minimize|maximize)$"},
                {
                    "type": "object",
                    "properties": {"name": {"type": "string"}, "goal": {"enum": list(_GOALS)}},
                    "required": ["name", "goal"],
                    "additionalProperties": False,
                },
            ]
        }
    ),
]


class Sweep(Section):
    """What a sweep varies, and how it judges; a plain submit leaves it alone."""

    parameters: dict[str, Space] = Field(default_factory=dict)
    """Argument -> range or values: `1e-4..1e-2:log`, `1..10`, `adam,sgd`, `0.5..0.9 if optimizer=sgd`."""
    metric: Metric | None = None
    """Logged metric that judges a trial, and whether less or more of it is better: `val_loss:min`."""
    trials: Annotated[int, Field(ge=1), Number] | None = None
    """How many trials at most; the whole grid where the algorithm is grid."""
    parallel: Annotated[int, Field(ge=1), Number] = 1
    """How many of them at once."""
    algorithm: Algorithm = "default"
    """`default` learns from the trials before (Bayesian), `random`, or `grid`."""
    early_stopping: EarlyStopping = "none"
    """`median` stops a trial that is worse than half of those before it were at its step."""
    max_failed: Annotated[int, Field(ge=0), Number] = 0
    """So many failed trials end the sweep; 0 leaves it to Vertex AI."""

    @property
    def space(self) -> tuple[Parameter, ...]:
        """The parameters, in the order of the file."""
        return tuple(parse(name.removeprefix("args."), text) for name, text in self.parameters.items())


class SweepPin(BaseModel):
    """A sweep as its plan has it: `attempt` counts its tuning jobs from 1, `trial` is a trial's plan's."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    id: str
    metric: str
    goal: Goal
    parameters: tuple[Parameter, ...]
    trials: int
    parallel: int
    algorithm: Algorithm = "default"
    early_stopping: EarlyStopping = "none"
    max_failed: int = 0
    attempt: int = 1
    trial: str | None = None

    def run_id(self, trial: str) -> str:
        """The id of one trial's run."""
        return f"{self.id}{f'-{self.attempt}' if self.attempt > 1 else ''}-t{trial}"

    def values(self, given: Mapping[str, object]) -> dict[str, Value]:
        """A trial's words as values of their parameters, in the order of the sweep.

        Raises ValueError for a parameter that the sweep does not have, or a value that it has not.
        """
        known = {parameter.name: parameter for parameter in self.parameters}
        if strange := [name for name in given if name not in known]:
            raise ValueError(f"the sweep {self.id} has no parameter {', '.join(strange)}")
        return {name: each.value(given[name]) for name, each in known.items() if name in given}

    def better(self, one: float, other: float) -> bool:
        """Whether one value of the metric is better than another."""
        return one > other if self.goal == "max" else one < other


def pinned(sweep: Sweep | None, sweep_id: str) -> SweepPin:
    """The sweep that a config asks for. Raises Unfit, naming the key, where it cannot be had."""
    if sweep is None or not sweep.parameters:
        raise Unfit(
            "sweep.parameters" if sweep else "sweep",
            "there is nothing to vary",
            hint="give a range, for example args.lr=1e-4..1e-2:log, or sweep.parameters in config.yaml",
        )
    if sweep.metric is None:
        raise Unfit(
            "sweep.metric",
            "the sweep has no metric to judge its trials by",
            hint="name one that the training logs: --metric val_loss:min",
        )
    space = sweep.space
    space = tuple(_settled(parameter, space, sweep) for parameter in space)
    trials = sweep.trials if sweep.trials is not None else _whole(sweep, space)
    name, _, goal = sweep.metric.rpartition(":")
    return SweepPin(
        id=sweep_id,
        metric=name,
        goal=_GOALS[goal],
        parameters=space,
        trials=trials,
        parallel=min(sweep.parallel, trials),
        algorithm=sweep.algorithm,
        early_stopping=sweep.early_stopping,
        max_failed=sweep.max_failed,
    )


def _whole(sweep: Sweep, space: Sequence[Parameter]) -> int:
    if sweep.algorithm != "grid":
        raise Unfit("sweep.trials", "the sweep does not say how many trials", hint="for example --trials 20")
    return points(space)


def points(space: Sequence[Parameter]) -> int:
    """How many points the space has; 0 where one of the ranges is continuous."""
    if any(each.choices is None for each in space):
        return 0
    return math.prod(_grid_size(each, space) for each in space if each.condition is None)


def _grid_size(parameter: Parameter, space: Sequence[Parameter]) -> int:
    """Points of the grid below one parameter: its values, each with those that depend on it."""
    below = [each for each in space if each.condition and each.condition.parent == parameter.name]
    if not below:
        return len(parameter.choices or ())
    return sum(
        math.prod(_grid_size(each, space) for each in below if each.condition and v in each.condition.values)
        for v in parameter.choices or ()
    )


def _settled(parameter: Parameter, space: Sequence[Parameter], sweep: Sweep) -> Parameter:
    """The parameter, its condition by its parent's own values. Raises Unfit."""
    key = f"sweep.parameters.{parameter.name}"
    if not parameter.name or re.search(r"\s|=", parameter.name):
        raise Unfit(key, f"{parameter.name!r} is no name of an argument", hint="leave out blanks and =")
    if sum(each.name == parameter.name for each in space) > 1:
        raise Unfit(key, f"{parameter.name} is there twice, with and without args.", hint="keep one of them")
    if sweep.algorithm == "grid" and parameter.choices is None:
        raise Unfit(
            key,
            f"a grid has no end over the continuous range {parameter}",
            hint="list its values, for example 0.001,0.003,0.01, or leave out the algorithm",
        )
    if parameter.condition is None:
        return parameter
    condition = _settled_condition(key, parameter, parameter.condition, space)
    return parameter.model_copy(update={"condition": condition})


def _settled_condition(
    key: str, parameter: Parameter, condition: Condition, space: Sequence[Parameter]
) -> Condition:
    known = {each.name: each for each in space}
    parent = known.get(condition.parent)
    if parent is None:
        others = ", ".join(name for name in known if name != parameter.name) or "no other"
        raise Unfit(
            key,
            f"it depends on {condition.parent}, which the sweep does not vary",
            hint=f"the sweep varies {others}",
        )
    if (choices := parent.choices) is None:
        raise Unfit(
            key,
            f"it depends on {parent.name}, which is continuous: no value of it comes up for certain",
            hint="a condition is on whole numbers or listed values",
        )
    own = [_own(parent, choices, value) for value in condition.values]
    if strange := [value for value, found in zip(condition.values, own, strict=True) if found is None]:
        raise Unfit(
            key,
            f"it depends on {parent.name}={item_of(strange[0])}, and {parent.name} is {parent}",
            hint="name one of its values",
        )
    if parameter.name in _ancestors(parameter, known):
        raise Unfit(key, "it depends on itself", hint="one of the conditions on the way must go")
    return Condition(parent=parent.name, values=tuple(value for value in own if value is not None))


def _own(parent: Parameter, choices: Sequence[Value], value: Value) -> Value | None:
    """The parent's own value that is meant, None where it has none: true is not 1, and 1.0 is, of numbers."""
    if parent.kind == "categorical":
        return next((each for each in choices if type(each) is type(value) and each == value), None)
    if not is_number(value) or not math.isfinite(value):
        return None
    if parent.kind == "integer":  # of which there may be billions
        return int(value) if int(value) == value and int(value) in choices else None
    return next((each for each in choices if each == value), None)


def _ancestors(parameter: Parameter, known: Mapping[str, Parameter]) -> Iterator[str]:
    """Names up the chain of conditions; in a circle until one comes again."""
    seen: list[str] = []
    at: Any = parameter
    while at is not None and at.condition and at.condition.parent not in seen:
        seen.append(at.condition.parent)
        at = known.get(at.condition.parent)
    return iter(seen)
