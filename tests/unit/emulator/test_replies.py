"""Replies compared with Google's schemas."""

from __future__ import annotations

from typing import Any

import pytest

from headway_emulator.api import methods, replies

JOBS = "/v1/projects/{project}/locations/{location}/customJobs"
DELETE = methods.of_rule("aiplatform", "DELETE", f"{JOBS}/{{job}}")
GET = methods.of_rule("aiplatform", "GET", f"{JOBS}/{{job}}")
GOOD: dict[str, Any] = {
    "name": "projects/1/locations/us-central1/customJobs/2",
    "displayName": "x",
    "state": "JOB_STATE_RUNNING",
    "createTime": "2026-01-01T00:00:00.123456Z",
    "labels": {"a": "b"},
    "jobSpec": {
        "workerPoolSpecs": [{"replicaCount": "1", "diskSpec": {"bootDiskSizeGb": 100}}],
        "scheduling": {"timeout": "604800s", "strategy": "SPOT", "disableRetries": True},
    },
}
POOL = "reply.jobSpec.workerPoolSpecs[0]"


def wrong(reply: Any, method: methods.Method | None = GET) -> list[str]:
    assert method is not None
    return replies.violations(method, reply)


def test_a_good_reply_has_nothing_wrong() -> None:
    assert wrong(GOOD) == []


@pytest.mark.parametrize(
    ("change", "at"),
    [
        ({"gpus": 1}, "reply.gpus: GoogleCloudAiplatformV1CustomJob has no such field"),
        ({"display_name": "x"}, "reply.display_name: "),
        ({"displayName": 7}, "reply.displayName: 7 where a string is due"),
        ({"displayName": None}, "reply.displayName: None where a string is due"),
        ({"state": "RUNNING"}, "reply.state: 'RUNNING' where one of "),
        ({"state": 3}, "reply.state: 3 where one of "),
        ({"createTime": "2026-01-01 00:00:00"}, "where a google-datetime is due"),
        ({"createTime": "2026-01-01T00:00:00.12Z"}, "where a google-datetime is due"),
        ({"createTime": "2026-01-01T00:00:00+01:00"}, "where a google-datetime is due"),
        ({"labels": []}, "reply.labels: [] where a map is due"),
        ({"labels": {"a": 1}}, "reply.labels['a']: 1 where a string is due"),
        ({"jobSpec": {"workerPoolSpecs": {}}}, "reply.jobSpec.workerPoolSpecs: {} where a list is due"),
        (
            {"jobSpec": {"workerPoolSpecs": [{"replicaCount": 1}]}},
            f"{POOL}.replicaCount: 1 where a string (int64)",
        ),
        (
            {"jobSpec": {"workerPoolSpecs": [{"diskSpec": {"bootDiskSizeGb": "100"}}]}},
            f"{POOL}.diskSpec.bootDiskSizeGb: '100' where an integer is due",
        ),
        (
            {"jobSpec": {"scheduling": {"timeout": "1h"}}},
            "reply.jobSpec.scheduling.timeout: '1h' where a google-dur",
        ),
        ({"jobSpec": {"scheduling": {"disableRetries": 1}}}, "disableRetries: 1 where a boolean is due"),
        ({"jobSpec": []}, "reply.jobSpec: [] where a GoogleCloudAiplatformV1CustomJobSpec is due"),
    ],
)
def test_what_google_would_not_send_is_named_with_its_place(change: dict[str, Any], at: str) -> None:
    found = wrong({**GOOD, **change})
    assert len(found) == 1
    assert at in found[0]


def test_what_an_operation_carries_is_checked_by_its_type() -> None:
    """Clients refuse an Any without @type, or with a field that its type does not have."""
    prefix = "type.googleapis.com/google.cloud.aiplatform.v1."
    metadata = {"@type": f"{prefix}DeleteOperationMetadata", "genericMetadata": {"createTime": "now"}}
    reply = {
        "name": "operations/1",
        "done": True,
        "metadata": metadata,
        "response": {"@type": "type.googleapis.com/google.protobuf.Empty"},
    }
    assert wrong(reply, DELETE) == [
        "reply.metadata.genericMetadata.createTime: 'now' where a google-datetime is due"
    ]
    assert "without an @type" in wrong({"response": {}}, DELETE)[0]
    filled = {"@type": "type.googleapis.com/google.protobuf.Empty", "x": 1}
    assert wrong({"response": filled}, DELETE) == ["reply.response.x: GoogleProtobufEmpty has no such field"]


def test_a_path_finds_its_method_in_both_versions_and_below_ui() -> None:
    assert GET is not None
    assert (GET.name, GET.version) == ("aiplatform.projects.locations.customJobs.get", "v1")
    beta = methods.of_rule("aiplatform", "GET", f"{JOBS.replace('v1', 'v1beta1')}/{{job}}")
    assert beta is not None
    assert beta.response == "GoogleCloudAiplatformV1beta1CustomJob"
    ui = methods.of_rule("aiplatform", "GET", "/ui/projects/{p}/locations/{l}/operations/{o}")
    assert ui is not None
    assert ui.response == "GoogleLongrunningOperation"


@pytest.mark.parametrize("path", ["/v1/nothing", "/v9/projects", "", "/../v1/projects"])
def test_a_path_of_nobodys_is_no_method(path: str) -> None:
    assert methods.find("aiplatform", "GET", path) is None
