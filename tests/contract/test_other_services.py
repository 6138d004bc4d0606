"""Logging, Secret Manager, Artifact Registry and the metadata server."""

from __future__ import annotations

import base64
from datetime import UTC, datetime, timedelta
from typing import Any

import google_crc32c
import pytest
import requests
from google.auth.credentials import AnonymousCredentials
from google.cloud.aiplatform_v1 import JobServiceClient

from tests.contract.conftest import custom_job, log_lines
from tests.contract.servers import NUMBER, PARENT, PROJECT, Emulator
from tests.contract.test_custom_jobs import finished

FLAVOR = {"Metadata-Flavor": "Google"}


@pytest.fixture
def job(jobs: JobServiceClient) -> str:
    """A finished job with ten numbered lines, the fourth of them on stderr."""
    program = ("import sys", "for n in range(10): print(n, file=sys.stderr if n == 3 else sys.stdout)")
    created = jobs.create_custom_job(parent=PARENT, custom_job=custom_job(*program))
    return str(finished(jobs, created.name).name)


def numbers(entries: list[dict[str, Any]]) -> list[str]:
    return [
        str(e["jsonPayload"]["message"]) for e in entries if e["resource"]["labels"]["task_name"] != "service"
    ]


class TestLogging:
    def test_googles_client_reads_a_jobs_log(self, emulator: Emulator, job: str) -> None:
        from google.cloud import logging

        client = logging.Client(
            project=PROJECT,
            credentials=AnonymousCredentials(),
            _use_grpc=False,
            client_options={"api_endpoint": f"{emulator.url}/logging"},
        )
        wanted = f'resource.type="ml_job" AND resource.labels.job_id="{job.rsplit("/", 1)[1]}"'
        entries = list(client.list_entries(filter_=wanted, order_by=logging.ASCENDING, page_size=4))
        lines = [e for e in entries if e.resource.labels["task_name"] == "workerpool0-0"]
        assert sorted(entry.payload["message"] for entry in lines) == [str(n) for n in range(10)]
        assert lines[0].log_name == f"projects/{PROJECT}/logs/workerpool0-0"

    def test_pages_are_disjoint_and_complete(self, emulator: Emulator, job: str) -> None:
        body: dict[str, Any] = {
            "resourceNames": [f"projects/{NUMBER}"],
            "filter": f'resource.labels.job_id="{job.rsplit("/", 1)[1]}"',
            "orderBy": "timestamp desc",
            "pageSize": 3,
        }
        seen: list[str] = []
        while True:
            page = requests.post(f"{emulator.url}/v2/entries:list", json=body, timeout=10).json()
            assert len(page["entries"]) <= 3
            seen += [entry["insertId"] for entry in page["entries"]]
            if "nextPageToken" not in page:
                break
            body["pageToken"] = page["nextPageToken"]
        assert len(seen) == len(set(seen)) == len(log_lines(emulator, job))

    def test_bounds_of_time_and_severity_hold(self, emulator: Emulator, job: str) -> None:
        base = f'resource.labels.job_id="{job.rsplit("/", 1)[1]}"'
        errors = log_lines(emulator, job, filter=f"{base} AND severity>=ERROR")
        assert numbers(errors) == ["3"]
        third = errors[0]["timestamp"]
        before = log_lines(emulator, job, filter=f'{base} timestamp<"{third}"')
        after = log_lines(emulator, job, filter=f'{base} AND timestamp>="{third}"')
        assert len(before) + len(after) == len(log_lines(emulator, job))
        assert all(entry["timestamp"] < third for entry in before)

    def test_the_filter_by_which_gcloud_goes_on_after_a_line_holds(
        self, emulator: Emulator, job: str
    ) -> None:
        entries = log_lines(emulator, job)
        base = f'resource.type="ml_job" AND resource.labels.job_id="{job.rsplit("/", 1)[1]}"'
        stamp, seen = entries[4]["timestamp"], entries[4]["insertId"]
        bound = f'((timestamp="{stamp}" AND insertId>"{seen}") OR timestamp>"{stamp}")'
        assert log_lines(emulator, job, filter=f"{base} AND {bound}") == entries[5:]

    def test_no_entry_is_ahead_of_the_clock(self, emulator: Emulator, job: str) -> None:
        latest = datetime.fromisoformat(log_lines(emulator, job)[-1]["timestamp"])
        assert latest <= datetime.now(UTC) + timedelta(seconds=0.1)

    def test_a_filter_it_cannot_answer_is_refused(self, emulator: Emulator) -> None:
        body = {"resourceNames": [f"projects/{PROJECT}"], "filter": "textPayload=~x"}
        assert requests.post(f"{emulator.url}/v2/entries:list", json=body, timeout=10).status_code == 501
        body["filter"] = "severity="
        assert requests.post(f"{emulator.url}/v2/entries:list", json=body, timeout=10).status_code == 400


class TestSecrets:
    def secrets(self, emulator: Emulator) -> str:
        return f"{emulator.url}/secretmanager/v1/projects/{PROJECT}/secrets"

    def test_a_secret_has_numbered_versions_and_a_latest_one(self, emulator: Emulator) -> None:
        url = self.secrets(emulator)
        body: dict[str, Any] = {"replication": {"automatic": {}}}
        made = requests.post(url, params={"secretId": "token"}, json=body, timeout=10).json()
        assert made["name"] == f"projects/{NUMBER}/secrets/token"
        assert requests.post(url, params={"secretId": "token"}, json=body, timeout=10).status_code == 409
        for value in (b"one", b"two"):
            payload = {
                "data": base64.b64encode(value).decode(),
                "dataCrc32c": str(google_crc32c.value(value)),
            }
            added = requests.post(f"{url}/token:addVersion", json={"payload": payload}, timeout=10)
            assert added.json()["state"] == "ENABLED"
        for version, value in (("latest", b"two"), ("1", b"one")):
            got = requests.get(f"{url}/token/versions/{version}:access", timeout=10).json()["payload"]
            assert base64.b64decode(got["data"]) == value
            assert got["dataCrc32c"] == str(google_crc32c.value(value))
        assert requests.get(f"{url}/token/versions/3:access", timeout=10).status_code == 404
        assert made in requests.get(url, timeout=10).json()["secrets"]
        assert requests.delete(f"{url}/token", timeout=10).json() == {}
        assert requests.get(f"{url}/token/versions/latest:access", timeout=10).status_code == 404

    def test_a_damaged_payload_is_refused(self, emulator: Emulator) -> None:
        url = self.secrets(emulator)
        requests.post(url, params={"secretId": "bad"}, json={"replication": {"automatic": {}}}, timeout=10)
        payload = {"data": base64.b64encode(b"x").decode(), "dataCrc32c": "1"}
        response = requests.post(f"{url}/bad:addVersion", json={"payload": payload}, timeout=10)
        assert (response.status_code, response.json()["error"]["status"]) == (400, "INVALID_ARGUMENT")

    def test_a_secret_needs_an_id_and_a_replication(self, emulator: Emulator) -> None:
        url = self.secrets(emulator)
        assert requests.post(url, json={"replication": {"automatic": {}}}, timeout=10).status_code == 400
        assert requests.post(url, params={"secretId": "x"}, json={}, timeout=10).status_code == 400


class TestRegistry:
    def test_a_repository_exists_and_a_tag_that_was_not_built_does_not(self, emulator: Emulator) -> None:
        url = f"{emulator.url}/artifactregistry/v1/{PARENT}/repositories/headway"
        assert requests.get(url, timeout=10).json()["format"] == "DOCKER"
        missing = requests.get(f"{url}/packages/trainer/tags/none", timeout=10)
        assert (missing.status_code, missing.json()["error"]["status"]) == (404, "NOT_FOUND")


class TestMetadata:
    def test_google_auth_finds_default_credentials_inside_a_job(
        self, emulator: Emulator, jobs: JobServiceClient
    ) -> None:
        program = (
            "import google.auth",
            "from google.auth.transport.requests import Request",
            "credentials, project = google.auth.default()",
            "credentials.refresh(Request())",
            "print(project, credentials.token, credentials.service_account_email)",
        )
        created = jobs.create_custom_job(parent=PARENT, custom_job=custom_job(*program))
        job = finished(jobs, created.name)
        email = f"{NUMBER}-compute@developer.gserviceaccount.com"
        assert numbers(log_lines(emulator, job.name)) == [f"{PROJECT} emulated {email}"], job.error

    @pytest.mark.parametrize(
        ("path", "text"),
        [
            ("project/project-id", PROJECT),
            ("project/numeric-project-id", NUMBER),
            ("universe/universe-domain", "googleapis.com"),
        ],
    )
    def test_facts_are_plain_text_and_need_the_header(self, emulator: Emulator, path: str, text: str) -> None:
        url = f"{emulator.url}/computeMetadata/v1/{path}"
        response = requests.get(url, headers=FLAVOR, timeout=10)
        assert (response.text, response.headers["metadata-flavor"]) == (text, "Google")
        assert requests.get(url, timeout=10).status_code == 403

    def test_a_key_files_token_endpoint_answers(self, emulator: Emulator) -> None:
        response = requests.post(f"{emulator.url}/token", data={"assertion": "x"}, timeout=10)
        assert response.json()["token_type"] == "Bearer"
