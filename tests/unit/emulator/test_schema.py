"""Requests brought to one form by Google's published schemas."""

from __future__ import annotations

import contextlib
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from headway_emulator.errors import ApiError
from headway_emulator.schema import camel, integer, parse, snake


def job(body: Any) -> dict[str, Any]:
    return parse("aiplatform", "v1", "CustomJob", body, "custom_job")


def refused(body: Any) -> list[str]:
    with pytest.raises(ApiError) as caught:
        job(body)
    assert caught.value.status == "INVALID_ARGUMENT"
    return caught.value.message.splitlines()


def test_every_violation_is_named_with_its_place() -> None:
    body = {"nope": 1, "displayName": 2, "jobSpec": {"workerPoolSpecs": [{"replicaCount": "x"}, {"y": 1}]}}
    assert refused(body) == [
        "Invalid JSON payload received. Unknown name \"nope\" at 'custom_job': Cannot find field.",
        "Invalid value at 'custom_job.display_name' (TYPE_STRING), 2",
        "Invalid value at 'custom_job.job_spec.worker_pool_specs[0].replica_count' (TYPE_INT64), \"x\"",
        "Invalid JSON payload received. Unknown name \"y\" at 'custom_job.job_spec.worker_pool_specs[1]': "
        "Cannot find field.",
    ]


@pytest.mark.parametrize("body", [[], "text", 7, True])
def test_a_body_that_is_no_object_is_refused(body: Any) -> None:
    text = 'Invalid JSON payload received. Unknown name "": Root element must be a message.'
    assert refused(body) == [text]


def test_no_body_is_a_message_with_nothing_in_it() -> None:
    assert job(None) == {}


def test_a_list_where_one_value_is_due_is_an_unknown_name() -> None:
    """protobuf's words: proto_writer.cc."""
    assert refused({"displayName": ["a"], "jobSpec": []}) == [
        "Invalid JSON payload received. Unknown name \"displayName\" at 'custom_job': "
        "Proto field is not repeating, cannot start list.",
        "Invalid JSON payload received. Unknown name \"jobSpec\" at 'custom_job': "
        "Proto field is not repeating, cannot start list.",
    ]


def test_an_object_where_a_scalar_is_due_is_told_of_the_message_around_it() -> None:
    assert refused({"jobSpec": {"scheduling": {"timeout": {"seconds": 5}}}}) == [
        "Invalid value at 'custom_job.job_spec.scheduling' (timeout), Starting an object on a scalar field"
    ]


@pytest.mark.parametrize(
    ("value", "reason"),
    [
        ("2h", "Illegal duration format; duration must end with 's'"),
        ("soon", "Illegal duration format; duration must end with 's'"),
        ("minutes", "Invalid duration format, failed to parse seconds"),
    ],
)
def test_a_duration_is_seconds_with_an_s(value: str, reason: str) -> None:
    where = "custom_job.job_spec.scheduling.timeout"
    kind = "type.googleapis.com/google.protobuf.Duration"
    assert refused({"jobSpec": {"scheduling": {"timeout": value}}}) == [
        f"Invalid value at '{where}' ({kind}), Field 'timeout', {reason}"
    ]


def test_a_message_type_is_named_in_full() -> None:
    kind = "type.googleapis.com/google.cloud.aiplatform.v1.CustomJobSpec"
    assert refused({"jobSpec": "x"}) == [f"Invalid value at 'custom_job.job_spec' ({kind}), \"x\""]


def test_a_message_where_a_list_of_them_is_due_is_a_list_of_one() -> None:
    parsed = job({"jobSpec": {"workerPoolSpecs": {"replicaCount": 1}}})
    assert parsed == {"jobSpec": {"workerPoolSpecs": [{"replicaCount": "1"}]}}


@pytest.mark.parametrize("value", [1, "1", 1.0, "1e0", "1.0"])
def test_integers_may_be_written_in_many_ways(value: Any) -> None:
    disk = {"diskSpec": {"bootDiskSizeGb": value}, "replicaCount": value}
    parsed = job({"jobSpec": {"workerPoolSpecs": [disk]}})["jobSpec"]["workerPoolSpecs"][0]
    assert parsed == {"diskSpec": {"bootDiskSizeGb": 1}, "replicaCount": "1"}


@pytest.mark.parametrize(
    "value", [1.5, "a", "1_0", " 1", "", True, 1 << 31, -(1 << 31) - 1, float("inf"), "9" * 5000]
)
def test_what_is_no_32_bit_integer_is_refused(value: Any) -> None:
    body = {"jobSpec": {"workerPoolSpecs": [{"diskSpec": {"bootDiskSizeGb": value}}]}}
    assert "(TYPE_INT32)" in refused(body)[0]


def test_a_long_integer_keeps_its_last_digits() -> None:
    assert integer(str((1 << 63) - 1), "int64") == (1 << 63) - 1
    assert integer(str((1 << 64) - 1), "uint64") == (1 << 64) - 1
    assert integer(str(1 << 63), "int64") is None


def test_a_number_may_be_text_but_is_finite() -> None:
    def least(value: Any) -> Any:
        body = {"doubleValueSpec": {"minValue": value}}
        read = parse("aiplatform", "v1", "StudySpecParameterSpec", body, "")
        return read["doubleValueSpec"]["minValue"]

    assert (least("1.5e3"), least(2)) == (1500, 2)
    unfit: list[Any] = ["NaN", "1e999", "", [], True]
    for value in unfit:
        with pytest.raises(ApiError):
            least(value)


def test_null_is_the_same_as_absent() -> None:
    assert job({"displayName": None, "labels": {"a": "b"}}) == {"labels": {"a": "b"}}


def test_the_values_of_a_map_are_checked() -> None:
    assert refused({"labels": {"a": 1}}) == ["Invalid value at 'custom_job.labels[\"a\"]' (TYPE_STRING), 1"]
    text = "Invalid value at 'custom_job' (Map), Cannot bind a list to map for field 'labels'."
    assert refused({"labels": []}) == [text]


def test_output_only_fields_are_dropped() -> None:
    assert job({"name": "x", "state": "JOB_STATE_FAILED", "error": {}, "displayName": "a"}) == {
        "displayName": "a"
    }


def test_the_beta_version_has_its_own_schema() -> None:
    body = {"displayName": "a", "jobSpec": {"scheduling": {"strategy": 4}}}
    parsed = parse("aiplatform", "v1beta1", "CustomJob", body, "custom_job")
    assert parsed["jobSpec"]["scheduling"]["strategy"] == "SPOT"


@pytest.mark.parametrize(
    ("given", "read"), [("//79+w==", "//79+w=="), ("__79-w==", "//79+w=="), ("YQ", "YQ=="), ("", "")]
)
def test_bytes_come_in_either_alphabet_and_are_kept_in_one(given: str, read: str) -> None:
    """gcloud writes the alphabet for URLs."""
    body = {"payload": {"data": given}}
    assert parse("secretmanager", "v1", "AddSecretVersionRequest", body, "") == {"payload": {"data": read}}


@pytest.mark.parametrize("given", ["?", "YQ=a", "a", "\u00e9"])
def test_bytes_must_be_base64(given: str) -> None:
    with pytest.raises(ApiError, match="TYPE_BYTES"):
        parse("secretmanager", "v1", "AddSecretVersionRequest", {"payload": {"data": given}}, "")


@given(st.from_regex(r"[a-z]+(_[a-z]+)*", fullmatch=True))
def test_field_names_go_to_camel_case_and_back(name: str) -> None:
    assert snake(camel(name)) == name


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=8),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(["displayName", "job_spec", "workerPoolSpecs", "labels", "scheduling", "x"]),
            inner,
            max_size=4,
        )
    ),
    max_leaves=12,
)


@given(JSON)
def test_no_body_whatever_breaks_the_reader(body: Any) -> None:
    """It is read, or refused with a reason; never an error of the emulator itself."""
    with contextlib.suppress(ApiError):
        job(body)
