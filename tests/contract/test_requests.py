"""What every request meets: 501 with a name, Google's 404, the front page, and the record of requests."""

from __future__ import annotations

from typing import Any

import pytest
import requests

from tests.contract.servers import BUCKET, PARENT, PROJECT, Emulator


@pytest.mark.parametrize(
    ("change", "name"),
    [
        (
            {
                "pythonPackageSpec": {
                    "executorImageUri": "x",
                    "packageUris": ["gs://b/p"],
                    "pythonModule": "m",
                }
            },
            "python",
        ),
        ({"containerSpec": {"imageUri": "x"}, "persistent": "pool"}, "persistent resources"),
    ],
)
def test_what_is_not_emulated_is_refused_by_name(
    emulator: Emulator, change: dict[str, Any], name: str
) -> None:
    """501 with the name of the thing, never a job that silently lacks it."""
    pool = {"machineSpec": {"machineType": "n1-standard-4"}, "replicaCount": "1", **change}
    spec = {"workerPoolSpecs": [pool]}
    if persistent := pool.pop("persistent", None):
        spec["persistentResourceId"] = persistent
    url = f"{emulator.url}/aiplatform/v1/{PARENT}/customJobs"
    response = requests.post(url, json={"displayName": "x", "jobSpec": spec}, timeout=10)
    assert response.status_code == 501
    assert name in response.json()["error"]["message"]


@pytest.mark.parametrize(
    ("verb", "path", "method"),
    [
        ("GET", f"/aiplatform/v1/{PARENT}/datasets", "aiplatform.projects.locations.datasets.list"),
        ("POST", f"/v1/{PARENT}/indexes", "aiplatform.projects.locations.indexes.create"),
        ("GET", f"/cloudbuild/v1/{PARENT}/workerPools", "cloudbuild.projects.locations.workerPools.list"),
        ("GET", f"/logging/v2/projects/{PROJECT}/sinks", "logging.sinks.list"),
        ("POST", f"/v1/{PARENT}/nasJobs/1:cancel", "nasJobs.cancel"),
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
