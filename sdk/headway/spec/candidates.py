"""The attempts to place a run, in order, and what Vertex AI forbids: known before anything is sent."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import timedelta

from pydantic import BaseModel, ConfigDict

from headway.errors import InputError
from headway.spec.job import Limits, Resources
from headway.spec.machines import NO_GPU, Catalogue, Gpu, Shape, catalogue, resolve, wishes
from headway.spec.prices import Strategy
from headway.spec.section import format_duration
from headway.spec.unfit import Unfit

SHORTEST = timedelta(minutes=1)
"""A budget that pays for less is a slip."""

FLEX_START_LONGEST = timedelta(days=7)
"""Longest timeout of a flex-start job (Google's page "schedule-jobs-dws")."""


class Candidate(BaseModel):
    """One attempt to place the run: this machine in this region. `gpu` is the wish that it comes from.

    `usd_hour` is an estimate for all nodes by the strategy asked for; None where no price is known.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    region: str
    gpu: str | None
    type: str
    accelerator: str | None = None
    accelerator_count: int = 0
    tpu_topology: str | None = None
    usd_hour: float | None = None

    def __str__(self) -> str:
        carried = f" with {self.accelerator_count} x {self.accelerator}" if self.accelerator else ""
        return f"{self.type}{carried} in {self.region}"


def strategy(spot: bool, flex_start: bool) -> Strategy:
    """The scheduling strategy of a job that asks so; STANDARD is on demand, reservations too."""
    if flex_start:
        return "FLEX_START"
    return "SPOT" if spot else "STANDARD"


def candidates(resources: Resources, region: str, facts: Catalogue | None = None) -> tuple[Candidate, ...]:
    """GPUs outer, regions inner; only regions that train on the GPU, of those listed (or `region` alone).

    Raises Unfit where a GPU has no machine, or none of these regions has it.
    """
    regions = resources.regions or (region,)
    _check_reservation(resources, regions)
    return tuple(_candidates(resources, regions, facts or catalogue()))


def _candidates(resources: Resources, regions: Sequence[str], facts: Catalogue) -> Iterator[Candidate]:
    asked = strategy(resources.spot, resources.flex_start is not None)
    for wish in wishes(resources.gpu):
        gpu, shape = _resolved(wish, resources.machine, facts)
        offering = [each for each in regions if gpu is None or not gpu.regions or each in gpu.regions]
        if gpu and not offering:
            raise Unfit(
                f"resources.{'regions' if resources.regions else 'gpu'}",
                f"Vertex AI does not train on {gpu.name} in {' or '.join(regions)}",
                hint=f"{gpu.name} is in {', '.join(gpu.regions)}",
            )
        for region in offering:
            yield Candidate(
                region=region,
                gpu=f"{gpu.name}:{shape.count}" if gpu else None,
                type=shape.machine,
                accelerator=shape.accelerator,
                accelerator_count=shape.count if shape.accelerator else 0,
                tpu_topology=shape.topology,
                usd_hour=facts.usd_hour(shape, region, asked, resources.nodes),
            )


def _resolved(wish: str, machine: str | None, facts: Catalogue) -> tuple[Gpu | None, Shape]:
    try:
        shape = resolve(wish, machine, facts)
    except InputError as error:
        at = "machine" if machine and error.message.startswith(machine) else "gpu"
        raise Unfit(f"resources.{at}", error.message, hint=error.hint) from error
    return _gpu(wish, facts), shape


def _gpu(wish: str, facts: Catalogue) -> Gpu | None:
    name = wish.partition(":")[0]
    return None if name.lower() in NO_GPU else facts.find(name)


def longest(limits: Limits, attempts: Sequence[Candidate]) -> timedelta:
    """How long the job may run: `timeout`, or what `budget` pays for at the dearest attempt if that is less.

    Only one attempt ever runs, and a job's timeout goes on through its restarts: so it is paid for once.
    Raises Unfit where the budget cannot be held to.
    """
    if limits.budget is None:
        return limits.timeout
    dearest, unknown = 0.0, []
    for attempt in attempts:
        if attempt.usd_hour is None:
            unknown.append(attempt)
        else:
            dearest = max(dearest, attempt.usd_hour)
    if unknown and "timeout" not in limits.model_fields_set:
        raise Unfit(
            "limits.budget",
            f"no price is known of {unknown[0]}: the budget cannot be turned into time",
            hint="give limits.timeout too, which then holds, or the price in a prices.csv of your own",
        )
    if not dearest:
        return limits.timeout
    seconds = limits.budget / dearest * 3600
    if seconds >= limits.timeout.total_seconds():
        return limits.timeout
    paid = timedelta(seconds=int(seconds))
    if paid < SHORTEST:
        raise Unfit(
            "limits.budget",
            f"${limits.budget:,.2f} pays for {format_duration(paid)} at ${dearest:,.2f} an hour",
            hint=f"a minute costs ${dearest / 60:,.2f}; startup alone takes several",
        )
    return paid


def check(resources: Resources, limits: Limits, facts: Catalogue | None = None) -> None:
    """Raises Unfit for the first combination that Vertex AI forbids, whatever the place."""
    facts = facts or catalogue()
    if resources.regions:
        candidates(resources, "", facts)
    chosen = [_resolved(wish, resources.machine, facts) for wish in wishes(resources.gpu)]
    gpus = [gpu for gpu, _ in chosen]
    if resources.flex_start is not None:
        _check_flex_start(resources, limits, gpus, facts)
    if resources.spot and resources.reservation:
        raise Unfit(
            "resources.reservation",
            "a reservation is not used by spot machines",
            hint="leave out one of resources.spot and resources.reservation",
        )
    for gpu in gpus:
        if gpu and gpu.reservation and not resources.reservation:
            raise Unfit(
                "resources.gpu",
                f"{gpu.name} is to be had from a shared reservation only",
                hint="name it: resources.reservation: projects/P/zones/Z/reservations/NAME",
            )
    _check_tpus(resources, chosen)


def _check_tpus(resources: Resources, chosen: Sequence[tuple[Gpu | None, Shape]]) -> None:
    for gpu, shape in chosen:
        if gpu and gpu.is_tpu and resources.nodes > 1:
            raise Unfit(
                "resources.nodes",
                "a TPU job is one pool of one replica",
                hint=f"write nodes: 1, and a larger slice such as {gpu.name}:{4 * shape.count}",
            )
        if gpu and resources.spot and gpu.is_pod(shape):
            raise Unfit(
                "resources.spot",
                f"{gpu.name}:{shape.count} is a TPU pod, which spot does not have",
                hint="leave out spot, or take a slice of one host",
            )


def _check_flex_start(
    resources: Resources, limits: Limits, gpus: Sequence[Gpu | None], facts: Catalogue
) -> None:
    for other in ("spot", "reservation"):
        if getattr(resources, other):
            raise Unfit(
                "resources.flex_start",
                f"flex_start does not go with {other}",
                hint=f"leave out one of resources.flex_start and resources.{other}",
            )
    for gpu in gpus:
        if gpu is None or not gpu.flex_start:
            known = ", ".join(each.name for each in facts.gpus.values() if each.flex_start)
            name = gpu.name if gpu else "a machine without a GPU"
            raise Unfit(
                "resources.flex_start", f"flex_start is not offered for {name}", hint=f"it is for {known}"
            )
    if limits.timeout > FLEX_START_LONGEST:
        raise Unfit(
            "limits.timeout",
            f"a flex_start job may run 7 days at most, not {format_duration(limits.timeout)}",
            hint="write 7d or less",
        )


def _check_reservation(resources: Resources, regions: Sequence[str]) -> None:
    """A reservation's zone lies in one region: attempts elsewhere could not use it."""
    if not resources.reservation or resources.reservation == "any":
        return
    zone = resources.reservation.split("/")[3]
    region = zone.rpartition("-")[0]
    if any(other != region for other in regions):
        raise Unfit(
            "resources.reservation",
            f"the reservation is in {zone}, and the run may go to {', '.join(regions)}",
            hint=f"write resources.regions: [{region}]",
        )
