"""Vertex AI hyperparameter tuning jobs: the request, rendered by a pure function, and the client's calls."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from headway.cloud import vertex
from headway.cloud.session import TIMEOUT_S, Session, translated
from headway.spec.candidates import Candidate
from headway.spec.parameter import Parameter, Scale, Value
from headway.spec.plan import Plan
from headway.spec.sweep import SweepPin

_ALGORITHMS = {"random": "RANDOM_SEARCH", "grid": "GRID_SEARCH"}
_SCALES: Mapping[Scale, str] = {
    "linear": "UNIT_LINEAR_SCALE",
    "log": "UNIT_LOG_SCALE",
    "reverse_log": "UNIT_REVERSE_LOG_SCALE",
}


@dataclass(frozen=True)
class Trial:
    """A trial as Vertex AI tells it; `state` is Trial.State's name in lower case, `given` what it was given.

    `measured` is the final measurement, by metric; empty before there is one.
    """

    id: str
    state: str
    given: dict[str, object]
    measured: dict[str, float]
    step: int | None
    started: datetime | None
    ended: datetime | None
    infeasible: str | None
    custom_job: str


@dataclass(frozen=True)
class TuningJob(vertex.Job):
    """A hyperparameter tuning job with its trials; what it says of machines is said of each trial's."""

    trials: tuple[Trial, ...] = ()


def render(plan: Plan, candidate: Candidate | None = None) -> dict[str, Any]:
    """The HyperparameterTuningJob of a sweep's plan, as the JSON of Google's API. Pure: golden files test it.

    `candidate` is the attempt to be made, one of the plan's; its first where left out.
    """
    sweep = plan.sweep
    if sweep is None:
        raise ValueError(f"{plan.run_id} is no sweep")
    run = vertex.render(plan, candidate)
    job: dict[str, Any] = {
        "displayName": run["displayName"] + (f"-{sweep.attempt}" if sweep.attempt > 1 else ""),
        "studySpec": _study(sweep),
        "maxTrialCount": sweep.trials,
        "parallelTrialCount": sweep.parallel,
        "trialJobSpec": run["jobSpec"],
        "labels": run["labels"],
    }
    if sweep.max_failed:
        job["maxFailedTrialCount"] = sweep.max_failed
    return job


def _study(sweep: SweepPin) -> dict[str, Any]:
    study: dict[str, Any] = {
        "metrics": [{"metricId": sweep.metric, "goal": "MAXIMIZE" if sweep.goal == "max" else "MINIMIZE"}],
        "parameters": [
            _parameter(each, sweep.parameters) for each in sweep.parameters if each.condition is None
        ],
    }
    if sweep.algorithm in _ALGORITHMS:
        study["algorithm"] = _ALGORITHMS[sweep.algorithm]
    if sweep.early_stopping == "median":
        study["medianAutomatedStoppingSpec"] = {"useElapsedDuration": False}
    return study


def _parameter(parameter: Parameter, space: Sequence[Parameter]) -> dict[str, Any]:
    """One parameter, with those that depend on it below it."""
    spec: dict[str, Any] = {"parameterId": parameter.name, **_values(parameter)}
    if parameter.low is not None:
        spec["scaleType"] = _SCALES[parameter.scale]
    below = [
        {"parameterSpec": _parameter(each, space), **_parent_values(parameter, each.condition.values)}
        for each in space
        if each.condition and each.condition.parent == parameter.name
    ]
    return {**spec, "conditionalParameterSpecs": below} if below else spec


def _values(parameter: Parameter) -> dict[str, Any]:
    if parameter.kind == "double":
        return {"doubleValueSpec": {"minValue": parameter.low, "maxValue": parameter.high}}
    if parameter.kind == "integer":  # int64 is text in Google's JSON
        return {"integerValueSpec": {"minValue": str(parameter.low), "maxValue": str(parameter.high)}}
    if parameter.kind == "discrete":
        return {"discreteValueSpec": {"values": list(parameter.values)}}
    return {"categoricalValueSpec": {"values": [parameter.text(value) for value in parameter.values]}}


def _parent_values(parent: Parameter, values: Sequence[Value]) -> dict[str, Any]:
    if parent.kind == "integer":
        return {"parentIntValues": {"values": [str(value) for value in values]}}
    if parent.kind == "discrete":
        return {"parentDiscreteValues": {"values": list(values)}}
    return {"parentCategoricalValues": {"values": [parent.text(value) for value in values]}}


class TuningJobs:
    """Tuning jobs of a project in one region, through google-cloud-aiplatform's client."""

    def __init__(self, session: Session, region: str) -> None:
        self._region = region
        self._answer_s = session.answer_s
        self._parent = f"projects/{session.project}/locations/{region}"
        self._client = vertex.client(session, region)

    def create(self, body: dict[str, Any]) -> TuningJob:
        """Create the job. Sent once: a create has no request id, so a repeat could make a second job."""
        from google.cloud.aiplatform_v1.types import HyperparameterTuningJob
        from google.protobuf import json_format

        message = HyperparameterTuningJob()
        json_format.ParseDict(body, HyperparameterTuningJob.pb(message))
        with translated(f"cannot create the tuning job in {self._region}"):
            return _job(
                self._client.create_hyperparameter_tuning_job(
                    parent=self._parent, hyperparameter_tuning_job=message, timeout=self._answer_s
                )
            )

    def get(self, name: str) -> TuningJob:
        """Raises NotFound."""
        with translated(f"cannot read the tuning job {name}"):
            return _job(self._client.get_hyperparameter_tuning_job(name=name, timeout=TIMEOUT_S))

    def labelled(self, label: str, value: str | None = None) -> Iterator[TuningJob]:
        """Tuning jobs that carry the label, newest first."""
        condition = f"labels.{label}:*" if value is None else f'labels.{label}="{value}"'
        with translated(f"cannot list the tuning jobs in {self._region}"):
            request = {"parent": self._parent, "filter": condition}
            for job in self._client.list_hyperparameter_tuning_jobs(request=request, timeout=TIMEOUT_S):
                yield _job(job)

    def cancel(self, name: str) -> None:
        """Ask for the end of a job and its trials; it reads CANCELLING, then CANCELLED."""
        with translated(f"cannot cancel the tuning job {name}"):
            self._client.cancel_hyperparameter_tuning_job(name=name, timeout=TIMEOUT_S)


def _job(message: Any) -> TuningJob:
    trials = tuple(_trial(trial) for trial in message.trials)
    return TuningJob(**vertex.read(message, message.trial_job_spec), trials=trials)


def _trial(message: Any) -> Trial:
    measurement = message.final_measurement
    return Trial(
        id=message.id,
        state=message.state.name.lower(),
        given={each.parameter_id: each.value for each in message.parameters},
        measured={each.metric_id: each.value for each in measurement.metrics},
        step=int(measurement.step_count) if measurement.metrics else None,
        started=vertex.moment(message.start_time),
        ended=vertex.moment(message.end_time),
        infeasible=message.infeasible_reason or None,
        custom_job=message.custom_job,
    )
