"""What malformed requests are answered, over bare HTTP because Google's clients cannot send them."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import pytest
import requests

from tests.contract.servers import BUCKET, PARENT, PROJECT, Emulator

GOOD: dict[str, Any] = {
    "displayName": "checked",
    "jobSpec": {
        "workerPoolSpecs": [
            {
                "machineSpec": {"machineType": "n1-standard-4"},
                "replicaCount": "1",
                "containerSpec": {"imageUri": "trainer", "command": ["python3", "-c", "pass"]},
            }
        ]
    },
}
Change = Callable[[dict[str, Any]], Any]


def post(emulator: Emulator, body: Any, version: str = "v1") -> requests.Response:
    return requests.post(f"{emulator.url}/aiplatform/{version}/{PARENT}/customJobs", json=body, timeout=10)


def changed(change: Change) -> dict[str, Any]:
    body = copy.deepcopy(GOOD)
    change(body)
    return body


def pool(body: dict[str, Any]) -> dict[str, Any]:
    first: dict[str, Any] = body["jobSpec"]["workerPoolSpecs"][0]
    return first


def machine(kind: str, accelerator: Any, count: Any) -> Change:
    spec = {"machineType": kind, "acceleratorType": accelerator, "acceleratorCount": count}
    return lambda body: pool(body).update(machineSpec=spec)


@pytest.mark.parametrize("version", ["v1", "v1beta1"])
def test_an_unknown_field_is_refused_in_googles_words(emulator: Emulator, version: str) -> None:
    response = post(emulator, changed(lambda body: body["jobSpec"].update(gpus=1)), version)
    error = response.json()["error"]
    text = "Invalid JSON payload received. Unknown name \"gpus\" at 'custom_job.job_spec': Cannot find field."
    assert (response.status_code, error["status"], error["message"]) == (400, "INVALID_ARGUMENT", text)
    assert error["details"] == [
        {
            "@type": "type.googleapis.com/google.rpc.BadRequest",
            "fieldViolations": [{"field": "custom_job.job_spec", "description": text}],
        }
    ]


BAD: list[tuple[Change, str]] = [
    (lambda b: b.update(displayName=7), "Invalid value at 'custom_job.display_name' (TYPE_STRING), 7"),
    (lambda b: b.pop("displayName"), "Required field is not set: custom_job.display_name."),
    (lambda b: b.update(displayName="x" * 129), "129 characters"),
    (lambda b: b.pop("jobSpec"), "custom_job.job_spec.worker_pool_specs"),
    (lambda b: pool(b).update(replicaCount="2"), "its replica count must be 1, not 2"),
    (lambda b: pool(b).update(replicaCount="many"), "(TYPE_INT64)"),
    (lambda b: pool(b).pop("containerSpec"), "One of container_spec and python_package_spec is required."),
    (lambda b: pool(b)["containerSpec"].pop("imageUri"), "container_spec.image_uri"),
    (lambda b: pool(b).update(pythonPackageSpec={}), "oneof field 'task' is already set"),
    (lambda b: pool(b).pop("machineSpec"), "machine_spec.machine_type"),
    (machine("n1-nonsense-4", None, None), 'Machine type "n1-nonsense-4" is not supported.'),
    (machine("n1-standard-4", "NVIDIA_TESLA_A100", 1), "does not support NVIDIA_TESLA_A100"),
    (machine("a2-highgpu-1g", "NVIDIA_TESLA_A100", 2), "takes 1 accelerators"),
    (machine("n1-standard-4", None, 1), "no acceleratorType is given"),
    (machine("n1-standard-4", "NVIDIA_FOO", 1), "google.cloud.aiplatform.v1.AcceleratorType"),
    (machine("n1-standard-4", 999, 1), "machine_spec.accelerator_type'"),
    (lambda b: b.update(labels={"Team": "a"}), 'Invalid label "Team"'),
    (lambda b: b.update(labels={"team": "x" * 64}), 'Invalid label "team"'),
    (lambda b: pool(b).update(diskSpec={"bootDiskSizeGb": 50}), "100 to 64000 GB, not 50"),
    (
        lambda b: pool(b)["containerSpec"].update(env=[{"name": f"V{n}", "value": ""} for n in range(101)]),
        "101 environment variables; at most 100",
    ),
    (lambda b: pool(b)["containerSpec"].update(env=[{"name": "a b"}]), 'variable name "a b"'),
    (lambda b: b["jobSpec"].update(scheduling={"timeout": "2h"}), "google.protobuf.Duration"),
    (lambda b: b["jobSpec"].update(scheduling={"timeout": "0s"}), "The timeout must be positive"),
    (lambda b: b["jobSpec"].update(scheduling={"strategy": "FLEX_START"}), "FLEX_START does not support"),
    (lambda b: b["jobSpec"].update(baseOutputDirectory={"outputUriPrefix": "/tmp"}), "must begin with gs://"),
]


@pytest.mark.parametrize(("change", "message"), BAD, ids=[message for _, message in BAD])
def test_a_bad_job_is_refused_with_the_field_at_fault(
    emulator: Emulator, change: Change, message: str
) -> None:
    response = post(emulator, changed(change))
    assert response.status_code == 400, response.text
    assert message in response.json()["error"]["message"]


def test_both_spellings_and_enum_forms_are_one(emulator: Emulator) -> None:
    gpu = {"machine_type": "n1-standard-4", "accelerator_type": 5, "accelerator_count": 1.0}
    spec = {
        "worker_pool_specs": [
            {
                "machine_spec": gpu,
                "replica_count": 1,
                "container_spec": {"image_uri": "trainer", "command": ["true"]},
            }
        ],
        "scheduling": {"strategy": 4},
    }
    body = {"display_name": "snake", "job_spec": spec, "state": "JOB_STATE_FAILED", "name": "mine"}
    job = post(emulator, body).json()
    assert job["displayName"] == "snake"
    assert job["jobSpec"]["workerPoolSpecs"][0]["machineSpec"]["acceleratorType"] == "NVIDIA_TESLA_T4"
    assert job["jobSpec"]["workerPoolSpecs"][0]["replicaCount"] == "1"
    assert job["jobSpec"]["scheduling"] == {"strategy": "SPOT"}
    assert job["state"] == "JOB_STATE_PENDING"
    assert job["name"] != "mine"


def test_a_skipped_pool_is_allowed_after_the_first(emulator: Emulator) -> None:
    assert post(emulator, changed(lambda b: b["jobSpec"]["workerPoolSpecs"].append({}))).status_code == 200


@pytest.mark.parametrize(
    ("change", "name"),
    [
        (lambda b: (pool(b).pop("containerSpec"), pool(b).update(pythonPackageSpec={})), "pythonPackageSpec"),
        (lambda b: b["jobSpec"].update(persistentResourceId="x"), "persistent resources"),
    ],
)
def test_what_is_not_emulated_is_refused_by_name(emulator: Emulator, change: Change, name: str) -> None:
    response = post(emulator, changed(change))
    assert response.status_code == 501
    assert name in response.json()["error"]["message"]


def test_text_that_is_no_json_is_a_bad_request(emulator: Emulator) -> None:
    url = f"{emulator.url}/aiplatform/v1/{PARENT}/customJobs"
    response = requests.post(url, data=b"{nope", timeout=10)
    assert response.status_code == 400
    assert response.json()["error"]["message"].startswith("Invalid JSON payload received.")


@pytest.mark.parametrize(
    ("verb", "path", "method"),
    [
        ("GET", f"/aiplatform/v1/{PARENT}/models", "aiplatform.projects.locations.models.list"),
        ("POST", f"/v1/{PARENT}/pipelineJobs", "aiplatform.projects.locations.pipelineJobs.create"),
        ("GET", f"/cloudbuild/v1/projects/{PROJECT}/triggers", "cloudbuild.projects.triggers.list"),
        ("POST", "/logging/v2/entries:write", "logging.entries.write"),
        (
            "GET",
            f"/secretmanager/v1/projects/{PROJECT}/secrets/a/versions",
            "secretmanager.projects.secrets.versions",
        ),
        ("POST", f"/v1/{PARENT}/hyperparameterTuningJobs/1:cancel", "hyperparameterTuningJobs.cancel"),
    ],
)
def test_a_method_that_is_not_emulated_answers_501_with_its_name(
    emulator: Emulator, verb: str, path: str, method: str
) -> None:
    response = requests.request(verb, emulator.url + path, json={} if verb == "POST" else None, timeout=10)
    error = response.json()["error"]
    assert (response.status_code, error["status"]) == (501, "UNIMPLEMENTED")
    assert method in error["message"]


def test_a_path_that_google_does_not_have_is_404(emulator: Emulator) -> None:
    response = requests.get(f"{emulator.url}/aiplatform/v1/nothing/here", timeout=10)
    assert response.status_code == 404
    assert response.json()["error"]["status"] == "NOT_FOUND"


def test_the_front_page_says_what_is_emulated_and_how_far(emulator: Emulator) -> None:
    page = requests.get(emulator.url, timeout=10)
    document = page.json()
    assert page.headers["metadata-flavor"] == "Google"
    assert emulator.process is not None
    assert (document["name"], document["pid"]) == ("headway-emulator", emulator.process.pid)
    assert {"aiplatform", "cloudbuild", "logging", "storage", "secretmanager"} <= document["services"].keys()
    assert all(document["services"].values())


def test_a_page_token_that_was_never_given_out_is_a_bad_request(emulator: Emulator) -> None:
    for service, collection in (("aiplatform", f"{PARENT}/customJobs"), ("cloudbuild", f"{PARENT}/builds")):
        for query in ({"pageToken": "²"}, {"pageSize": "²"}):
            url = f"{emulator.url}/{service}/v1/{collection}"
            assert requests.get(url, params=query, timeout=10).status_code == 400
    for token in ("NQ==", "WzEsIFtdXQ==", "!"):
        body = {"resourceNames": [f"projects/{PROJECT}"], "pageToken": token}
        reply = requests.post(f"{emulator.url}/logging/v2/entries:list", json=body, timeout=10)
        assert (reply.status_code, reply.json()["error"]["message"]) == (400, "page_token is invalid.")


def test_an_upload_that_begins_with_no_json_is_a_bad_request(emulator: Emulator) -> None:
    url = f"{emulator.url}/upload/storage/v1/b/{BUCKET}/o?uploadType=resumable"
    for data in ("{", "[]"):
        reply = requests.post(url, data=data, headers={"content-type": "application/json"}, timeout=10)
        assert (reply.status_code, reply.json()["error"]["message"]) == (400, "Parse Error")
