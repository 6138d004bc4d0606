"""What there is to say of a sweep and its trials, put together from Vertex AI, the bucket and the plan."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from typing import Any

from pydantic import BaseModel, ConfigDict

from headway.cloud import vertex
from headway.cloud.asking import ask_each
from headway.cloud.services import Services
from headway.cloud.tuning import Trial, TuningJob
from headway.errors import InputError, NotFound, RemoteError, Unreadable
from headway.jobs import sweep_tracking
from headway.jobs.claim import read_sweep
from headway.jobs.lookup import attempt_of
from headway.spec.cost import Cost
from headway.spec.layout import LABEL_NAME, LABEL_RUN, LABEL_SWEEP, BucketLayout
from headway.spec.parameter import Value
from headway.spec.place import Place
from headway.spec.plan import Plan
from headway.spec.status import RunStatus
from headway.spec.sweep import SweepPin

OVER = frozenset({"succeeded", "infeasible"})
"""States of a trial that it does not leave."""


class TrialView(BaseModel):
    """One trial. `value` is the metric's; None before it is measured, and where it failed. Times are UTC."""

    model_config = ConfigDict(frozen=True)

    trial: str
    attempt: int
    run_id: str
    state: str
    values: dict[str, Value]
    value: float | None
    step: int | None
    started: datetime | None
    ended: datetime | None
    outputs: str
    job: str | None
    error: str | None

    @property
    def seconds(self) -> float | None:
        """How long it took; None before its end."""
        return (self.ended - self.started).total_seconds() if self.started and self.ended else None


class SweepView(BaseModel):
    """The stable JSON document of a sweep (`launch sweep status --json`). Times are UTC.

    `trials` are those of all its tuning jobs, `attempts` of them. `best` is the best that ended well.
    """

    model_config = ConfigDict(frozen=True)

    sweep_id: str
    name: str
    state: str
    metric: str
    goal: str
    algorithm: str
    parameters: dict[str, str]
    trials_wanted: int
    parallel: int
    attempts: int
    trials: tuple[TrialView, ...]
    best: TrialView | None
    tracking_url: str | None
    created: datetime | None
    started: datetime | None
    ended: datetime | None
    region: str
    machine: str
    job: str
    outputs: str
    error: str | None
    cost: Cost | None
    unreadable: str | None = None

    @property
    def finished(self) -> int:
        """Trials that ended well, each point once."""
        return len({json.dumps(each.values, sort_keys=True) for each in self.trials if _is_good(each)})

    def document(self) -> dict[str, Any]:
        return self.model_dump(mode="json")


def label(trial: TrialView) -> str:
    """What a trial is called beside its sweep's others: `7`, and `2-7` of the second tuning job."""
    return trial.trial if trial.attempt == 1 else f"{trial.attempt}-{trial.trial}"


def spent(plan: Plan, jobs: tuple[TuningJob, ...]) -> Cost | None:
    """What the trials of these jobs have cost so far, by list prices; None where a price is not known."""
    total = 0.0
    for job in jobs:
        hour = plan.candidates[min(attempt_of(job), len(plan.candidates)) - 1].usd_hour
        if hour is None:
            return None
        total += sum(_hours(trial) for trial in job.trials) * hour
    hour = plan.candidates[min(attempt_of(jobs[-1]), len(plan.candidates)) - 1].usd_hour if jobs else None
    return Cost(
        spent_usd=round(total, 4),
        left_usd=None if plan.budget_usd is None else round(max(0.0, plan.budget_usd - total), 4),
        budget_usd=plan.budget_usd,
        usd_hour=hour or 0.0,
        price_date=plan.price_date,
    )


def _hours(trial: Trial) -> float:
    if trial.started is None:
        return 0.0
    return max(0.0, ((trial.ended or datetime.now(UTC)) - trial.started).total_seconds()) / 3600


def _is_good(trial: TrialView) -> bool:
    return trial.state == "succeeded" and trial.value is not None


def view_of(plan: Plan, jobs: tuple[TuningJob, ...], services: Services) -> SweepView:
    """All of a sweep in one document: `jobs` are its tuning jobs, the last one at the end."""
    sweep, job = pin_of(plan), jobs[-1]
    first = pin_of(read_sweep(sweep.id, services)) if sweep.attempt > 1 else sweep
    trials = tuple(explained([trial for job in jobs for trial in trial_views(plan, job)], services))
    best: TrialView | None = None
    for each in filter(_is_good, trials):
        if best is None or sweep.better(each.value or 0.0, best.value or 0.0):
            best = each
    return SweepView(
        sweep_id=sweep.id,
        name=plan.name,
        state=job.state,
        metric=sweep.metric,
        goal=sweep.goal,
        algorithm=sweep.algorithm,
        parameters={each.name: str(each) for each in sweep.parameters},
        trials_wanted=first.trials,
        parallel=sweep.parallel,
        attempts=len(jobs),
        trials=trials,
        best=best,
        tracking_url=sweep_tracking.url(plan, services),
        created=jobs[0].created,
        started=jobs[0].started,
        ended=job.ended,
        region=job.region,
        machine=job.machines,
        job=job.name if job.job_id else "",
        outputs=plan.layout.uri(plan.layout.sweep(sweep.id)),
        error=_error(plan, job, services),
        cost=spent(plan, jobs),
    )


def bare_sweep_view(job: TuningJob, place: Place, why: Unreadable) -> SweepView:
    """A sweep whose plan cannot be read here: what Vertex AI says of its last tuning job."""
    sweep_id, layout = job.labels[LABEL_RUN], BucketLayout(place.bucket)
    return SweepView(
        sweep_id=sweep_id,
        name=job.labels.get(LABEL_NAME, ""),
        state=job.state,
        metric="",
        goal="",
        algorithm="",
        parameters={},
        trials_wanted=0,
        parallel=0,
        attempts=int(job.labels.get(LABEL_SWEEP, 1)),
        trials=(),
        best=None,
        tracking_url=None,
        created=job.created,
        started=job.started,
        ended=job.ended,
        region=job.region,
        machine=job.machines,
        job=job.name,
        outputs=layout.uri(layout.sweep(sweep_id)),
        error=job.error,
        cost=None,
        unreadable=why.message,
    )


def trial_views(plan: Plan, job: TuningJob) -> list[TrialView]:
    """The trials of one of a sweep's jobs."""
    attempt = int(job.labels.get(LABEL_SWEEP, 1))
    pin = pin_of(plan).model_copy(update={"attempt": attempt})
    return [_trial(plan.layout, pin, trial) for trial in job.trials]


def pin_of(plan: Plan) -> SweepPin:
    """What a sweep's plan says of the sweep. Raises InputError for a run's."""
    if plan.sweep is None:
        raise InputError(f"{plan.run_id} is a run, not a sweep", hint=f"launch status {plan.run_id}")
    return plan.sweep


def _trial(at: BucketLayout, pin: SweepPin, trial: Trial) -> TrialView:
    attempt = pin.attempt
    return TrialView(
        trial=trial.id,
        attempt=attempt,
        run_id=pin.run_id(trial.id),
        state=trial.state,
        values=pin.values(trial.given),
        value=trial.measured.get(pin.metric),
        step=trial.step,
        started=trial.started,
        ended=trial.ended,
        outputs=at.uri(at.trial(pin.id, attempt, trial.id)),
        job=trial.custom_job or None,
        error=trial.infeasible,
    )


def explained(trials: Sequence[TrialView], services: Services) -> Iterator[TrialView]:
    """The trials, those that failed with what their containers said of it."""
    failed = [trial for trial in trials if trial.state == "infeasible"]

    def told(trial: TrialView) -> str | None:
        name = trial.outputs.partition("://")[2].partition("/")[2]
        try:
            return RunStatus.model_validate_json(services.store.read(f"{name}/status.json")).error
        except (RemoteError, ValueError):
            return None

    errors = {trial.run_id: error for trial, error in zip(failed, ask_each(told, failed), strict=True)}
    for trial in trials:
        error = errors.get(trial.run_id) or trial.error
        yield trial.model_copy(update={"error": error}) if error != trial.error else trial


def broken(plan: Plan, services: Services) -> str | None:
    """What a trial found by which none can be judged: the metric that training never logs."""
    try:
        told = json.loads(services.store.read(plan.layout.sweep_broken(plan.run_id)))
    except (NotFound, ValueError):
        return None
    return str(told.get("error"))


def _error(plan: Plan, job: TuningJob, services: Services) -> str | None:
    """Why the sweep ended, where it did not end well."""
    ended_badly = job.state in vertex.ENDED and job.state != "succeeded"
    # that a job was cancelled is said by its state
    told = None if job.state == "cancelled" else job.error
    return (broken(plan, services) if ended_badly else None) or told
