"""Responses that are spoiled on purpose, as Google's clients and bare HTTP meet them."""

from __future__ import annotations

import http.client
import os
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import requests
from google.api_core import exceptions, retry
from google.cloud import storage
from google.cloud.aiplatform_v1 import JobServiceClient

from tests.contract.conftest import custom_job
from tests.contract.servers import BUCKET, PARENT, Emulator, until

Arm = Callable[..., None]
JOBS = f"/aiplatform/v1/{PARENT}/customJobs"


@pytest.fixture
def arm(emulator: Emulator) -> Iterator[Arm]:
    """Arms a fault of responses; none is left when the test ends."""
    url = f"{emulator.url}/emulator/faults"

    def armed(**fault: Any) -> None:
        wanted = {("break" if name == "broken" else name): value for name, value in fault.items()}
        response = requests.post(url, json={"kind": "response", **wanted}, timeout=10)
        assert response.status_code == 200, response.text

    yield armed
    requests.delete(url, timeout=10)


def fired(emulator: Emulator, method: str) -> list[dict[str, Any]]:
    """The last faults of that method, each time one fired."""
    found = requests.get(f"{emulator.url}/emulator/faults", timeout=10).json()["fired"]
    return [one for one in found if one["on"].get("method") == method]


def named(emulator: Emulator, name: str) -> list[dict[str, Any]]:
    """The jobs of that display name."""
    query = {"filter": f'displayName="{name}"'}
    jobs: list[dict[str, Any]] = (
        requests.get(emulator.url + JOBS, params=query, timeout=10).json().get("customJobs", [])
    )
    return jobs


@pytest.mark.parametrize(
    ("status", "name"),
    [(429, "RESOURCE_EXHAUSTED"), (500, "INTERNAL"), (503, "UNAVAILABLE"), (504, "DEADLINE_EXCEEDED")],
)
def test_a_status_is_answered_in_googles_form_and_nothing_is_done(
    emulator: Emulator, arm: Arm, status: int, name: str
) -> None:
    arm(method="aiplatform.customJobs.create", status=status, message="as you wished")
    response = requests.post(emulator.url + JOBS, json={"displayName": f"faulty-{status}"}, timeout=10)
    error = {"code": status, "message": "as you wished", "status": name}
    assert (response.status_code, response.json()) == (status, {"error": error})
    assert named(emulator, f"faulty-{status}") == []


def test_googles_client_raises_what_the_status_means(
    jobs: JobServiceClient, emulator: Emulator, arm: Arm
) -> None:
    """The create method is not retried: one request, one exception."""
    before = len(fired(emulator, "aiplatform.customJobs.create"))
    arm(method="aiplatform.customJobs.create", status=503, times=0)
    with pytest.raises(exceptions.ServiceUnavailable, match="currently unavailable"):
        jobs.create_custom_job(parent=PARENT, custom_job=custom_job("pass"))
    assert len(fired(emulator, "aiplatform.customJobs.create")) == before + 1


def test_a_fault_fires_so_many_times_after_so_many_chances(emulator: Emulator, arm: Arm) -> None:
    arm(method="aiplatform.customJobs.list", status=503, skip=1, times=2)
    seen = [requests.get(emulator.url + JOBS, timeout=10).status_code for _ in range(4)]
    assert seen == [200, 503, 503, 200]


def test_a_rate_with_a_seed_gives_the_same_faults_again(emulator: Emulator, arm: Arm) -> None:
    def run() -> list[int]:
        arm(method="aiplatform.customJobs.*", status=503, rate=0.5, seed=7, times=0)
        seen = [requests.get(emulator.url + JOBS, timeout=10).status_code for _ in range(20)]
        requests.delete(f"{emulator.url}/emulator/faults", timeout=10)
        return seen

    first = run()
    assert first == run()
    assert {200, 503} == set(first)


def test_a_delay_is_real_time_and_the_answer_comes(emulator: Emulator, arm: Arm) -> None:
    arm(method="*", path="*/customJobs", delay=0.4)
    begun = time.monotonic()
    assert requests.get(emulator.url + JOBS, timeout=10).status_code == 200
    assert 0.4 <= time.monotonic() - begun < 5


def test_a_reset_comes_before_anything_is_done(emulator: Emulator, arm: Arm) -> None:
    arm(method="aiplatform.customJobs.create", broken="reset")
    with pytest.raises(requests.ConnectionError, match="reset"):
        requests.post(emulator.url + JOBS, json=custom_job("pass", name="reset"), timeout=10)
    assert named(emulator, "reset") == []


def test_a_dropped_answer_leaves_the_work_done(emulator: Emulator, arm: Arm) -> None:
    """The client cannot know: who repeats the request has two jobs."""
    arm(method="aiplatform.customJobs.create", broken="drop")
    body = custom_job("pass", name="dropped")
    with pytest.raises(requests.ConnectionError):
        requests.post(emulator.url + JOBS, json=body, timeout=10)
    assert len(named(emulator, "dropped")) == 1
    assert requests.post(emulator.url + JOBS, json=body, timeout=10).status_code == 200
    assert len(named(emulator, "dropped")) == 2


@pytest.mark.parametrize(("more", "comes"), [({}, 0.5), ({"after_bytes": 10}, 10)])
def test_a_truncated_answer_is_shorter_than_it_says(
    emulator: Emulator, arm: Arm, more: dict[str, int], comes: float
) -> None:
    """After so many bytes, or in the middle."""
    requests.post(emulator.url + JOBS, json=custom_job("pass"), timeout=10)
    arm(method="aiplatform.customJobs.list", broken="truncate", **more)
    connection = http.client.HTTPConnection("127.0.0.1", emulator.port, timeout=10)
    connection.request("GET", JOBS)
    response = connection.getresponse()
    length = int(response.headers["content-length"])
    with pytest.raises(http.client.IncompleteRead) as caught:
        response.read()
    connection.close()
    assert len(caught.value.partial) == (int(comes) or length // 2)
    assert response.status == 200


def test_a_stall_ends_when_the_client_goes_and_others_are_served(emulator: Emulator, arm: Arm) -> None:
    arm(method="aiplatform.customJobs.list", broken="stall")
    with pytest.raises(requests.ReadTimeout):
        requests.get(emulator.url + JOBS, timeout=0.5)
    assert requests.get(emulator.url + JOBS, timeout=10).status_code == 200


def test_what_fired_is_listed_with_what_it_hit(emulator: Emulator, arm: Arm) -> None:
    arm(method="aiplatform.customJobs.get", status=500)
    requests.get(f"{emulator.url}{JOBS}/77", timeout=10)
    last = fired(emulator, "aiplatform.customJobs.get")[-1]
    assert last["kind"] == "response"
    assert last["on"]["path"].endswith("/customJobs/77")


@pytest.mark.parametrize(
    ("fault", "said"),
    [
        ({"method": "storage.object.insert"}, "did you mean 'storage.objects.insert'?"),
        ({"method": "customJobs.create"}, "did you mean 'aiplatform.customJobs.create'?"),
        ({"method": "nonsense"}, "`headway-emulator methods` lists them."),
        ({"kind": "build", "status": "WORKING"}, "A build ends with one of FAILURE, "),
        ({"kind": "build", "status": "BOGUS"}, "A build ends with one of FAILURE, "),
        ({"rate": 2}, "A fault's rate is 1 at most, not 2."),
        ({"status": 299}, "A response's status is 400 to 599, not 299."),
    ],
    ids=["plural", "service", "nonsense", "unended", "unknown", "rate", "status"],
)
def test_a_fault_that_could_never_do_anything_is_refused(
    emulator: Emulator, fault: dict[str, Any], said: str
) -> None:
    wanted = {"kind": "response", "status": 503, **fault}
    response = requests.post(f"{emulator.url}/emulator/faults", json=wanted, timeout=10)
    assert response.status_code == 400
    assert said in response.json()["error"]["message"]


def test_the_emulators_own_api_is_never_spoiled(emulator: Emulator, arm: Arm) -> None:
    """Else nobody could disarm what stops everything."""
    arm(method="*", status=503, times=0)
    arm(path="*", broken="reset", times=0)
    assert requests.get(f"{emulator.url}/emulator/faults", timeout=10).status_code == 200
    assert requests.get(emulator.url, timeout=10).status_code == 200


class TestStorage:
    """The same for Cloud Storage, whose client retries by itself what it may repeat."""

    def test_an_error_has_cloud_storages_form(self, emulator: Emulator, arm: Arm) -> None:
        arm(method="storage.buckets.get", status=503)
        error = requests.get(f"{emulator.url}/storage/v1/b/{BUCKET}", timeout=10).json()["error"]
        assert (error["code"], error["errors"][0]["reason"]) == (503, "backendError")

    @pytest.mark.parametrize("size", [64, 5 << 20])
    def test_a_broken_download_is_read_again_by_the_client(
        self, bucket: storage.Bucket, emulator: Emulator, arm: Arm, size: int
    ) -> None:
        data = os.urandom(size)
        bucket.blob("faults/broken.bin").upload_from_string(data)
        before = len(fired(emulator, "storage.objects.get"))
        arm(
            method="storage.objects.get", object="faults/broken.bin", broken="truncate", after_bytes=size // 3
        )
        assert bucket.blob("faults/broken.bin").download_as_bytes() == data
        assert len(fired(emulator, "storage.objects.get")) == before + 1

    def test_a_stalled_download_stops_after_so_many_bytes(
        self, bucket: storage.Bucket, emulator: Emulator, arm: Arm
    ) -> None:
        bucket.blob("faults/stalled.bin").upload_from_string(os.urandom(1 << 20))
        arm(method="storage.objects.get", broken="stall", after_bytes=1000)
        url = f"{emulator.url}/download/storage/v1/b/{BUCKET}/o/faults%2Fstalled.bin?alt=media"
        response = requests.get(url, timeout=0.5, stream=True)
        assert response.raw.read(1000) != b""
        with pytest.raises(requests.exceptions.ConnectionError, match="timed out"):
            next(response.iter_content(1 << 20))

    def test_an_upload_that_is_accepted_and_dropped_fails_its_own_precondition(
        self, bucket: storage.Bucket, arm: Arm
    ) -> None:
        """The client sends it again, since ifGenerationMatch makes that safe: and the object is there."""
        arm(method="storage.objects.insert", bucket=BUCKET, object="faults/claimed", broken="drop")
        with pytest.raises(exceptions.PreconditionFailed):
            bucket.blob("faults/claimed").upload_from_string("mine", if_generation_match=0)
        assert bucket.blob("faults/claimed").download_as_bytes() == b"mine"

    def test_an_upload_that_is_cut_in_its_middle_makes_no_object(self, emulator: Emulator, arm: Arm) -> None:
        arm(method="storage.objects.insert", broken="reset", after_bytes=100_000)
        url = f"{emulator.url}/upload/storage/v1/b/{BUCKET}/o?uploadType=media&name=faults/cut"
        with pytest.raises(requests.ConnectionError):
            requests.post(url, data=os.urandom(4 << 20), timeout=10)
        path = f"{emulator.url}/storage/v1/b/{BUCKET}/o/faults%2Fcut"
        assert requests.get(path, timeout=10).status_code == 404

    def test_only_the_named_objects_are_hit(self, bucket: storage.Bucket, arm: Arm) -> None:
        for name in ("faults/hit/a", "faults/other/a"):
            bucket.blob(name).upload_from_string("x")
        arm(method="storage.objects.delete", object="faults/hit/*", status=403, times=0)
        with pytest.raises(exceptions.Forbidden):
            bucket.blob("faults/hit/a").delete()
        bucket.blob("faults/other/a").delete()


def test_a_status_may_hit_a_client_that_waits(jobs: JobServiceClient, emulator: Emulator, arm: Arm) -> None:
    """A poll with Google's retry is answered though every third one fails."""
    job = jobs.create_custom_job(parent=PARENT, custom_job=custom_job("pass"))
    arm(method="aiplatform.customJobs.get", status=503, rate=0.3, seed=1, times=0)
    again = retry.Retry(initial=0.01, maximum=0.1, timeout=10)
    until(lambda: jobs.get_custom_job(name=job.name, retry=again).end_time is not None)
    assert fired(emulator, "aiplatform.customJobs.get")
