"""Start a sweep, go on with one that ended early, and submit the best trial as a run of its own."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import timedelta
from itertools import count
from pathlib import Path

from headway.cloud import vertex
from headway.cloud.services import Services
from headway.config import relaid
from headway.config.facts import facts
from headway.errors import InputError, NotFound, interruptible
from headway.jobs import attempts, submission, sweep_tracking
from headway.jobs.claim import read_sweep
from headway.jobs.preparing import Prepared, prepare_and_ask
from headway.jobs.progress import Progress, Silent
from headway.jobs.provided import lost
from headway.jobs.run import Run
from headway.jobs.sweep import Sweep, last_attempt
from headway.jobs.sweep_view import TrialView, broken, pin_of, spent
from headway.spec.candidates import longest
from headway.spec.job import JobSpec
from headway.spec.parameter import item_of
from headway.spec.place import Place
from headway.spec.plan import Plan, make_plan
from headway.spec.sweep import points


def start_sweep(
    config: Path,
    *,
    overrides: Sequence[str] = (),
    flags: Mapping[str, object] | None = None,
    place: Place,
    resume: bool = False,
    again: bool = False,
    progress: Progress | None = None,
    services: Services | None = None,
) -> Sweep:
    """Start the sweep that a config describes; returns as soon as Vertex AI has its tuning job.

    The same sweep started twice is one: the second call returns the first one's, unless `again`. With
    `resume`, one that ended otherwise than by success goes on with the trials that are left, in a tuning job
    of their own; where it was started again, the last one of them does.
    Raises InputError before anything is sent, BuildFailed, RemoteError, and Interrupted on Ctrl-C.
    """
    if resume and again:
        raise InputError(
            "a sweep either goes on or begins again", hint="leave out one of --resume and --again"
        )
    progress = progress or Silent()
    with interruptible("stopped before any tuning job was created", "nothing goes on running"):
        services = services or Services(place)
        prepared, found = prepare_and_ask(
            config, overrides=overrides, flags=flags, services=services, sweep=True
        )
        plan, last = prepared.plan, 0
        if not again:
            plan = _last_begun(prepared, services) if resume else plan
            if last := last_attempt(plan, services):
                plan = read_sweep(plan.run_id, services, last)
        if last and (known := submission.running(plan, services, progress)):
            sweep = Sweep(known[0], services)
            further = _further(sweep, services, progress) if resume else None
            if further is None:
                return sweep
            plan = further
        submission.provide(prepared, found, services, progress)
        # Google's client takes a second to load: now, so that no Ctrl-C then leaves a claim without a job
        services.tuning(plan.regions[0])
    with interruptible(
        f"stopped while {plan.run_id} was being claimed: no tuning job of it was created here",
        f"look with: launch sweep status{place.words} {plan.run_id}",
    ):
        if again:
            claim = submission.claim_next(prepared, services.store)
            theirs, _ = attempts.create(claim, services, progress)
        else:
            theirs, _ = attempts.obtain(plan, services, progress, take=True)
    if theirs.cancelled is None and (address := sweep_tracking.open_parent(theirs, services)):
        progress.step("track", address)
    return Sweep(theirs, services)


def _last_begun(prepared: Prepared, services: Services) -> Plan:
    """Of the sweeps of this content the one that was begun last; the first where none was."""
    last = prepared.plan
    for number in count(2):
        following = prepared.again(number).plan
        if not last_attempt(following, services):
            return last
        last = following
    raise AssertionError("numbers have no end")


def _further(sweep: Sweep, services: Services, progress: Progress) -> Plan | None:
    """The plan of a tuning job for the trials that are left; None where the sweep runs, or has them all.

    Raises InputError where its budget is spent, or none of its trials can be judged.
    """
    plan, pin, job = sweep.plan, sweep.pin, sweep.job()
    if job.state not in vertex.ENDED:
        return None
    if job.state == "succeeded":
        progress.step("job", f"{plan.run_id} has all its trials: nothing is left")
        return None
    if why := broken(plan, services):
        raise InputError(f"{plan.run_id} cannot go on: {why}")
    first = pin_of(read_sweep(pin.id, services))
    done = sum(1 for _ in services.store.list(plan.layout.sweep_results(pin.id)))
    left = first.trials - done
    if left <= 0:
        progress.step("job", f"{plan.run_id} has all its {first.trials} trials: nothing is left")
        return None
    # where all points come, those that are known are answered from their records: only then is none left out
    whole = pin.algorithm == "grid" or 0 < points(pin.parameters) <= first.trials
    trials = first.trials if whole else left
    progress.step("job", f"{plan.run_id} goes on: {done} of {first.trials} trials are done, {left} are left")
    changed = {"attempt": pin.attempt + 1, "trials": trials, "parallel": min(first.parallel, trials)}
    return plan.model_copy(
        update={
            "sweep": pin.model_copy(update=changed),
            "timeout_s": _share_s(sweep, left),
            "cancelled": None,
        }
    )


def _share_s(sweep: Sweep, left: int) -> int:
    """Longest time of each trial that is left, by what is left of the budget."""
    plan = sweep.plan
    if plan.budget_usd is None:
        return plan.timeout_s
    cost = spent(plan, sweep.jobs())
    money = plan.budget_usd if cost is None or cost.left_usd is None else cost.left_usd
    limits = JobSpec.model_validate(plan.config).limits
    if money <= 0:
        raise InputError(
            f"{plan.run_id} has spent its budget of ${plan.budget_usd:,.2f}",
            hint="a sweep with a larger limits.budget is another one, and begins anew",
        )
    share = longest(limits.model_copy(update={"budget": money / left}), plan.candidates)
    return int(min(share, timedelta(seconds=plan.timeout_s)).total_seconds())


def overrides_of(trial: TrialView) -> list[str]:
    """A trial's values as words of a command."""
    return [f"args.{name}={item_of(value)}" for name, value in trial.values.items()]


def submit_best(
    sweep: Sweep,
    *,
    overrides: Sequence[str] = (),
    start: Path,
    progress: Progress | None = None,
    services: Services | None = None,
) -> Run:
    """Submit the run that the best trial was a measurement for: the sweep's own code, image and data.

    `overrides` are laid over its config, such as `args.max_epochs=100`; `start` is where a catalogue of one's
    own is looked for. Raises InputError where no trial ended well.
    """
    progress, place = progress or Silent(), sweep.services.place
    services, plan = services or sweep.services, sweep.plan
    best = sweep.best
    if best is None:
        raise InputError(
            f"no trial of {sweep.sweep_id} has ended well yet",
            hint=f"see how they are: launch sweep status{place.words} {sweep.sweep_id}",
        )
    values = {**plan.config, "args": {**plan.config.get("args", {}), **best.values}}
    known = facts(start)
    spec = relaid(values, overrides, known)
    run = make_plan(spec, place, code=plan.code, image=plan.image, data=plan.data, facts=known)
    if gone := lost(run, services):
        raise NotFound(
            f"{gone} that the sweep ran with is no longer there",
            hint="submit from the project, with the values that launch sweep best prints",
        )
    with interruptible(
        f"stopped while {run.run_id} was being claimed: no job of it was created here",
        f"look with: launch status{place.words} {run.run_id}",
    ):
        theirs, job = attempts.obtain(run, services, progress, take=True)
    return Run(theirs, services, job=job)
