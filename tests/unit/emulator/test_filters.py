"""The filter language of list methods."""

from __future__ import annotations

import pytest

from headway_emulator.errors import ApiError
from headway_emulator.filters import parse

JOB = {
    "displayName": "digits",
    "state": "JOB_STATE_RUNNING",
    "labels": {"headway-run": "r1", "team": "vision"},
    "createTime": "2026-11-22T03:00:00Z",
}


def holds(text: str) -> bool:
    return all(condition.holds(JOB) for condition in parse(text))


@pytest.mark.parametrize(
    "text",
    [
        "",
        'labels.headway-run="r1"',
        'display_name="digits" AND state="JOB_STATE_RUNNING"',
        'display_name="digits" state!="JOB_STATE_FAILED"',
        'create_time>="2026-11-22T00:00:00Z"',
        "labels.team:*",
        'displayName:"DIG"',
        'NOT state="JOB_STATE_FAILED"',
        'state="JOB_STATE_FAILED" OR labels.team="vision"',
        '(state="A" AND state="B") OR state="JOB_STATE_RUNNING"',
        'labels.none!="x"',
    ],
)
def test_a_true_filter_keeps_the_document(text: str) -> None:
    assert holds(text)


@pytest.mark.parametrize(
    "text",
    [
        'labels.headway-run="r2"',
        'display_name="digits" AND state="JOB_STATE_FAILED"',
        "labels.none:*",
        'labels.none="x"',
        'create_time<"2026-11-22T00:00:00Z"',
        'NOT (state="JOB_STATE_RUNNING" AND labels.team="vision")',
    ],
)
def test_a_false_filter_drops_it(text: str) -> None:
    assert not holds(text)


def test_or_binds_tighter_than_and() -> None:
    assert not holds('labels.team="vision" OR labels.team="x" AND state="JOB_STATE_FAILED"')


def test_quoted_values_may_hold_anything() -> None:
    condition = parse(r'labels.note="a \"b\" (c) = d"')[0]
    assert condition.holds({"labels": {"note": 'a "b" (c) = d'}})


@pytest.mark.parametrize("text", ["state=", "state", "(state=A", "=A", 'state="A" OR', "state=A)", "AND"])
def test_what_is_no_filter_is_refused(text: str) -> None:
    with pytest.raises(ApiError, match="Invalid filter") as caught:
        parse(text)
    assert caught.value.status == "INVALID_ARGUMENT"


def test_regular_expressions_are_refused_by_name() -> None:
    with pytest.raises(ApiError, match="=~") as caught:
        parse('state=~"A"')
    assert caught.value.http_status == 501


def test_severities_compare_by_rank() -> None:
    assert parse("severity>=WARNING")[0].holds({"severity": "ERROR"})
    assert not parse("severity>=WARNING")[0].holds({"severity": "INFO"})
    with pytest.raises(ApiError, match="unknown severity"):
        parse("severity>=LOUD")
