"""JobSpec: what config.yaml may say, and what it hands over."""

from __future__ import annotations

from datetime import timedelta

import jsonschema
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from headway.spec.job import JobSpec, json_schema
from headway.spec.section import format_duration, parse_duration

SMALL = {"name": "digits", "entrypoint": "train.py"}


def test_arguments_are_handed_over_in_the_files_order() -> None:
    args = {
        "max_epochs": 5,
        "lr": 0.001,
        "fast": True,
        "slow": False,
        "none": None,
        "layers": [64, 32],
        "s": "",
    }
    spec = JobSpec.model_validate({**SMALL, "args": args})
    assert spec.argv() == [
        *("--max_epochs", "5", "--lr", "0.001", "--fast"),
        *("--layers", "64", "32", "--s", ""),
    ]


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("90s", timedelta(seconds=90)),
        ("45m", timedelta(minutes=45)),
        ("2h", timedelta(hours=2)),
        ("1h30m", timedelta(minutes=90)),
        ("1.5h", timedelta(minutes=90)),
        ("7d", timedelta(days=7)),
        (3600, timedelta(hours=1)),
    ],
)
def test_durations_are_read_as_people_write_them(text: object, value: timedelta) -> None:
    assert parse_duration(text) == value


@pytest.mark.parametrize(
    "text",
    [
        *("", "2 hours", "h", "-1h", "1h 30m", True, None, []),
        *(-5, float("inf"), float("nan"), "9999999999d", 10**30),
    ],
)
def test_anything_else_is_no_duration(text: object) -> None:
    with pytest.raises(ValueError, match="is no duration"):
        parse_duration(text)


@given(st.integers(0, 10**7))
def test_a_duration_written_is_read_back(seconds: int) -> None:
    assert parse_duration(format_duration(timedelta(seconds=seconds))) == timedelta(seconds=seconds)


@pytest.mark.parametrize("name", ["a", "digits", "my-job-2", "a" * 40])
def test_good_names(name: str) -> None:
    assert JobSpec(name=name, entrypoint="x").name == name


@pytest.mark.parametrize("name", ["", "A", "2x", "a_b", "a-", "-a", "a" * 41, "a b", "a\n"])
def test_names_that_google_would_refuse(name: str) -> None:
    with pytest.raises(ValidationError):
        JobSpec(name=name, entrypoint="x")


def test_a_spec_is_read_back_from_its_own_json() -> None:
    spec = JobSpec.model_validate({**SMALL, "tracking": {"register": "digits"}, "limits": {"timeout": "90m"}})
    assert JobSpec.model_validate_json(spec.model_dump_json(by_alias=True)) == spec
    assert spec.model_dump(mode="json", by_alias=True)["limits"]["timeout"] == "1h30m"


def test_a_spec_cannot_be_changed() -> None:
    with pytest.raises(ValidationError):
        JobSpec(name="digits", entrypoint="train.py").name = "other"


def test_the_published_schema_takes_what_the_model_takes() -> None:
    schema = json_schema()
    jsonschema.Draft202012Validator.check_schema(schema)
    good = {
        **SMALL,
        "args": {"lr": 0.1, "l": [1]},
        "limits": {"timeout": "2h"},
        "tracking": {"register": "m"},
    }
    jsonschema.validate(good, schema)
    for bad in ({**SMALL, "gpu": "a100"}, {"name": "digits"}, {**SMALL, "resources": {"nodes": "two"}}):
        with pytest.raises(jsonschema.ValidationError):
            jsonschema.validate(bad, schema)


def test_every_key_is_documented_in_the_schema() -> None:
    schema = json_schema()
    sections = [schema, *schema["$defs"].values()]
    undocumented = [
        key
        for section in sections
        for key, row in section["properties"].items()
        if not row.get("description") and "$ref" not in row
    ]
    assert undocumented == []
