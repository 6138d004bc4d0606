"""What Vertex AI refuses in a hyperparameter tuning job that its schema allows.

Source: the descriptions of HyperparameterTuningJob and StudySpec in google-cloud-aiplatform 2.7.0
(aiplatform_v1/types/hyperparameter_tuning_job.py, study.py). The wording of the messages is not established.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from itertools import pairwise
from typing import Any

from headway_emulator.errors import unimplemented
from headway_emulator.schema import snake
from headway_emulator.services.vertex import rules as vertex_rules
from headway_emulator.services.vertex.fields import Violation, display_name
from headway_emulator.services.vertex.machines import REQUIRED

Spec = Mapping[str, Any]
ROOT = "hyperparameter_tuning_job"
STUDY = f"{ROOT}.study_spec"
EMULATED = frozenset(
    [
        *("parameters", "metrics", "algorithm", "measurementSelectionType", "observationNoise"),
        "medianAutomatedStoppingSpec",
    ]
)
STOPPING = ("decayCurveStoppingSpec", "medianAutomatedStoppingSpec", "convexAutomatedStoppingSpec")
VALUES = ("doubleValueSpec", "integerValueSpec", "categoricalValueSpec", "discreteValueSpec")
CONDITIONS = {
    "parentDiscreteValues": "discreteValueSpec",
    "parentIntValues": "integerValueSpec",
    "parentCategoricalValues": "categoricalValueSpec",
}
LOG_SCALES = ("UNIT_LOG_SCALE", "UNIT_REVERSE_LOG_SCALE")
DISCRETE_VALUES = 1000
UNSET = ("", "SCALE_TYPE_UNSPECIFIED")


def check(job: Spec) -> None:
    """ApiError naming every field that breaks a rule, or what is not emulated."""
    violations = [
        *display_name(job, ROOT),
        *vertex_rules.labels(job.get("labels", {}), f"{ROOT}.labels"),
        *_counts(job),
        *_study(job.get("studySpec", {})),
    ]
    if "trialJobSpec" not in job:
        violations.append((f"{ROOT}.trial_job_spec", REQUIRED))
    vertex_rules.check_spec(job.get("trialJobSpec"), f"{ROOT}.trial_job_spec", violations)
    for name in sorted(set(job.get("studySpec", {})) - EMULATED):
        raise unimplemented(f"studySpec.{name}")
    if any("safetyConfig" in metric for metric in job["studySpec"]["metrics"]):
        raise unimplemented("studySpec.metrics.safetyConfig")


def _counts(job: Spec) -> Iterator[Violation]:
    for name, place in (("maxTrialCount", "max_trial_count"), ("parallelTrialCount", "parallel_trial_count")):
        if job.get(name, 0) < 1:
            text = REQUIRED if name not in job else f"It must be positive, not {job[name]}."
            yield f"{ROOT}.{place}", text
    if job.get("maxFailedTrialCount", 0) < 0:
        yield f"{ROOT}.max_failed_trial_count", "It must not be negative."


def _study(study: Spec) -> Iterator[Violation]:
    yield from _metrics(study.get("metrics", []))
    parameters = study.get("parameters", [])
    if not parameters:
        yield f"{STUDY}.parameters", REQUIRED
    yield from _parameters(parameters, f"{STUDY}.parameters")
    if study.get("algorithm") == "GRID_SEARCH":
        for spec, at in _all(parameters, f"{STUDY}.parameters"):
            if "doubleValueSpec" in spec:
                text = "To use grid search, all parameters must be INTEGER, CATEGORICAL, or DISCRETE."
                yield f"{at}.double_value_spec", text
    given = [name for name in STOPPING if name in study]
    if len(given) > 1:
        yield STUDY, f"Only one automated stopping spec can be set, not {' and '.join(given)}."


def _metrics(metrics: Sequence[Spec]) -> Iterator[Violation]:
    at = f"{STUDY}.metrics"
    if not metrics:
        yield at, REQUIRED
    for i, metric in enumerate(metrics):
        yield from _id(metric.get("metricId", ""), f"{at}[{i}].metric_id")
        if metric.get("goal", "GOAL_TYPE_UNSPECIFIED") == "GOAL_TYPE_UNSPECIFIED":
            yield f"{at}[{i}].goal", REQUIRED
    yield from _unique([metric.get("metricId", "") for metric in metrics], at, "metric_id")


def _parameters(parameters: Sequence[Spec], at: str) -> Iterator[Violation]:
    for spec, place in _all(parameters, at):
        yield from _id(spec.get("parameterId", ""), f"{place}.parameter_id")
        given = [name for name in VALUES if name in spec]
        if len(given) != 1:
            yield place, f"Exactly one value spec must be set, not {len(given)}."
        else:
            yield from _values(spec, given[0], place)
            yield from _conditions(spec, place)
    yield from _unique([spec.get("parameterId", "") for spec in parameters], at, "parameter_id")


def _all(parameters: Sequence[Spec], at: str) -> Iterator[tuple[Spec, str]]:
    """Every parameter with its place, conditional ones too."""
    for i, spec in enumerate(parameters):
        yield spec, f"{at}[{i}]"
        for j, child in enumerate(spec.get("conditionalParameterSpecs", [])):
            place = f"{at}[{i}].conditional_parameter_specs[{j}].parameter_spec"
            for below, where in _all([child.get("parameterSpec", {})], place):
                yield below, where.replace(f"{place}[0]", place, 1)


def _values(spec: Spec, kind: str, at: str) -> Iterator[Violation]:
    place, scale = f"{at}.{kind.replace('ValueSpec', '_value_spec')}", spec.get("scaleType", "")
    given = spec[kind]
    if kind in ("doubleValueSpec", "integerValueSpec"):
        low, high = (float(given.get(end, 0)) for end in ("minValue", "maxValue"))
        if low > high:
            yield place, f"min_value {low:g} is greater than max_value {high:g}."
    else:
        values = given.get("values", [])
        low = min(values) if values and kind == "discreteValueSpec" else 1.0
        if not values:
            yield f"{place}.values", REQUIRED
        if kind == "discreteValueSpec" and any(b - a < 1e-10 for a, b in pairwise(values)):
            yield f"{place}.values", "The values must be in increasing order and at least 1e-10 apart."
        if len(values) > DISCRETE_VALUES:
            yield f"{place}.values", f"There are {len(values)} values; at most {DISCRETE_VALUES} are allowed."
    if kind == "categoricalValueSpec" and scale not in UNSET:
        yield f"{at}.scale_type", "Leave scale_type unset for CATEGORICAL parameters."
    if scale in LOG_SCALES and low <= 0:
        yield (
            f"{at}.scale_type",
            f"{scale} needs a feasible space that is strictly positive, not from {low:g}.",
        )


def _conditions(spec: Spec, at: str) -> Iterator[Violation]:
    for i, child in enumerate(spec.get("conditionalParameterSpecs", [])):
        place = f"{at}.conditional_parameter_specs[{i}]"
        given = [name for name in CONDITIONS if name in child]
        if "parameterSpec" not in child:
            yield f"{place}.parameter_spec", REQUIRED
        if len(given) != 1 or CONDITIONS[given[0]] not in spec:
            yield place, "Exactly one parent_value_condition of the parent's type must be set."
        elif not child[given[0]].get("values"):
            yield f"{place}.{snake(given[0])}.values", REQUIRED
        elif unknown := [value for value in child[given[0]]["values"] if not _feasible(spec, value)]:
            yield place, f"The parent parameter has no value {unknown[0]}."


def _feasible(spec: Spec, value: Any) -> bool:
    if "integerValueSpec" in spec:
        low, high = (int(spec["integerValueSpec"].get(end, 0)) for end in ("minValue", "maxValue"))
        return low <= int(value) <= high
    if "discreteValueSpec" in spec:
        return any(abs(value - known) <= 1e-10 for known in spec["discreteValueSpec"]["values"])
    return value in spec["categoricalValueSpec"]["values"]


def _id(given: str, at: str) -> Iterator[Violation]:
    if not given:
        yield at, REQUIRED
    elif given != "".join(given.split()):
        yield at, f'"{given}" must not contain whitespaces.'


def _unique(ids: Sequence[str], at: str, what: str) -> Iterator[Violation]:
    twice = sorted({given for given in ids if given and ids.count(given) > 1})
    if twice:
        yield at, f'Each {what} must be unique: "{twice[0]}" is there {ids.count(twice[0])} times.'
