"""The contract suite on a real project: what goes where, and what is skipped. Google is a function here."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import requests
from google.auth.credentials import AnonymousCredentials

from tests.contract import conftest, real
from tests.unit.documentation import ROOT

ENVIRONMENT = {
    "HEADWAY_CONTRACT": "gcp",
    "HEADWAY_CONTRACT_PROJECT": "my-project",
    "HEADWAY_CONTRACT_NUMBER": "42",
    "HEADWAY_CONTRACT_REGION": "us-central1",
    "HEADWAY_CONTRACT_BUCKET": "my-bucket",
    "HEADWAY_CONTRACT_IMAGE": "us-central1-docker.pkg.dev/my-project/r/python:1",
}
PLACE = real.Place("my-project", "42", "us-central1", "my-bucket", ENVIRONMENT["HEADWAY_CONTRACT_IMAGE"])


class Google:
    """Notes what it is sent, and answers what it was told for a part of an address."""

    def __init__(self) -> None:
        self.asked: list[tuple[str, str, Mapping[str, str], bytes]] = []
        self.answers: dict[str, bytes] = {}

    def __call__(self, verb: str, url: str, headers: Mapping[str, str], body: bytes) -> real.Answer:
        self.asked.append((verb, url, headers, body))
        content = next((answer for part, answer in self.answers.items() if part in url), b"{}")
        return 200, {"Content-Type": "application/json; charset=UTF-8", "Content-Encoding": "gzip"}, content

    @property
    def addresses(self) -> list[str]:
        return [url.partition("?")[0] for _, url, _, _ in self.asked]


@pytest.fixture
def google() -> Google:
    return Google()


@pytest.fixture
def relay(google: Google) -> Iterator[real.Relay]:
    with real.serving(real.Relay(google)) as made:
        yield made


def test_without_the_variable_the_suite_is_the_emulator_s() -> None:
    assert real.place({}) is None
    assert real.place({"HEADWAY_CONTRACT": "emulator"}) is None


def test_a_real_project_is_read_from_its_variables() -> None:
    assert real.place(ENVIRONMENT) == PLACE


@pytest.mark.parametrize("name", [name for name in ENVIRONMENT if name != "HEADWAY_CONTRACT"])
def test_a_missing_variable_is_named(name: str) -> None:
    with pytest.raises(ValueError, match=f"HEADWAY_CONTRACT=gcp needs {name} as well"):
        real.place({**ENVIRONMENT, name: ""})


def test_another_place_is_refused() -> None:
    with pytest.raises(ValueError, match="emulator or gcp, not 'aws'"):
        real.place({"HEADWAY_CONTRACT": "aws"})


@pytest.mark.parametrize(
    ("path", "target"),
    [
        (
            "/aiplatform/v1/projects/p/locations/europe-west4/customJobs?filter=x",
            "https://europe-west4-aiplatform.googleapis.com/v1/projects/p/locations/europe-west4/customJobs?filter=x",
        ),
        (
            "/aiplatform/ui/projects/p/locations/us-central1/customJobs/1/operations/2",
            "https://us-central1-aiplatform.googleapis.com/ui/projects/p/locations/us-central1/customJobs/1/operations/2",
        ),
        ("/cloudbuild/v1/projects/p/builds", "https://cloudbuild.googleapis.com/v1/projects/p/builds"),
        (
            "/cloudscheduler/v1/projects/p/locations/us-central1/jobs",
            "https://cloudscheduler.googleapis.com/v1/projects/p/locations/us-central1/jobs",
        ),
        ("/logging/v2/entries:list", "https://logging.googleapis.com/v2/entries:list"),
        ("/storage/v1/b?project=p", "https://storage.googleapis.com/storage/v1/b?project=p"),
        ("/upload/storage/v1/b/x/o?name=y", "https://storage.googleapis.com/upload/storage/v1/b/x/o?name=y"),
    ],
)
def test_each_path_goes_to_the_host_that_has_it(path: str, target: str) -> None:
    assert real.address(path) == target


@pytest.mark.parametrize("path", ["/emulator/clock", "/emulator/faults", "/", "/v1/projects/p/secrets"])
def test_what_is_the_emulator_s_alone_goes_nowhere(path: str) -> None:
    assert real.address(path) is None


def test_requests_go_on_with_their_bodies_and_without_the_client_s_own_credentials(
    relay: real.Relay, google: Google
) -> None:
    google.answers["/secrets"] = b'{"name": "made"}'
    reply = requests.post(
        f"{relay.url}/secretmanager/v1/projects/p/secrets?secretId=s",
        json={"replication": {}},
        headers={"Authorization": "Bearer emulated", "x-goog-api-client": "gapic/1"},
        timeout=10,
    )
    assert reply.json() == {"name": "made"}
    ((verb, url, headers, body),) = google.asked
    assert (verb, url) == ("POST", "https://secretmanager.googleapis.com/v1/projects/p/secrets?secretId=s")
    assert body == b'{"replication": {}}'
    assert headers["x-goog-api-client"] == "gapic/1"
    assert not {"authorization", "host"} & {name.lower() for name in headers}


def test_google_s_own_client_goes_through_with_the_suite_s_own_fixture(
    relay: real.Relay, google: Google, tmp_path: Path
) -> None:
    project: Any = real.RealProject(relay, PLACE, tmp_path)
    google.answers["/o/a"] = (
        b'{"name": "a", "bucket": "my-bucket", "mediaLink": "https://storage.googleapis.com/x"}'
    )
    blob = conftest.storage_client(project).bucket("my-bucket").get_blob("a")
    assert blob is not None
    assert blob.media_link == f"{relay.url}/x"
    assert "https://storage.googleapis.com/storage/v1/b/my-bucket/o/a" in google.addresses
    from google.cloud import secretmanager

    client = secretmanager.SecretManagerServiceClient(
        transport="rest",
        credentials=AnonymousCredentials(),
        client_options={"api_endpoint": f"{project.url}/secretmanager"},
    )
    list(client.list_secrets(parent="projects/my-project"))
    assert "https://secretmanager.googleapis.com/v1/projects/my-project/secrets" in google.addresses


def test_nobody_else_on_this_machine_can_use_the_relay(relay: real.Relay, google: Google) -> None:
    bare = relay.url.removesuffix(relay.secret)
    for url in (f"{bare}storage/v1/b", f"{bare}wrong/storage/v1/b"):
        assert requests.get(url, timeout=10).status_code == 403
    assert google.asked == []


def test_a_test_that_asked_for_the_clock_is_skipped_and_another_failure_stays_one(
    relay: real.Relay, tmp_path: Path
) -> None:
    item: Any = SimpleNamespace(funcargs={"emulator": real.RealProject(relay, PLACE, tmp_path)})

    def outcome(asks: str) -> None:
        run = conftest.pytest_runtest_call(item)
        next(run)
        requests.get(f"{relay.url}{asks}", timeout=10)
        run.throw(AssertionError("as the test would"))

    with pytest.raises(pytest.skip.Exception, match="GET /emulator/clock is the emulator's alone"):
        outcome("/emulator/clock")
    with pytest.raises(AssertionError, match="as the test would"):
        outcome("/storage/v1/b")


def test_what_only_an_emulator_has_skips_the_test_that_touches_it(relay: real.Relay, tmp_path: Path) -> None:
    project = real.RealProject(relay, PLACE, tmp_path)
    with pytest.raises(pytest.skip.Exception, match=r"emulator\.kill is the emulator's alone"):
        project.kill()


def suite(*words: str, **environment: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", *words]
    return subprocess.run(
        command,
        cwd=ROOT,
        env=os.environ | environment,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


@pytest.mark.slow
def test_the_tests_that_need_a_clock_or_a_kill_are_skipped_with_their_reason() -> None:
    done = suite("tests/contract/test_scheduler.py", "tests/contract/test_serve.py", **ENVIRONMENT)
    assert done.returncode == 0, done.stdout
    assert "passed" not in done.stdout
    assert "HEADWAY_CONTRACT=gcp: it starts an emulator of its own" in done.stdout
    assert "HEADWAY_CONTRACT=gcp: it is about the emulator's own command" in done.stdout


@pytest.mark.slow
def test_a_run_that_lacks_a_variable_ends_before_its_first_test() -> None:
    done = suite("tests/contract/test_custom_jobs.py", **{**ENVIRONMENT, "HEADWAY_CONTRACT_IMAGE": ""})
    assert done.returncode == 4
    assert "HEADWAY_CONTRACT=gcp needs HEADWAY_CONTRACT_IMAGE as well" in done.stdout + done.stderr
