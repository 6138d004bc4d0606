"""What a plan means before it is submitted: what a person decides by."""

from __future__ import annotations

from typing import Any

import pytest

from headway.jobs import Preview, outlook
from headway.spec.machines import catalogue
from headway.spec.plan import Plan
from headway.spec.sweep import Sweep, pinned
from tests.unit.spec.test_plan import plan
from tests.unit.spec.test_sweep import sweep_plan


def warned(plan: Plan) -> list[str]:
    return outlook.warnings(plan, catalogue())


def made(resources: dict[str, Any], **limits: Any) -> Plan:
    regions = {"regions": ["us-central1"]}
    return plan({"resources": {**regions, **resources}, "limits": limits, "tracking": {"register": "m"}})


def test_the_price_is_of_the_first_attempt_and_of_the_dearest() -> None:
    told = outlook.price(made({"gpu": "l4,a100"}))
    assert told["usd_hour"] < told["dearest_usd_hour"] == pytest.approx(4.2244)
    assert told["price_date"] == "2025-08"


def test_one_price_that_is_not_known_makes_the_dearest_unknown() -> None:
    told = outlook.price(made({"gpu": "l4,b200"}))
    assert told["usd_hour"] is not None
    assert told["dearest_usd_hour"] is None
    assert outlook.cap(made({"gpu": "b200"}))["most_usd"] is None


def test_the_cap_is_never_above_the_budget() -> None:
    cap = outlook.cap(made({"gpu": "a100:8", "nodes": 3}, budget=50))
    assert cap["budget_usd"] == 50
    assert 49.9 < cap["most_usd"] <= 50
    assert "Vertex AI ends the job itself" in cap["enforced_by"]


def test_all_that_the_run_writes_has_its_address() -> None:
    planned = made({"gpu": "a100"})
    written = outlook.writes(planned)
    assert set(written) >= {"image", "code", "plan", "status", "checkpoints", "model", "outputs", "log"}
    assert written["outputs"] == f"gs://my-bucket/headway/runs/{planned.run_id}/outputs"
    assert written["registered"].endswith("the model m")
    assert "promoted" not in written


def test_an_alias_that_may_move_is_said() -> None:
    gates = {"metric": "acc", "min": 0.9, "on": "data/holdout", "evaluate": "train:evaluate"}
    planned = plan({"tracking": {"register": "m"}, "promote": gates})
    told = "the alias champion of m, where acc on data/holdout passes its gates"
    assert outlook.writes(planned)["promoted"] == told


@pytest.mark.parametrize(
    ("resources", "said"),
    [
        ({"gpu": "a100"}, "on demand"),
        ({"gpu": "a100", "spot": True}, "spot: machines may be taken away"),
        ({"gpu": "a100", "flex_start": {"max_wait": "6h"}}, "flex-start, waiting up to 6h"),
        ({"gpu": "a100", "flex_start": {"max_wait": 0}}, "flex-start, waiting as long as it takes"),
        ({"gpu": "a100", "reservation": "any"}, "any reservation"),
    ],
)
def test_how_machines_are_had_is_said_in_words(resources: dict[str, Any], said: str) -> None:
    assert outlook.scheduling(made(resources)).startswith(said)


def test_what_may_be_refused_is_warned_of() -> None:
    assert "on demand it may be refused" in warned(made({"gpu": "h100:1"}))[0]
    assert warned(made({"gpu": "h100:1", "spot": True})) == []
    assert "limits.timeout is the only cap" in warned(made({"gpu": "b200"}, budget=9, timeout="1h"))[0]


def test_a_budget_that_shortens_nothing_caps_nothing() -> None:
    for resources, limits in (
        ({"gpu": "b200"}, {"budget": 5, "timeout": "30d"}),
        ({"gpu": "a100"}, {"budget": 500, "timeout": "2h"}),
    ):
        told = dict(outlook.rows(made(resources, **limits)))["cap"]
        assert f"by limits.timeout, which the budget of ${limits['budget']}.00 does not shorten" in told


def test_a_region_that_nobody_knows_is_asked_about() -> None:
    (told,) = warned(made({"regions": ["us-cental1"]}))
    assert told.startswith("no GPU is known to be in us-cental1: is it a region")


def test_images_that_arm_machines_cannot_run_are_warned_of() -> None:
    (told,) = warned(made({"gpu": "gb200:4", "reservation": "any"}))
    assert told.startswith("gb200:4 is on Arm machines")


def test_a_region_that_is_passed_over_is_told() -> None:
    told = warned(made({"gpu": "l4,a100", "regions": ["us-west1", "us-central1"]}))
    assert told == ["a100:1 is not to be had for training in us-west1: passed over there"]


def test_the_page_and_the_document_tell_the_same() -> None:
    seen = Preview(made({"gpu": "h100:8,a100:8"}, budget=100), (), ("look out",))
    page, document = str(seen), seen.document()
    assert "attempt 1 h100:8 1 x a3-highgpu-8g us-central1 $101.01" in page
    assert "by the budget of $100.00" in page
    assert "warning     look out" in page
    assert document["warnings"] == ["look out"]
    assert [each["gpu"] for each in document["plan"]["candidates"]] == ["h100:8", "a100:8"]
    for address in document["writes"].values():
        assert address in page


def test_the_cap_of_a_sweep_is_for_all_of_its_trials() -> None:
    each, planned = made({"gpu": "a100"}), sweep_plan()
    planned = planned.model_copy(update={"candidates": each.candidates, "timeout_s": 3600})
    sweep, hour = planned.sweep, each.candidates[0].usd_hour
    assert sweep is not None
    assert hour is not None
    assert (sweep.trials, sweep.parallel) == (30, 4)
    cap = outlook.cap(planned)
    assert (cap["trials"], cap["most_usd"]) == (30, round(30 * hour, 2))
    assert outlook.cap(each)["trials"] is None
    told = dict(outlook.rows(planned))
    assert told["cap"].startswith(f"1h a trial, 8h for all 30, ${cap['most_usd']} at most for all 30; Vertex")
    assert [text for name, text in outlook.rows(planned) if name == "varied"] == [
        f"{each.name}: {each}" for each in sweep.parameters
    ]
    assert sweep.metric in told["metric"]
    assert told["outputs"].startswith(f"{planned.base_output_uri}/TRIAL")


def test_a_space_smaller_than_its_trials_says_that_none_is_trained_twice() -> None:
    sweep = pinned(Sweep(parameters={"a": "1,2", "b": "x,y"}, metric="m:max", trials=9, parallel=2), "s")
    assert dict(outlook.search(sweep))["trials"] == (
        "9, 2 at once; the space has 4 points, of which none is trained twice"
    )
    grid = pinned(Sweep(parameters={"a": "1,2"}, metric="m:max", algorithm="grid", max_failed=3), "s")
    assert dict(outlook.search(grid))["trials"] == "2, 1 at once; the space has 2 points"
    assert dict(outlook.search(grid))["algorithm"] == "grid; an end after 3 failed trials"
