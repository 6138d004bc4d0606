"""Requests that no client of Google's sends: from web pages, with paths that lead out, with huge bodies."""

from __future__ import annotations

import http.client
from collections.abc import Iterator
from urllib.parse import urlsplit

import pytest
import requests

from tests.contract.servers import BUCKET, PARENT, PROJECT, Emulator, StorageServer

JOBS = f"/aiplatform/v1/{PARENT}/customJobs"


def test_a_web_page_gets_nothing(emulator: Emulator) -> None:
    """A page of any site can have a browser post text to a port of this machine, without asking first."""
    page = {"origin": "https://evil.example", "content-type": "text/plain"}
    for path in (JOBS, "/emulator/reset"):
        answer = requests.post(f"{emulator.url}{path}", data="{}", headers=page, timeout=10)
        assert answer.status_code == 403, answer.text
        assert answer.json()["error"]["status"] == "PERMISSION_DENIED"
    rebound = {"host": f"evil.example:{emulator.port}"}
    assert requests.get(f"{emulator.url}{JOBS}", headers=rebound, timeout=10).status_code == 403


def test_a_body_larger_than_the_limit_is_not_read_to_its_end(emulator: Emulator) -> None:
    """In pieces, without a length: what comes is counted, and the connection goes on."""

    def pieces() -> Iterator[bytes]:
        for _ in range(40):
            yield b" " * (1 << 20)

    with requests.Session() as session:
        answer = session.post(f"{emulator.url}{JOBS}", data=pieces(), timeout=30)
        assert (answer.status_code, "10485760 bytes" in answer.text) == (400, True)
        assert session.get(f"{emulator.url}{JOBS}", timeout=10).status_code == 200


@pytest.mark.parametrize("text", ['"\\ud800"', "9" * 5000, "1e999", "[" * 5000])
def test_what_cannot_be_sent_back_is_never_kept(emulator: Emulator, text: str) -> None:
    """Kept, it would break every list that it is in."""
    body = f'{{"displayName": {text}, "jobSpec": {{"workerPoolSpecs": [{{}}]}}}}'
    assert requests.post(f"{emulator.url}{JOBS}", data=body, timeout=10).status_code == 400
    entry = f'{{"entries": [{{"logName": "projects/{PROJECT}/logs/x", "jsonPayload": {{"a": {text}}}}}]}}'
    assert (
        requests.post(f"{emulator.url}/logging/v2/entries:write", data=entry, timeout=10).status_code == 400
    )


@pytest.mark.parametrize("size", ["9" * 5000, "4294967296", "-1"])
def test_a_page_size_is_a_small_number(emulator: Emulator, size: str) -> None:
    for path in (JOBS, "/emulator/requests"):
        answer = requests.get(f"{emulator.url}{path}?pageSize={size}", timeout=10)
        assert (answer.status_code, "page_size" in answer.text) == (400, True), answer.text


@pytest.mark.parametrize("token", ["9" * 30, "9" * 5000, "x"])
def test_a_page_token_of_the_record_is_its_own(emulator: Emulator, token: str) -> None:
    answer = requests.get(f"{emulator.url}/emulator/requests?pageToken={token}", timeout=10)
    assert (answer.status_code, "page token" in answer.text) == (400, True), answer.text


UP_AND_OUT = "..%2F..%2Fstate.sqlite3"


@pytest.mark.parametrize(
    ("verb", "path", "status"),
    [
        ("POST", "/upload/storage/v1/b/%2e%2e/o?uploadType=media&name=planted", 400),
        ("POST", "/upload/storage/v1/b/%2e%2e/o?uploadType=resumable&name=planted", 400),
        ("POST", f"/upload/storage/v1/b/{BUCKET}/../%2e%2e/o?uploadType=media&name=planted", 400),
        ("POST", f"/upload/storage/v1/b/{BUCKET}/o?uploadType=media&name=../planted", 400),
        ("PUT", "/..%2f..%2f/planted", 400),
        ("POST", f"/storage/v1/b/{BUCKET}/o/a/rewriteTo/b/%2e%2e/o/planted", 400),
        ("POST", f"/storage/v1/b/{BUCKET}/o/{UP_AND_OUT}/rewriteTo/b/{BUCKET}/o/planted", 404),
        ("GET", f"/storage/v1/b/{BUCKET}/o/{UP_AND_OUT}?alt=media", 404),
        ("DELETE", f"/storage/v1/b/{BUCKET}/o/{UP_AND_OUT}", 404),
        ("GET", f"/{BUCKET}/{UP_AND_OUT}", 404),
        ("GET", "/storage/v1/b/%2e%2e/o", 400),
        ("POST", "/storage/v1/b/%2e%2e/iam/testPermissions", 400),
    ],
)
def test_no_storage_path_leads_out_of_its_bucket(
    emulator: Emulator, storage_server: StorageServer, verb: str, path: str, status: int
) -> None:
    """The storage server takes the name of a bucket for that of a folder."""
    address = urlsplit(emulator.url)
    connection = http.client.HTTPConnection(str(address.hostname), address.port, timeout=10)
    connection.request(verb, path, b"{}", {"content-type": "application/json"})
    answer = connection.getresponse()
    assert answer.status == status, answer.read()
    connection.close()
    assert not list(storage_server.folder.parent.rglob("*planted*"))


@pytest.mark.parametrize("name", ["..", "a/b", "ab", "UPPER", "a..b", ""])
def test_a_bucket_that_cannot_be_is_not_made(emulator: Emulator, name: str) -> None:
    url = f"{emulator.url}/storage/v1/b?project={PROJECT}"
    assert requests.post(url, json={"name": name}, timeout=10).status_code == 400


@pytest.mark.parametrize("token", ["%C3%A9", "%F0%9F%98%80", "!!", "/w=="])
@pytest.mark.parametrize("verb", ["", ":cancel"])
def test_an_operation_of_nobodys_name_is_not_found(emulator: Emulator, token: str, verb: str) -> None:
    url = f"{emulator.url}/cloudbuild/v1/operations/build/{PROJECT}/{token}{verb}"
    answer = requests.request("POST" if verb else "GET", url, timeout=10)
    assert (answer.status_code, answer.json()["error"]["status"]) == (404, "NOT_FOUND")
