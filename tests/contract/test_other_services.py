"""Secret Manager and the metadata server."""

from __future__ import annotations

import base64
import os
import subprocess
import sys
from typing import Any

import google_crc32c
import pytest
import requests
from google.cloud.aiplatform_v1 import JobServiceClient

from tests.contract.conftest import custom_job, log_lines
from tests.contract.servers import NUMBER, PARENT, PROJECT, Emulator
from tests.contract.test_custom_jobs import finished

FLAVOR = {"Metadata-Flavor": "Google"}


def numbers(entries: list[dict[str, Any]]) -> list[str]:
    return [
        str(e["jsonPayload"]["message"]) for e in entries if e["resource"]["labels"]["task_name"] != "service"
    ]


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


def test_a_program_with_default_credentials_gets_an_identity_token_for_its_audience(
    emulator: Emulator,
) -> None:
    """google-auth's own way, which asks the metadata server: a token that names the audience."""
    program = (
        "from google.auth import jwt\n"
        "from google.auth.transport.requests import Request\n"
        "from google.oauth2 import id_token\n"
        "claims = jwt.decode(id_token.fetch_id_token(Request(), 'https://mine.example'), verify=False)\n"
        "print(claims['aud'], claims['email'], claims['exp'] - claims['iat'])\n"
    )
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("GOOGLE_", "GCE_"))}
    server = emulator.url.split("://")[1]
    env = kept | {"GCE_METADATA_HOST": server, "GCE_METADATA_IP": server, "HOME": "/nonexistent"}
    words = [sys.executable, "-c", program]
    done = subprocess.run(words, env=env, capture_output=True, text=True, timeout=60, check=False)
    assert done.stdout.split() == [
        "https://mine.example",
        f"{NUMBER}-compute@developer.gserviceaccount.com",
        "3600",
    ], done.stderr
    url = f"{emulator.url}/computeMetadata/v1/instance/service-accounts/default/identity"
    assert requests.get(url, headers=FLAVOR, timeout=10).status_code == 400
    assert requests.get(url, params={"audience": "x"}, timeout=10).status_code == 403
