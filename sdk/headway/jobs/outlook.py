"""What a plan means before it is submitted: its price, its cap, and where everything will be written."""

from __future__ import annotations

import math
from datetime import timedelta
from typing import Any

from headway.spec.candidates import Candidate
from headway.spec.machines import Catalogue
from headway.spec.place import UNSTARTED
from headway.spec.plan import Plan
from headway.spec.section import format_duration, parse_duration
from headway.spec.sweep import SweepPin, points

ENFORCED = "Vertex AI ends the job itself, by the timeout that the job carries: also when this machine is off"


def price(plan: Plan) -> dict[str, Any]:
    """USD an hour of the first and of the dearest attempt; None where a price is not known."""
    hours = [each.usd_hour for each in plan.candidates]
    known = [hour for hour in hours if hour is not None]
    dearest = max(known) if known and len(known) == len(hours) else None
    return {"usd_hour": hours[0], "dearest_usd_hour": dearest, "price_date": plan.price_date}


def cap(plan: Plan) -> dict[str, Any]:
    """The longest time, the most that it can cost at the dearest attempt, and who sees to it.

    Of a sweep `timeout_s` is each trial's, and `most_usd` what all of its `trials` can cost together.
    """
    dearest, trials = price(plan)["dearest_usd_hour"], plan.sweep.trials if plan.sweep else None
    most = None if dearest is None else round(dearest * plan.timeout_s / 3600 * (trials or 1), 2)
    return {
        "timeout_s": plan.timeout_s,
        "trials": trials,
        "budget_usd": plan.budget_usd,
        "most_usd": most,
        "enforced_by": ENFORCED,
    }


def writes(plan: Plan) -> dict[str, str]:
    """What the run leaves, and where."""
    at, uri = plan.layout, plan.layout.uri
    left = {
        "image": plan.image.uri,
        "code": uri(at.bundle(plan.code.digest)),
        "plan": plan.plan_uri,
    }
    log = f"Cloud Logging of {plan.project}"
    metrics = f"{plan.tracking.uri}, experiment {plan.tracking.experiment}"
    if plan.sweep is not None:
        return {
            **left,
            "outputs": f"{plan.base_output_uri}/TRIAL, with status, checkpoints and model of each",
            "results": uri(at.sweep_results(plan.sweep.id)),
            "log": log,
            "metrics": f"{metrics}: one run, with a child a trial",
        }
    left |= {
        "status": uri(plan.folder.status),
        "checkpoints": uri(plan.folder.checkpoints),
        "model": uri(plan.folder.model),
        "outputs": uri(plan.folder.outputs),
        "log": log,
        "metrics": metrics,
    }
    if plan.tracking.register_as:
        left["registered"] = f"a new version of the model {plan.tracking.register_as}"
    if plan.promote:
        moved = f"the alias {plan.promote.alias} of {plan.tracking.register_as}"
        left["promoted"] = f"{moved}, where {plan.promote.metric} on {plan.promote.on} passes its gates"
    return left


def scheduling(plan: Plan) -> str:
    """How machines are had, in words."""
    machine = plan.machine
    if machine.flex_start_s is not None:
        wait = timedelta(seconds=machine.flex_start_s)
        return f"flex-start, waiting {f'up to {format_duration(wait)}' if wait else 'as long as it takes'}"
    if machine.spot:
        return "spot: machines may be taken away, and Vertex AI starts the job again"
    if machine.reservation:
        return (
            f"in the reservation {machine.reservation}" if machine.reservation != "any" else "any reservation"
        )
    return "on demand"


def warnings(plan: Plan, facts: Catalogue) -> list[str]:
    """What may go wrong with it, though by the facts that it was made with it is not forbidden."""
    found = [
        f"{each.gpu}: {each.type} is had as spot or flex-start in Compute Engine; on demand it may be refused"
        for each in {each.type: each for each in plan.candidates}.values()
        if each.type in ("a3-highgpu-1g", "a3-highgpu-2g", "a3-highgpu-4g")
        and plan.machine.strategy == "STANDARD"
        and not plan.machine.reservation
    ]
    listed, placed = (
        plan.config["resources"]["regions"],
        {(each.gpu, each.region) for each in plan.candidates},
    )
    found += [
        f"{gpu} is not to be had for training in {region}: passed over there"
        for gpu in dict.fromkeys(each.gpu for each in plan.candidates)
        for region in listed
        if (gpu, region) not in placed
    ]
    found += [
        f"no GPU is known to be in {region}: is it a region, and does Vertex AI train there?"
        for region in dict.fromkeys(each.region for each in plan.candidates)
        if region not in facts.regions
    ]
    found += [
        f"{gpu} is on Arm machines, and images are built for x86-64: it would end with exec format error"
        for gpu in dict.fromkeys(each.gpu for each in plan.candidates if each.gpu)
        if facts.architecture(gpu) == "arm64"
    ]
    if plan.budget_usd is not None and price(plan)["dearest_usd_hour"] is None:
        found.append("the price of an attempt is not known: there limits.timeout is the only cap")
    return found


def dollars(hour: float | None) -> str:
    return "not known" if hour is None else f"${hour:,.2f}"


def rows(plan: Plan) -> list[tuple[str, str]]:
    """The same as lines for people: a name and what there is to say."""
    told, most = price(plan), cap(plan)
    first, dearest = told["usd_hour"], told["dearest_usd_hour"]
    estimate = f"an estimate by list prices of {plan.price_date}, boot disks and network left out"
    if plan.project == UNSTARTED.project:
        estimate += "; the local stack costs nothing"
    at_most = "" if dearest == first else f", {dollars(dearest)} at the dearest attempt"
    longest = format_duration(timedelta(seconds=plan.timeout_s))
    budget = "" if plan.budget_usd is None else _by_budget(plan, plan.budget_usd)
    cost = "" if most["most_usd"] is None else f", {dollars(most['most_usd'])} at most"
    if plan.sweep is not None:
        trials, rounds = plan.sweep.trials, math.ceil(plan.sweep.trials / plan.sweep.parallel)
        whole = format_duration(timedelta(seconds=rounds * plan.timeout_s))
        longest, cost = f"{longest} a trial, {whole} for all {trials}", cost and f"{cost} for all {trials}"
    return [
        *(search(plan.sweep) if plan.sweep else ()),
        ("scheduling", scheduling(plan)),
        ("an hour", f"{dollars(first)}{at_most}" + (f" ({estimate})" if first is not None else "")),
        ("cap", f"{longest}{budget}{cost}; {ENFORCED}"),
        ("labels", " ".join(f"{key}={value}" for key, value in plan.labels.items())),
        *writes(plan).items(),
    ]


def _by_budget(plan: Plan, usd: float) -> str:
    allowed = parse_duration(plan.config["limits"]["timeout"]).total_seconds()
    if plan.timeout_s < allowed:
        return f" by the budget of {dollars(usd)}"
    return f" by limits.timeout, which the budget of {dollars(usd)} does not shorten"


def search(sweep: SweepPin) -> list[tuple[str, str]]:
    """What a sweep varies and how it searches, as lines for people."""
    size = points(sweep.parameters)
    of = f"; the space has {size:,} points" if size else ""
    if 0 < size < sweep.trials:
        of += ", of which none is trained twice"
    ends = [
        "an early stop at the median" if sweep.early_stopping == "median" else "",
        f"an end after {sweep.max_failed} failed trials" if sweep.max_failed else "",
    ]
    named = {"default": "default (Bayesian)"}.get(sweep.algorithm, sweep.algorithm)
    return [
        *(("varied", f"{each.name}: {each}") for each in sweep.parameters),
        ("metric", f"{sweep.metric}:{sweep.goal}"),
        ("trials", f"{sweep.trials}, {sweep.parallel} at once{of}"),
        ("algorithm", "; ".join(filter(None, (named, *ends)))),
    ]


def attempts(plan: Plan) -> list[tuple[str, ...]]:
    """The candidates in order: number, GPU, machine, region, USD an hour."""
    return [(str(n), *_attempt(plan, each)) for n, each in enumerate(plan.candidates, 1)]


def _attempt(plan: Plan, each: Candidate) -> tuple[str, ...]:
    machine = f"{plan.machine.nodes} x {each.type}" + (f" ({each.tpu_topology})" if each.tpu_topology else "")
    return (each.gpu or "none", machine, each.region, dollars(each.usd_hour))
