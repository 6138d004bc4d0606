"""What a run has cost: an estimate from its job's real times and the price in its plan."""

from __future__ import annotations

from datetime import UTC, datetime

from pydantic import BaseModel, ConfigDict

from headway.spec.plan import Plan


class Cost(BaseModel):
    """USD, estimated by the list prices of `price_date`, boot disks and network left out.

    `left_usd` is what of the budget is left; None where there is none.
    """

    model_config = ConfigDict(frozen=True)

    spent_usd: float
    left_usd: float | None
    budget_usd: float | None
    usd_hour: float
    price_date: str | None

    def __str__(self) -> str:
        of = "" if self.budget_usd is None else f" of ${self.budget_usd:,.2f}, ${self.left_usd:,.2f} left"
        return (
            f"${self.spent_usd:,.2f}{of} (an estimate: ${self.usd_hour:,.2f} an hour "
            f"by prices of {self.price_date})"
        )


def cost(
    plan: Plan,
    *,
    region: str,
    machine: str,
    accelerator: str | None,
    count: int,
    started: datetime | None,
    ended: datetime | None,
    now: datetime | None = None,
) -> Cost | None:
    """The cost so far of a job there, on that machine; None where its price is not known.

    Machines are paid for from `started`, when they were had, to `ended`, or to `now`.
    """
    wanted = (region, machine, accelerator, count if accelerator else 0)
    prices = (
        each.usd_hour
        for each in plan.candidates
        if (each.region, each.type, each.accelerator, each.accelerator_count) == wanted
    )
    if (hour := next(prices, None)) is None:
        return None
    end = ended or now or datetime.now(UTC)
    spent = max(0.0, (end - started).total_seconds()) / 3600 * hour if started else 0.0
    return Cost(
        spent_usd=round(spent, 4),
        left_usd=None if plan.budget_usd is None else round(max(0.0, plan.budget_usd - spent), 4),
        budget_usd=plan.budget_usd,
        usd_hour=hour,
        price_date=plan.price_date,
    )
