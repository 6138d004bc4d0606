"""`GET /` in a browser: a page for people, where programs go on getting JSON; and waiting for what runs."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import requests
from google.cloud.aiplatform_v1 import JobServiceClient
from google.cloud.devtools.cloudbuild_v1 import CloudBuildClient
from google.cloud.functions_v2 import FunctionServiceClient
from google.cloud.scheduler_v1 import CloudSchedulerClient

from headway_emulator.testing import Emulator, emulator
from tests.contract.conftest import custom_job

BROWSER = "text/html,application/xhtml+xml,application/xml;q=0.9,image/avif,image/webp,*/*;q=0.8"


@pytest.fixture(scope="module")
def gcp() -> Iterator[Emulator]:
    with emulator(clock="virtual") as started:
        yield started


@pytest.fixture(autouse=True)
def _fresh(gcp: Emulator) -> None:
    gcp.reset()


def page(gcp: Emulator) -> requests.Response:
    return requests.get(gcp.url, headers={"Accept": BROWSER}, timeout=10)


def test_a_browser_gets_a_page_and_a_program_json(gcp: Emulator) -> None:
    shown = page(gcp)
    assert shown.headers["Content-Type"] == "text/html; charset=utf-8"
    assert "default-src 'none'" in shown.headers["Content-Security-Policy"]
    for accept in ("*/*", "application/json", None):
        assert requests.get(gcp.url, headers={"Accept": accept}, timeout=10).json()["project"] == gcp.project


def test_the_page_shows_services_clock_jobs_faults_and_requests(gcp: Emulator) -> None:
    fault = gcp.faults.add("response", method="aiplatform.customJobs.list", status=503)
    job = custom_job("pass") | {"display_name": "nightly"}
    name = gcp.client(JobServiceClient).create_custom_job(parent=gcp.parent, custom_job=job).name
    gcp.wait()
    now = gcp.clock.advance("36h")
    text = page(gcp).text
    for expected in (
        name.split("/locations/")[1],
        "nightly",
        "SUCCEEDED",
        fault,
        "aiplatform.customJobs.create",
        "secretmanager",
    ):
        assert expected in text
    assert f"the clock is virtual: <b>{now:%Y-%m-%dT%H:%M:%S}" in text


def test_the_page_shows_functions_and_schedules_where_there_are_any(gcp: Emulator) -> None:
    assert "<h2>Schedules" not in page(gcp).text
    assert "<h2>Functions" not in page(gcp).text
    job = {
        "name": f"{gcp.parent}/jobs/weekly",
        "schedule": "0 3 * * 1",
        "time_zone": "Europe/Zurich",
        "http_target": {"uri": "http://127.0.0.1:9/"},
    }
    gcp.client(CloudSchedulerClient).create_job(parent=gcp.parent, job=job)
    source = {"storage_source": {"bucket": "none", "object": "none.zip"}}
    function = {"build_config": {"runtime": "python311", "entry_point": "go", "source": source}}
    wanted = {"parent": gcp.parent, "function_id": "echo", "function": {**function, "environment": "GEN_2"}}
    gcp.client(FunctionServiceClient).create_function(request=wanted)
    gcp.clock.advance("8d")
    text = page(gcp).text
    for expected in ("us-central1/jobs/weekly", "0 3 * * 1 (Europe/Zurich)", "UNAVAILABLE", "functions/echo"):
        assert expected in text


def test_what_clients_sent_is_text_on_the_page_and_never_markup(gcp: Emulator) -> None:
    job = custom_job("pass") | {"display_name": "<script>alert(1)</script>"}
    gcp.client(JobServiceClient).create_custom_job(parent=gcp.parent, custom_job=job)
    requests.get(f"{gcp.url}/storage/v1/b/<img src=x>", timeout=10)
    gcp.faults.add("response", path="<b>&", status=500)
    text = page(gcp).text
    assert "<script" not in text
    assert "<img" not in text
    assert "&lt;script&gt;alert(1)&lt;/script&gt;" in text
    assert "&lt;b&gt;&amp;" in text


def test_the_page_of_an_empty_project_says_that_there_is_nothing_yet(gcp: Emulator) -> None:
    assert page(gcp).text.count("None yet.") == 2


def test_waiting_ends_with_the_last_program_though_the_clock_stands_still(gcp: Emulator) -> None:
    jobs = gcp.client(JobServiceClient)
    job = custom_job("import time", "time.sleep(0.5)")
    name = jobs.create_custom_job(parent=gcp.parent, custom_job=job).name
    build = {"steps": [{"name": "any", "script": "sleep 0.2"}]}
    gcp.client(CloudBuildClient).create_build(project_id=gcp.project, build=build)
    gcp.wait()
    assert jobs.get_custom_job(name=name).state.name == "JOB_STATE_SUCCEEDED"
    (built,) = gcp.client(CloudBuildClient).list_builds(project_id=gcp.project)
    assert built.status.name == "SUCCESS"


def test_waiting_in_vain_names_what_is_left(gcp: Emulator) -> None:
    job = custom_job("import time", "time.sleep(600)") | {"display_name": "endless"}
    gcp.client(JobServiceClient).create_custom_job(parent=gcp.parent, custom_job=job)
    with pytest.raises(TimeoutError, match=r"still at work after 0.2 s: endless \(JOB_STATE_"):
        gcp.wait(0.2)


def test_what_a_person_types_to_curl_is_taken(gcp: Emulator) -> None:
    """curl --data says that it is a form, whatever it is."""
    before = gcp.clock.now()
    form = {"Content-Type": "application/x-www-form-urlencoded"}
    answer = requests.post(f"{gcp.url}/emulator/clock", data='{"advance": "1h"}', headers=form, timeout=10)
    assert answer.status_code == 200, answer.text
    assert (gcp.clock.now() - before).total_seconds() == 3600
