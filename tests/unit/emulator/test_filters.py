"""The filter language of list methods."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from headway_emulator.errors import ApiError
from headway_emulator.filters import parse
from headway_emulator.services.logging import filters as log_filters

JOB = {
    "displayName": "digits",
    "state": "JOB_STATE_RUNNING",
    "labels": {"headway-run": "r1", "team": "vision"},
    "createTime": "2026-11-22T03:00:00.250000Z",
    "tags": ["nightly"],
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
        'display_name:"di*s"',
        "labels:team",
        "tags:nightly",
        'create_time>="2026-11-22T03:00:00Z"',
        'create_time="2026-11-22T03:00:00.25Z"',
        'create_time>"2026-11-22T04:59:59+02:00"',
        "createTime>=2026-11-22",
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
        'display_name:"*dig"',
        "labels:vision",
        "tags:night",
        'create_time<"2026-11-22T03:00:00+02:00"',
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


def test_a_term_with_a_minus_is_negated_and_a_quoted_name_keeps_its_dots() -> None:
    assert not holds('-state="JOB_STATE_RUNNING"')
    assert parse('labels."a.b/c"="x"')[0].holds({"labels": {"a.b/c": "x"}})


ENTRY = {
    "logName": "projects/p/logs/app%2Fmain",
    "timestamp": "2026-11-22T03:00:00.500000000Z",
    "severity": "ERROR",
    "insertId": "b2",
    "resource": {"type": "ml_job", "labels": {"job_id": "12", "task_name": "workerpool0-0"}},
    "labels": {"compute.googleapis.com/resource_name": "host-1", "team": "Vision"},
    "jsonPayload": {
        "message": "The Cat in the hat, 10.0.0.7",
        "loss": 0.25,
        "step": 10,
        "text": "9",
        "ok": True,
        "none": None,
        "tags": ["a", "b"],
        "deep": {"special-field": {"x": "y"}},
    },
    "httpRequest": {"status": 503, "requestSize": "1000"},
}


def kept(text: str) -> bool:
    return all(condition.holds(ENTRY) for condition in log_filters.parse(text))


class TestLogQueries:
    @pytest.mark.parametrize(
        "text",
        [
            'resource.type="ml_job" AND resource.labels.job_id="12"',
            'resource.type = ml_job\nseverity >= "WARNING"',
            "resource.type=ML_JOB -- the case of text does not matter\n severity=error",
            "severity>=400 severity<ALERT",
            'timestamp>="2026-11-22T03:00:00.5Z" timestamp<"2026-11-22T04:00:01+01:00"',
            'insertId>"b1"',
            'labels.team="vision"',
            'labels."compute.googleapis.com/resource_name"="host-1"',
            'labels.compute.googleapis.com/resource_name:"host"',
            "labels:team",
            "jsonPayload.step>9",
            "jsonPayload.text>10",
            "jsonPayload.loss<=0.25",
            "jsonPayload.ok=TRUE",
            "jsonPayload.none=NULL_VALUE",
            "jsonPayload.none:*",
            "jsonPayload.tags=b",
            "jsonPayload.tags:(a AND b)",
            'jsonPayload.deep."special-field".x:Y',
            "jsonPayload:hat",
            'jsonPayload.message=~"^The C.t"',
            'jsonPayload.message!~"dog"',
            'severity=("INFO" OR "ERROR")',
            "cat",
            '"the cat in the HAT"',
            "-dog",
            'NOT "dog" AND (dog OR cat)',
            "workerpool0-0",
            "NOT jsonPayload.absent=1",
            "httpRequest.status>=500",
            "httpRequest.requestSize>9",
            "operation.id!=x",
            'trace=""',
            'log_id("app/main")',
            'logName="projects/p/logs/app%2Fmain"',
            'SEARCH("hat cat")',
            'SEARCH(jsonPayload.message, "`the cat` hat")',
            'ip_in_net(jsonPayload.message, "10.0.0.0/8") OR severity=ERROR',
        ],
    )
    def test_a_true_query_keeps_the_entry(self, text: str) -> None:
        assert kept(text)

    @pytest.mark.parametrize(
        "text",
        [
            "severity>ERROR",
            "jsonPayload.absent=1",
            "jsonPayload.absent!=1",
            "labels.absent!=x",
            "jsonPayload.absent:*",
            "httpRequest.referer:*",
            "jsonPayload.step>ten",
            'jsonPayload.message=~"^the"',
            "jsonPayload.message=cat",
            "dog",
            'SEARCH("ha")',
            'SEARCH("`hat cat`")',
            'log_id("main")',
            "cat AND dog OR mouse",
        ],
    )
    def test_a_false_query_drops_it(self, text: str) -> None:
        assert not kept(text)

    @pytest.mark.parametrize(
        ("text", "said"),
        [
            ("severity=", "at its end"),
            ("AND cat", "at 'AND'"),
            ("(cat", "at its end"),
            ("severity>=LOUD", "unknown severity LOUD"),
            ("thud=1", 'unrecognized field "thud"'),
            ("operation.thud=1", 'unrecognized field "operation.thud"'),
            ("textPayload.thud=1", 'unrecognized field "textPayload.thud"'),
            ('timestamp>"yesterday"', "no RFC 3339 time"),
            ('textPayload=~"("', "no regular expression"),
            ('textPayload=~"(a)\\\\1"', "invalid escape sequence"),
            ('textPayload=~"(?=a)"', "invalid perl operator"),
            ('shout("a")', 'no function "shout"'),
            ('log_id("a", "b")', "has 2 arguments"),
            ('ip_in_net(jsonPayload.ip, "10/99")', "no subnet"),
            ("x" * 20_001, "at most 20000"),
            ("(" * 9_000, "nested too deep"),
        ],
    )
    def test_what_is_no_query_is_refused_with_its_place(self, text: str, said: str) -> None:
        with pytest.raises(ApiError, match="Unparseable filter") as caught:
            log_filters.parse(text)
        assert said in caught.value.message
        assert caught.value.status == "INVALID_ARGUMENT"

    def test_what_the_emulator_does_not_do_is_refused_by_name(self) -> None:
        with pytest.raises(ApiError) as caught:
            log_filters.parse("sample(insertId, 0.5)")
        assert caught.value.http_status == 501

    @pytest.mark.parametrize(("end", "holds"), [("a", True), ("!", False)])
    def test_nested_repetition_takes_no_longer_on_a_long_line(self, end: str, holds: bool) -> None:
        entry = {**ENTRY, "textPayload": "a" * 100_000 + end}
        (condition,) = log_filters.parse('textPayload=~"^(a+)+$"')
        assert condition.holds(entry) == holds

    @given(st.text(alphabet='abAND OR"()-=:<>~.\\,', max_size=30))
    def test_any_text_is_a_query_or_a_bad_request(self, text: str) -> None:
        try:
            conditions = log_filters.parse(text)
        except ApiError as error:
            said = error.status
        else:
            said = "held" if all(condition.holds(ENTRY) for condition in conditions) else "dropped"
        assert said in ("held", "dropped", "INVALID_ARGUMENT", "UNIMPLEMENTED")
