"""What a tick does: each rule by itself, from values alone."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from headway.spec.decision import Active, Past, content_of, decide
from headway.spec.plan import Plan
from headway.spec.schedule import Schedule
from tests.unit.spec.test_plan import CODE, DATA, IMAGE, plan

NOW = datetime(2026, 3, 2, 3, tzinfo=UTC)
WEEKLY: dict[str, Any] = {"cron": "0 3 * * 1"}


def schedule(**given: Any) -> Schedule:
    return Schedule.model_validate({**WEEKLY, **given})


def past(of: Plan, days: float = 7) -> Past:
    return Past(of.run_id, of.claim[:40], NOW - timedelta(days=days), content_of(of))


def active(of: Plan, *, ours: bool = True) -> Active:
    return Active(of.run_id, of.claim[:40], ours)


def test_the_first_tick_starts() -> None:
    decision = decide(schedule(), content_of(plan()), now=NOW, last=None)
    assert (decision.action, decision.reason) == ("start", "no run of it has succeeded yet")


def test_nothing_changed_is_a_skip_that_says_what_is_equal_and_since_when() -> None:
    decision = decide(schedule(), content_of(plan()), now=NOW, last=past(plan()))
    assert decision.action == "skip"
    assert decision.reason == (
        f"nothing changed since {plan().run_id}, which ended 2026-02-23 03:00 UTC: "
        "code, environment, data and config are equal"
    )
    assert decision.equal == ("code", "environment", "data", "config")


@pytest.mark.parametrize(
    ("other", "part", "words"),
    [
        (plan(code=CODE.model_copy(update={"digest": "d" * 64})), "code", "another code since"),
        (
            plan(image=IMAGE.model_copy(update={"digest": "d" * 64})),
            "environment",
            "another environment since",
        ),
        (
            plan(data=(DATA[0].model_copy(update={"md5": "abd.dir"}),)),
            "data",
            "new data (data/x abc.dir → abd.dir)",
        ),
        (plan({"args": {"lr": 0.2}}), "config", "another config since"),
    ],
)
def test_whatever_changed_starts_a_run_and_is_named(other: Plan, part: str, words: str) -> None:
    decision = decide(schedule(), content_of(other), now=NOW, last=past(plan()))
    assert decision.action == "start"
    assert words in decision.reason
    assert decision.changed == (part,)
    assert set(decision.equal) == {"code", "environment", "data", "config"} - {part}


def test_always_runs_though_nothing_changed_and_says_so() -> None:
    decision = decide(schedule(always=True), content_of(plan()), now=NOW, last=past(plan()))
    assert decision.action == "start"
    assert decision.reason.startswith("always: nothing changed since")


def test_a_model_that_is_too_old_is_trained_again_and_a_younger_one_is_not() -> None:
    monthly = schedule(max_age="30d")
    assert decide(monthly, content_of(plan()), now=NOW, last=past(plan(), 29)).action == "skip"
    decision = decide(monthly, content_of(plan()), now=NOW, last=past(plan(), 30))
    assert decision.action == "start"
    assert decision.reason.endswith("is older than 30d")


def test_what_is_forced_runs_though_nothing_changed() -> None:
    decision = decide(schedule(), content_of(plan()), now=NOW, last=past(plan()), forced="new objects")
    assert decision.action == "start"
    assert decision.reason.startswith("new objects (nothing else changed since")


@pytest.mark.parametrize(
    ("overlap", "action", "words"),
    [
        ("skip", "skip", "is still running (overlap: skip)"),
        ("queue", "wait", "is still running"),
        ("replace", "replace", "which still ran, is cancelled (overlap: replace)"),
    ],
)
def test_a_run_that_still_runs_is_treated_as_the_policy_says(overlap: str, action: str, words: str) -> None:
    other = plan({"args": {"lr": 0.2}})
    decision = decide(
        schedule(overlap=overlap), content_of(plan()), now=NOW, last=None, active=[active(other)]
    )
    assert decision.action == action
    assert words in decision.reason


def test_a_run_that_a_person_started_is_in_nobody_s_way() -> None:
    theirs = active(plan({"args": {"lr": 0.2}}), ours=False)
    replace = schedule(overlap="replace")
    assert decide(replace, content_of(plan()), now=NOW, last=None, active=[theirs]).action == "start"


def test_the_very_content_that_runs_already_is_not_started_again_whoever_started_it() -> None:
    for overlap in ("skip", "queue", "replace"):
        theirs = active(plan(), ours=False)
        decision = decide(
            schedule(overlap=overlap, always=True), content_of(plan()), now=NOW, last=None, active=[theirs]
        )
        assert decision.action == "skip"
        assert decision.reason == f"{plan().run_id}, of this very content, is still running"


def test_a_last_run_whose_plan_is_gone_is_compared_by_its_label() -> None:
    gone = Past(plan().run_id, plan().claim[:40], None)
    assert decide(schedule(), content_of(plan()), now=NOW, last=gone).action == "skip"
    other = decide(schedule(), content_of(plan({"args": {"lr": 0.2}})), now=NOW, last=gone)
    assert (other.action, other.reason) == ("start", f"another content than {plan().run_id}")


def test_when_a_job_runs_is_no_part_of_what_it_is() -> None:
    scheduled = plan({"schedule": {"cron": "0 3 * * 1"}})
    assert (scheduled.claim, scheduled.run_id) == (plan().claim, plan().run_id)
    assert "headway-schedule" not in scheduled.labels
    assert scheduled.model_copy(update={"schedule": "digits"}).labels["headway-schedule"] == "digits"


def test_a_plan_with_other_data_is_the_plan_that_would_have_been_made_of_it() -> None:
    other = (DATA[0].model_copy(update={"md5": "abd.dir"}),)
    assert plan().with_data(other, again=2) == plan(data=other, again=2)
