"""What every request meets: 501 with a name, Google's 404, the front page, and the record of requests."""

from __future__ import annotations

import secrets
import subprocess
import sys
from typing import Any

import pytest
import requests
from google.auth.credentials import AnonymousCredentials
from google.cloud import storage
from google.cloud.aiplatform_v1 import JobServiceClient
from googleapiclient import discovery

from tests.contract.conftest import custom_job
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


@pytest.fixture
def listed(emulator: Emulator, jobs: JobServiceClient) -> tuple[str, str]:
    """The label of two jobs that have ended, and the URL of all."""
    label = f"of-{secrets.token_hex(4)}"
    for _ in range(2):
        job = {**custom_job("pass"), "labels": {"of": label}}
        jobs.create_custom_job(parent=PARENT, custom_job=job)
    return label, f"{emulator.url}/aiplatform/v1/{PARENT}/customJobs"


def test_fields_are_what_the_reply_has(listed: tuple[str, str]) -> None:
    """Google's page on partial responses: a/b, a(b,c), and * for any; the next page's token as all else."""
    label, url = listed

    def reply(fields: str) -> Any:
        params = {"filter": f"labels.of={label}", "pageSize": "1", "fields": fields}
        return requests.get(url, params=params, timeout=10).json()

    assert set(reply("customJobs(name,state)")) == {"customJobs"}
    (job,) = reply("nextPageToken, customJobs(name,state)")["customJobs"]
    assert set(job) == {"name", "state"}
    (job,) = reply("customJobs/jobSpec/workerPoolSpecs/machineSpec")["customJobs"]
    assert job == {"jobSpec": {"workerPoolSpecs": [{"machineSpec": {"machineType": "n1-standard-4"}}]}}
    assert set(reply("*")) == {"customJobs", "nextPageToken"}
    unknown = reply("customJobs/nmae")["error"]["message"]
    assert "Cannot find matching fields for path 'customJobs/nmae'" in unknown
    for broken in ("a(", "a)", "a,,b", "a/", "a b"):
        assert "Invalid field selection" in reply(broken)["error"]["message"], broken


def test_a_get_too_long_for_a_url_comes_as_a_post(listed: tuple[str, str], emulator: Emulator) -> None:
    """As google-api-python-client sends it, which Google's front takes."""
    label, _ = listed
    service = discovery.build(
        "aiplatform",
        "v1",
        credentials=AnonymousCredentials(),
        client_options={"api_endpoint": f"{emulator.url}/aiplatform"},
        static_discovery=True,
    )
    condition = " OR ".join([f'labels.of="{label}"'] * 200)
    found = service.projects().locations().customJobs().list(parent=PARENT, filter=condition).execute()
    assert len(found["customJobs"]) == 2


@pytest.mark.parametrize(
    ("verb", "path", "method"),
    [
        ("GET", f"/aiplatform/v1/{PARENT}/datasets", "aiplatform.projects.locations.datasets.list"),
        ("POST", f"/v1/{PARENT}/indexes", "aiplatform.projects.locations.indexes.create"),
        ("GET", f"/cloudbuild/v1/{PARENT}/workerPools", "cloudbuild.projects.locations.workerPools.list"),
        ("GET", f"/logging/v2/projects/{PROJECT}/sinks", "logging.projects.sinks.list"),
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


class TestRecord:
    """What was asked, by whom, what came of it, and the permission that a real project would want."""

    @pytest.fixture(autouse=True)
    def anew(self, emulator: Emulator) -> None:
        requests.delete(f"{emulator.url}/emulator/requests", timeout=10)

    def recorded(self, emulator: Emulator, **query: str) -> list[dict[str, Any]]:
        page = requests.get(f"{emulator.url}/emulator/requests", params=query, timeout=10).json()
        found: list[dict[str, Any]] = page["requests"]
        return found

    def test_a_request_is_written_down_with_method_caller_and_permission(
        self, emulator: Emulator, jobs: JobServiceClient
    ) -> None:
        job = jobs.create_custom_job(parent=PARENT, custom_job=custom_job("pass"))
        last = self.recorded(emulator, method="aiplatform.customJobs.create")[0]
        assert (last["verb"], last["status"], last["permission"]) == (
            "POST",
            200,
            "aiplatform.customJobs.create",
        )
        assert last["path"].endswith(f"/{PARENT}/customJobs")
        assert "gapic/" in last["caller"]
        assert 0 < last["ms"] < 10_000
        assert job.name

    def test_what_google_has_not_and_what_is_not_emulated_is_written_down_too(
        self, emulator: Emulator
    ) -> None:
        requests.get(f"{emulator.url}/aiplatform/v1/nothing", timeout=10)
        requests.get(f"{emulator.url}/aiplatform/v1/{PARENT}/datasets", timeout=10)
        found = self.recorded(emulator)
        assert [(one["method"], one["status"]) for one in found] == [
            ("aiplatform.datasets.list", 501),
            ("", 404),
        ]

    def test_a_fault_is_written_down_with_what_it_hit(self, emulator: Emulator) -> None:
        fault = {"kind": "response", "method": "aiplatform.customJobs.list", "break": "drop"}
        requests.post(f"{emulator.url}/emulator/faults", json=fault, timeout=10)
        with pytest.raises(requests.ConnectionError):
            requests.get(f"{emulator.url}/aiplatform/v1/{PARENT}/customJobs", timeout=10)
        last = self.recorded(emulator)[0]
        assert (last["fault"], last["status"]) == ("drop", 0)

    def test_the_record_is_read_by_method_by_time_and_in_pages(self, emulator: Emulator) -> None:
        for _ in range(5):
            requests.get(f"{emulator.url}/aiplatform/v1/{PARENT}/customJobs", timeout=10)
        requests.get(f"{emulator.url}/storage/v1/b/{BUCKET}", timeout=10)
        assert len(self.recorded(emulator, method="storage.*")) == 1
        assert len(self.recorded(emulator, since=self.recorded(emulator)[1]["time"])) == 2
        url = f"{emulator.url}/emulator/requests"
        first = requests.get(url, params={"pageSize": "4"}, timeout=10).json()
        rest = requests.get(url, params={"pageToken": first["nextPageToken"]}, timeout=10).json()
        assert (len(first["requests"]), len(rest["requests"])) == (4, 2)
        assert "nextPageToken" not in rest
        assert requests.get(url, params={"since": "yesterday"}, timeout=10).status_code == 400

    def test_the_permissions_that_a_program_needs_are_summed_up(
        self, emulator: Emulator, jobs: JobServiceClient, gcs: storage.Client
    ) -> None:
        """The list for a least-privilege role; overwriting needs that of deleting too."""
        name = f"permissions-{secrets.token_hex(4)}"
        gcs.bucket(BUCKET).blob(name).upload_from_string("one")
        list(jobs.list_custom_jobs(parent=PARENT))
        before = self.permissions(emulator) - {
            "storage.buckets.get"
        }  # the client may look at the bucket first
        gcs.bucket(BUCKET).blob(name).upload_from_string("two")
        gcs.bucket(BUCKET).blob(name).download_as_bytes()
        assert before == {"aiplatform.customJobs.list", "storage.objects.create"}
        more = self.permissions(emulator) - before - {"storage.buckets.get"}
        assert more == {"storage.objects.delete", "storage.objects.get"}

    def permissions(self, emulator: Emulator) -> set[str]:
        found = requests.get(f"{emulator.url}/emulator/permissions", timeout=10).json()["permissions"]
        return {one["permission"] for one in found}

    def test_the_command_prints_both_as_tables(self, emulator: Emulator) -> None:
        requests.get(f"{emulator.url}/aiplatform/v1/{PARENT}/customJobs", timeout=10)
        words = [sys.executable, "-m", "headway_emulator.main", "requests", "--url", emulator.url]
        shown = subprocess.run(
            words, capture_output=True, text=True, timeout=30, check=True
        ).stdout.splitlines()
        assert shown[0].split()[:4] == ["time", "status", "took", "method"]
        assert "aiplatform.customJobs.list" in shown[-1]
        summed = subprocess.run(
            [*words, "--permissions"], capture_output=True, text=True, timeout=30, check=True
        )
        assert summed.stdout.splitlines()[1].startswith("aiplatform.customJobs.list")
