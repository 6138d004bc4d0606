"""Optuna in Vizier's place. This module loads it, which takes a second and some 40 MB: import it late.

The Optuna study lives for one suggestion: it is made anew from the trials that the emulator keeps.
"""

from __future__ import annotations

import warnings
from collections.abc import Sequence

import optuna
from optuna.distributions import (
    BaseDistribution,
    CategoricalDistribution,
    FloatDistribution,
    IntDistribution,
)

from headway_emulator.engine.tuning import space
from headway_emulator.engine.tuning.space import Spec, Tried, Value

STARTUP = 6
"""Trials at random before any is modelled: of 24 that four at a time, more than Optuna's ten left too few."""
STEPS = 10_000
"""Integers of a wider range are rounded places of their scale: Optuna's steps are not exact there."""

optuna.logging.set_verbosity(optuna.logging.ERROR)
warnings.filterwarnings("ignore", category=optuna.exceptions.ExperimentalWarning)  # of `group`, below


class Sampling:
    """A study in which `tried` were tried."""

    def __init__(self, parameters: Sequence[Spec], sampler: optuna.samplers.BaseSampler) -> None:
        self._parameters = parameters
        self._study = optuna.create_study(sampler=sampler, direction="maximize")

    @classmethod
    def uniform(cls, parameters: Sequence[Spec], seed: int) -> Sampling:
        return cls(parameters, optuna.samplers.RandomSampler(seed))

    @classmethod
    def tpe(cls, parameters: Sequence[Spec], seed: int, tried: Sequence[Tried]) -> Sampling:
        conditional = any(space.conditions(spec) for spec in parameters)
        sampler = optuna.samplers.TPESampler(
            seed=seed,
            n_startup_trials=STARTUP,
            multivariate=True,
            group=conditional,
            constant_liar=True,
        )
        found = cls(parameters, sampler)
        for trial in tried:
            found._add(trial)
        return found

    def draw(self) -> dict[str, Value]:
        """Values for another trial; from now on it counts as one that is running."""
        trial = self._study.ask()

        def choose(place: str, spec: Spec) -> Value:
            return _value(spec, _asked(trial, place, _distribution(spec)))

        return space.filled(self._parameters, choose)

    def _add(self, tried: Tried) -> None:
        params: dict[str, Value] = {}
        distributions: dict[str, BaseDistribution] = {}

        def choose(place: str, spec: Spec) -> Value:
            value = tried.values[spec["parameterId"]]
            distributions[place] = _distribution(spec)
            params[place] = _drawn(spec, value)
            return value

        space.filled(self._parameters, choose)
        state = optuna.trial.TrialState.RUNNING
        if tried.over:
            # PRUNED without a report is Optuna's worst trial: a failed one would teach it nothing
            complete = tried.objective is not None
            state = optuna.trial.TrialState.COMPLETE if complete else optuna.trial.TrialState.PRUNED
        self._study.add_trial(
            optuna.trial.create_trial(
                state=state, params=params, distributions=distributions, value=tried.objective
            )
        )


def _asked(trial: optuna.Trial, name: str, wanted: BaseDistribution) -> Value:
    match wanted:
        case CategoricalDistribution():
            return str(trial.suggest_categorical(name, wanted.choices))
        case IntDistribution():
            return int(trial.suggest_int(name, wanted.low, wanted.high, log=wanted.log))
    assert isinstance(wanted, FloatDistribution)
    return float(trial.suggest_float(name, wanted.low, wanted.high))


def _distribution(spec: Spec) -> BaseDistribution:
    """Optuna's own for words, integers and values in a row; all else are places from 0 to 1 of a scale."""
    if "categoricalValueSpec" in spec:
        return CategoricalDistribution(spec["categoricalValueSpec"]["values"])
    if _stepped(spec):
        low, high = space.whole_bounds(spec)
        return IntDistribution(low, high, log=spec.get("scaleType") in (space.LOG, space.REVERSE_LOG))
    if _listed(spec):
        return IntDistribution(0, len(spec["discreteValueSpec"]["values"]) - 1)
    return FloatDistribution(0.0, 1.0)


def _value(spec: Spec, drawn: Value) -> Value:
    """What a trial gets for what Optuna drew."""
    if isinstance(drawn, str):
        return drawn
    if _stepped(spec):
        return _mirrored(spec, int(drawn))
    if _listed(spec):
        return space.discrete_values(spec)[int(drawn)]
    return space.at(spec, float(drawn))


def _drawn(spec: Spec, value: Value) -> Value:
    """What Optuna would have drawn for this value."""
    if isinstance(value, str):
        return value
    if _stepped(spec):
        return _mirrored(spec, int(value))
    if _listed(spec):
        return space.discrete_values(spec).index(float(value))
    return space.unit(spec, float(value))


def _stepped(spec: Spec) -> bool:
    """Integers that Optuna's model can tell from each other."""
    if "integerValueSpec" not in spec:
        return False
    low, high = space.whole_bounds(spec)
    return high - low <= STEPS


def _listed(spec: Spec) -> bool:
    return "discreteValueSpec" in spec and spec.get("scaleType", "") in space.UNSCALED


def _mirrored(spec: Spec, value: int) -> int:
    """A reverse logarithmic scale is a logarithmic one from the other end."""
    return sum(space.whole_bounds(spec)) - value if spec.get("scaleType") == space.REVERSE_LOG else value
