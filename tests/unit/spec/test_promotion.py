"""Gates: what passes, what does not, and what each says."""

from __future__ import annotations

import math
from typing import Any

import pytest
from pydantic import ValidationError

from headway.spec.job import JobSpec
from headway.spec.plan import Plan
from headway.spec.promotion import Gate, Promotion, Values, judge
from tests.unit.spec.test_plan import CONFIG, plan

SECTION: dict[str, Any] = {"metric": "acc", "on": "data/holdout", "evaluate": "train:evaluate"}


def gates(challenger: Values, champion: Values | None, **section: Any) -> list[Gate]:
    return list(judge(Promotion.model_validate({**SECTION, **section}).pin(), challenger, champion))


def passed(challenger: Values, champion: Values | None, **section: Any) -> list[bool]:
    return [gate.passed for gate in gates(challenger, champion, **section)]


@pytest.mark.parametrize(("value", "is_enough"), [(0.95, True), (0.96, True), (0.949, False)])
def test_a_least_value_is_enough_itself(value: float, is_enough: bool) -> None:
    assert passed({"acc": value}, None, min=0.95) == [is_enough]


@pytest.mark.parametrize(("value", "is_little"), [(2.0, True), (1.0, True), (2.1, False)])
def test_a_most_value_is_allowed_itself(value: float, is_little: bool) -> None:
    assert passed({"acc": value}, None, max=2.0) == [is_little]


def test_better_is_strictly_better_by_the_goal() -> None:
    assert passed({"acc": 0.9}, {"acc": 0.9}, better_than="champion") == [False]
    assert passed({"acc": 0.91}, {"acc": 0.9}, better_than="champion") == [True]
    assert passed({"acc": 0.91}, {"acc": 0.9}, better_than="champion", goal="min") == [False]
    assert passed({"acc": 0.89}, {"acc": 0.9}, better_than="champion", goal="min") == [True]


def test_the_first_champion_has_nothing_to_surpass_but_must_be_a_number() -> None:
    assert passed({"acc": 0.1}, None, better_than="champion") == [True]
    assert passed({"acc": math.nan}, None, better_than="champion") == [False]


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf, None])
@pytest.mark.parametrize(
    "section", [{"min": -1e9}, {"max": 1e9}, {"better_than": "champion", "max_regression": {"acc": 1e9}}]
)
def test_what_is_no_finite_number_passes_no_gate(value: float | None, section: dict[str, Any]) -> None:
    assert not any(passed({"acc": value}, {"acc": 0.0}, **section))


def test_a_champion_whose_metric_is_no_number_cannot_be_surpassed() -> None:
    (gate,) = gates({"acc": 0.9}, {"acc": None, "loss": 1.0}, better_than="champion")
    assert not gate.passed
    assert gate.text == "of the champion, evaluate gave no finite acc; it gave loss"


def test_a_gate_on_a_metric_that_was_not_given_fails_and_says_which_there_are() -> None:
    (gate,) = gates({"loss": 1.0, "f1": 0.5}, None, min=0.9)
    assert not gate.passed
    assert gate.text == "evaluate gave no finite acc; it gave f1, loss"


def test_a_slice_may_fall_behind_by_so_much_and_no_more() -> None:
    ours = {"acc": 0.97, "slice/a": 0.93, "slice/b": 0.90, "other": 0.0}
    theirs = {"acc": 0.96, "slice/a": 0.95, "slice/b": 0.93, "other": 1.0}
    found = gates(ours, theirs, better_than="champion", max_regression={"slice/*": 0.02})
    assert [(gate.gate, gate.metric, gate.passed) for gate in found] == [
        ("better_than", "acc", True),
        ("max_regression", "slice/a", True),
        ("max_regression", "slice/b", False),
    ]
    assert found[2].text == "0.9, the champion has 0.93"


def test_a_slice_falls_behind_by_the_goal() -> None:
    assert passed({"acc": 1, "s": 1.5}, {"acc": 2, "s": 1}, max=9, goal="min", max_regression={"s": 0.4}) == [
        True,
        False,
    ]
    assert passed({"acc": 1, "s": 0.1}, {"acc": 2, "s": 1}, max=9, goal="min", max_regression={"s": 0.4}) == [
        True,
        True,
    ]


def test_a_metric_that_only_one_side_has_is_told() -> None:
    ours, theirs = {"acc": 1.0, "slice/new": 0.1}, {"acc": 0.5, "slice/old": 0.9}
    _, new, old = gates(ours, theirs, min=0.0, max_regression={"slice/*": 0.0})
    assert (new.metric, new.passed, new.text) == ("slice/new", True, "only the new model has it: 0.1")
    assert (old.metric, old.passed) == ("slice/old", False)
    assert old.text == "evaluate gave no finite slice/old; it gave acc, slice/new"


@pytest.mark.parametrize("champion", [None, {"acc": 0.5}])
def test_a_pattern_that_no_metric_has_is_a_gate_that_failed(champion: Values | None) -> None:
    *_, gate = gates({"acc": 1.0}, champion, min=0.0, max_regression={"slcie/*": 0.1})
    assert (gate.metric, gate.passed) == ("slcie/*", False)


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"evaluate": "train.py"}, "is no module:function"),
        ({"evaluate": "train:"}, "is no module:function"),
        ({"min": None}, "there is no gate"),
        ({"min": 2, "max": 1}, "no metric is in between"),
        ({"better_than": "latest"}, "cannot be an alias"),
        ({"better_than": "v3"}, "cannot be an alias"),
        ({"max_regression": {"slice/*": -0.1}}, "greater than or equal to 0"),
        ({"min": math.nan}, "finite"),
        ({"goal": "best"}, "'max' or 'min'"),
    ],
)
def test_a_section_that_makes_no_sense_is_refused(wrong: dict[str, Any], said: str) -> None:
    with pytest.raises(ValidationError, match=said):
        Promotion.model_validate({**SECTION, "min": 0.5, **wrong})


def test_the_holdout_is_tracked_once_and_not_where_it_is_within_the_data() -> None:
    def tracked(*data: str) -> tuple[str, ...]:
        return JobSpec.model_validate({**CONFIG, "data": data, "promote": {**SECTION, "min": 0.5}}).tracked

    assert tracked("data/train") == ("data/train", "data/holdout")
    assert tracked("data/holdout") == ("data/holdout",)
    assert tracked("data") == ("data",)
    assert JobSpec.model_validate(CONFIG).tracked == ()


def test_promotion_makes_another_run_only_where_it_is_asked_for() -> None:
    # as it was before there were promotions
    assert plan().claim == "6301a6a4627b256955a5fe3c056e01899528aec9b668c4a718e43f61e9575cd7"
    assert plan({"tracking": {"artifacts": ["report.html"]}}).claim != plan().claim
    with_gates = plan({"promote": {**SECTION, "min": 0.5}})
    assert with_gates.claim not in (plan().claim, plan({"promote": {**SECTION, "min": 0.6}}).claim)
    assert with_gates.promote is not None
    assert (with_gates.promote.alias, with_gates.promote.better) == ("champion", False)
    assert Plan.model_validate_json(with_gates.model_dump_json()) == with_gates
