"""A budget becomes time, and time that has passed becomes money."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from headway.cloud import vertex
from headway.spec.cost import Cost, cost
from headway.spec.plan import Plan
from headway.spec.unfit import Unfit
from tests.unit.spec.test_plan import plan

START = datetime(2026, 11, 22, 10, tzinfo=UTC)
A100 = {"gpu": "a100", "regions": ["us-central1"]}


def limited(resources: dict[str, Any], **limits: Any) -> Plan:
    return plan({"resources": resources, "limits": limits})


def spent(made: Plan, hours: float, **changes: Any) -> Cost | None:
    first = made.candidates[0]
    at: dict[str, Any] = {
        "region": first.region,
        "machine": first.type,
        "accelerator": first.accelerator,
        "count": first.accelerator_count,
        "started": START,
        "ended": None,
    }
    return cost(made, **{**at, **changes}, now=START + timedelta(hours=hours))


def test_a_budget_becomes_the_timeout_of_the_job_itself() -> None:
    made = limited(A100, budget=20)
    hour = made.candidates[0].usd_hour or 0
    assert made.timeout_s == int(20 / hour * 3600)
    assert vertex.render(made)["jobSpec"]["scheduling"]["timeout"] == f"{made.timeout_s}s"


def test_nodes_share_the_budget() -> None:
    alone, four = limited(A100, budget=20), limited({**A100, "nodes": 4}, budget=20)
    assert four.timeout_s == pytest.approx(alone.timeout_s / 4, abs=1)


def test_the_dearest_attempt_decides() -> None:
    wish = {"gpu": "l4,a100", "regions": ["us-central1"]}
    assert limited(wish, budget=20).timeout_s == limited(A100, budget=20).timeout_s


def test_spot_buys_more_time_than_on_demand() -> None:
    assert limited({**A100, "spot": True}, budget=20).timeout_s > limited(A100, budget=20).timeout_s


def test_the_shorter_of_timeout_and_budget_holds() -> None:
    assert limited(A100, budget=1000, timeout="2h").timeout_s == 7200
    assert limited(A100, budget=4, timeout="2h").timeout_s < 3600
    assert limited(A100, budget=1e300, timeout="2h").timeout_s == 7200


@pytest.mark.parametrize("resources", [{"gpu": "b200"}, {"gpu": "a100", "regions": ["me-west1"]}])
def test_a_budget_without_a_price_is_refused_unless_a_timeout_is_given(resources: dict[str, Any]) -> None:
    with pytest.raises(Unfit, match="no price is known") as caught:
        limited(resources, budget=20)
    assert caught.value.key == "limits.budget"
    assert limited(resources, budget=20, timeout="3h").timeout_s == 10800


def test_a_budget_that_pays_for_seconds_is_refused() -> None:
    with pytest.raises(Unfit, match=r"\$0.01 pays for 8s at \$4.22 an hour"):
        limited(A100, budget=0.01)


def test_what_a_run_has_cost_is_by_the_jobs_real_times() -> None:
    made = limited(A100, budget=20)
    hour = made.candidates[0].usd_hour or 0
    half = spent(made, 0.5)
    assert half is not None
    assert (half.spent_usd, half.left_usd) == (round(hour / 2, 4), round(20 - hour / 2, 4))
    ended = spent(made, 9, ended=START + timedelta(hours=2))
    assert ended is not None
    assert ended.spent_usd == round(2 * hour, 4)


def test_a_job_that_waits_for_machines_costs_nothing_yet() -> None:
    waiting = spent(limited(A100), 5, started=None)
    assert waiting is not None
    assert waiting.spent_usd == 0


def test_an_estimate_says_that_it_is_one_and_of_which_date() -> None:
    text = str(spent(limited(A100, budget=20), 1))
    assert text == "$4.22 of $20.00, $15.78 left (an estimate: $4.22 an hour by prices of 2025-08)"
    assert " of $" not in str(spent(limited(A100), 1))


def test_a_machine_that_no_attempt_names_has_no_cost() -> None:
    assert spent(limited(A100), 1, region="europe-west4") is None
    assert spent(limited({"gpu": "b200"}), 1) is None
