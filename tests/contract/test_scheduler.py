"""Cloud Scheduler through Google's own client, on an emulator whose clock is stepped."""

from __future__ import annotations

import base64
import json
import time
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import pytest
import requests
from google.api_core import exceptions
from google.auth.credentials import AnonymousCredentials
from google.protobuf.field_mask_pb2 import FieldMask

from tests.contract.conftest import job_client
from tests.contract.servers import LOCATION, PARENT, PROJECT, Emulator, StorageServer, until
from tests.contract.targets import Target, listening

if TYPE_CHECKING:
    from google.cloud.scheduler_v1 import CloudSchedulerClient, Job

ACCOUNT = f"trigger@{PROJECT}.iam.gserviceaccount.com"


@pytest.fixture
def scheduler(timed: Emulator) -> Iterator[CloudSchedulerClient]:
    client = scheduler_client(timed)
    yield client
    for job in client.list_jobs(parent=PARENT):
        client.delete_job(name=job.name)


@pytest.fixture
def target() -> Iterator[Target]:
    with listening() as made:
        yield made


def scheduler_client(emulator: Emulator) -> CloudSchedulerClient:
    from google.cloud.scheduler_v1 import CloudSchedulerClient

    options = {"api_endpoint": f"{emulator.url}/cloudscheduler"}
    return CloudSchedulerClient(transport="rest", credentials=AnonymousCredentials(), client_options=options)


def step(emulator: Emulator, **to: str) -> None:
    """Advance the clock, or set it; what comes due on the way is done when this returns."""
    answer = requests.post(f"{emulator.url}/emulator/clock", json=to, timeout=60)
    assert answer.status_code == 200, answer.text


def now(emulator: Emulator) -> str:
    return str(requests.get(f"{emulator.url}/emulator/clock", timeout=10).json()["now"])


def at_next(emulator: Emulator, month_day: str) -> int:
    """Step to 00:00 UTC of the next such day, and give its year."""
    year = int(now(emulator)[:4])
    if f"{year}-{month_day}" <= now(emulator)[:10]:
        year += 1
    step(emulator, to=f"{year}-{month_day}T00:00:00Z")
    return year


def job(uri: str, schedule: str = "0 * * * *", **more: Any) -> dict[str, Any]:
    target = {"uri": uri, **more.pop("http_target", {})}
    return {"schedule": schedule, "http_target": target, **more}


def made(client: CloudSchedulerClient, uri: str, schedule: str = "0 * * * *", **more: Any) -> Job:
    return client.create_job(parent=PARENT, job=job(uri, schedule, **more))


class TestJobs:
    def test_a_job_has_googles_defaults_and_a_next_time(
        self, scheduler: CloudSchedulerClient, timed: Emulator
    ) -> None:
        created = made(scheduler, "http://127.0.0.1:9", "30 4 * * *", name=f"{PARENT}/jobs/nightly")
        assert created.name == f"{PARENT}/jobs/nightly"
        assert created.state.name == "ENABLED"
        assert created.time_zone == "Etc/UTC"
        assert created.attempt_deadline.total_seconds() == 180
        retry = created.retry_config
        assert (retry.retry_count, retry.max_doublings) == (0, 5)
        assert retry.min_backoff_duration.total_seconds() == 5
        assert retry.max_backoff_duration.total_seconds() == 3600
        assert created.http_target.http_method.name == "POST"
        assert created.http_target.uri == "http://127.0.0.1:9/"
        assert created.http_target.headers["User-Agent"] == "Google-Cloud-Scheduler"
        assert f"{created.schedule_time:%H:%M}" == "04:30"
        assert scheduler.get_job(name=created.name) == created

    def test_a_job_without_a_name_gets_one(self, scheduler: CloudSchedulerClient) -> None:
        assert made(scheduler, "http://127.0.0.1:9").name.startswith(f"{PARENT}/jobs/")

    def test_all_jobs_are_listed_page_by_page(self, scheduler: CloudSchedulerClient) -> None:
        names = {made(scheduler, "http://127.0.0.1:9").name for _ in range(5)}
        pager = scheduler.list_jobs(request={"parent": PARENT, "page_size": 2})
        pages = [len(page.jobs) for page in pager.pages]
        assert pages == [2, 2, 1]
        assert {found.name for found in scheduler.list_jobs(parent=PARENT)} == names

    def test_only_the_fields_of_the_mask_are_changed(self, scheduler: CloudSchedulerClient) -> None:
        created = made(scheduler, "http://127.0.0.1:9", description="before")
        wanted = {"name": created.name, "schedule": "15 6 * * *", "description": "after"}
        changed = scheduler.update_job(job=wanted, update_mask="schedule")
        assert (changed.schedule, changed.description) == ("15 6 * * *", "before")
        assert f"{changed.schedule_time:%H:%M}" == "06:15"
        inner = {"name": created.name, "http_target": {"uri": "http://127.0.0.1:10/x", "http_method": "GET"}}
        changed = scheduler.update_job(job=inner, update_mask=FieldMask(paths=["http_target.uri"]))
        assert changed.http_target.uri == "http://127.0.0.1:10/x"
        assert changed.http_target.http_method.name == "POST"

    def test_a_deleted_job_is_gone_and_is_not_executed(
        self, scheduler: CloudSchedulerClient, timed: Emulator, target: Target
    ) -> None:
        created = made(scheduler, target.url)
        scheduler.delete_job(name=created.name)
        step(timed, advance="3h")
        assert target.received == []
        with pytest.raises(exceptions.NotFound, match=r"Job not found\."):
            scheduler.get_job(name=created.name)


class TestExecution:
    def test_the_request_is_the_one_that_was_asked_for_with_schedulers_headers(
        self, scheduler: CloudSchedulerClient, timed: Emulator, target: Target
    ) -> None:
        wanted = {
            "http_method": "PUT",
            "body": b'{"go": 1}',
            "headers": {"X-Mine": "yes", "User-Agent": "ignored", "X-CloudScheduler-JobName": "forged"},
        }
        created = made(scheduler, target.url, name=f"{PARENT}/jobs/exact", http_target=wanted)
        step(timed, advance="1h")
        (request,) = target.received
        assert (request.method, request.path, request.body) == ("PUT", "/target", b'{"go": 1}')
        assert request.headers["x-mine"] == "yes"
        assert request.headers["user-agent"] == "Google-Cloud-Scheduler"
        assert request.headers["content-type"] == "application/octet-stream"
        assert request.headers["x-cloudscheduler"] == "true"
        assert request.headers["x-cloudscheduler-jobname"] == "exact"
        due = request.headers["x-cloudscheduler-scheduletime"]
        assert due == f"{created.schedule_time:%Y-%m-%dT%H:%M:%SZ}"
        after = scheduler.get_job(name=created.name)
        assert after.status.code == 0
        assert f"{after.last_attempt_time:%Y-%m-%dT%H:%M:%SZ}" == due
        assert after.schedule_time > created.schedule_time

    def test_a_year_of_a_monthly_job_is_twelve_executions(
        self, scheduler: CloudSchedulerClient, timed: Emulator, target: Target
    ) -> None:
        year = at_next(timed, "01-15")
        made(scheduler, target.url, "0 9 1 * *", time_zone="America/New_York")
        step(timed, to=f"{year + 1}-01-15T00:00:00Z")
        hours = {tick[5:7]: tick[11:13] for tick in target.ticks}
        assert len(target.ticks) == 12
        assert hours["07"] == "13", "summer in New York"
        assert hours["01"] == "14", "winter in New York"

    def test_a_time_in_the_hour_that_is_skipped_runs_once_when_the_hour_is_over(
        self, scheduler: CloudSchedulerClient, timed: Emulator, target: Target
    ) -> None:
        """Google promises nothing for these hours; the emulator does what Debian's cron does."""
        at_next(timed, "03-24")
        made(scheduler, target.url, "30 2 * * *", time_zone="Europe/Berlin")
        step(timed, advance="9d")
        assert [tick[11:16] for tick in target.ticks].count("01:00") == 1
        assert {tick[11:16] for tick in target.ticks} == {"01:30", "01:00", "00:30"}
        assert len(target.ticks) == len({tick[:10] for tick in target.ticks}) == 9

    def test_a_time_in_the_hour_that_is_repeated_runs_once(
        self, scheduler: CloudSchedulerClient, timed: Emulator, target: Target
    ) -> None:
        at_next(timed, "10-24")
        made(scheduler, target.url, "30 2 * * *", time_zone="Europe/Berlin")
        step(timed, advance="9d")
        assert len(target.ticks) == len({tick[:10] for tick in target.ticks}) == 9
        assert {tick[11:16] for tick in target.ticks} == {"00:30", "01:30"}

    def test_every_n_minutes_is_understood(
        self, scheduler: CloudSchedulerClient, timed: Emulator, target: Target
    ) -> None:
        made(scheduler, target.url, "every 20 minutes")
        step(timed, advance="61m")
        assert len(target.received) == 3

    def test_a_paused_job_waits_and_a_resumed_one_goes_on(
        self, scheduler: CloudSchedulerClient, timed: Emulator, target: Target
    ) -> None:
        created = made(scheduler, target.url)
        assert scheduler.pause_job(name=created.name).state.name == "PAUSED"
        step(timed, advance="3h")
        assert target.received == []
        assert scheduler.resume_job(name=created.name).state.name == "ENABLED"
        step(timed, advance="1h")
        assert len(target.received) == 1

    def test_a_job_is_run_by_hand_even_when_it_is_paused(
        self, scheduler: CloudSchedulerClient, target: Target
    ) -> None:
        created = made(scheduler, target.url)
        scheduler.pause_job(name=created.name)
        assert scheduler.run_job(name=created.name).name == created.name
        until(lambda: target.received)
        until(lambda: "last_attempt_time" in scheduler.get_job(name=created.name))

    def test_a_redirect_is_followed_and_the_last_answer_counts(
        self, scheduler: CloudSchedulerClient, timed: Emulator, target: Target
    ) -> None:
        target.answers, target.redirect = [302, 404], f"{target.url}/else"
        created = made(scheduler, target.url)
        step(timed, advance="1h")
        assert [(r.method, r.path) for r in target.received] == [("POST", "/target"), ("GET", "/target/else")]
        assert scheduler.get_job(name=created.name).status.code == 5


class TestFailures:
    @pytest.mark.parametrize(
        ("answer", "code"), [(400, 3), (401, 16), (403, 7), (404, 5), (429, 8), (500, 13), (503, 14)]
    )
    def test_the_status_is_the_code_that_belongs_to_the_answer(
        self, scheduler: CloudSchedulerClient, timed: Emulator, target: Target, answer: int, code: int
    ) -> None:
        target.answers = [answer]
        created = made(scheduler, target.url)
        step(timed, advance="1h")
        assert scheduler.get_job(name=created.name).status.code == code
        assert len(target.received) == 1, "without a retry count nothing is retried"

    def test_retries_come_after_ever_longer_waits(
        self, scheduler: CloudSchedulerClient, timed: Emulator, target: Target
    ) -> None:
        """Google's own example: 10 s, 300 s, 3 doublings (google.cloud.scheduler.v1.RetryConfig)."""
        target.answers = [500] * 10
        retry = {
            "retry_count": 5,
            "min_backoff_duration": {"seconds": 10},
            "max_backoff_duration": {"seconds": 300},
            "max_doublings": 3,
        }
        created = made(scheduler, target.url, "0 6 * * *", retry_config=retry)
        step(timed, to=f"{created.schedule_time:%Y-%m-%dT%H:%M:%SZ}")
        seen = [len(target.received)]
        for seconds in (10, 20, 40, 80, 160):
            step(timed, advance=f"{seconds - 1}s")
            seen.append(len(target.received))
            step(timed, advance="1s")
            seen.append(len(target.received))
        assert seen == [1, 1, 2, 2, 3, 3, 4, 4, 5, 5, 6]
        step(timed, advance="600s")
        assert len(target.received) == 6
        assert set(target.ticks) == {f"{created.schedule_time:%Y-%m-%dT%H:%M:%SZ}"}, "the same in all retries"

    def test_a_retry_that_succeeds_ends_the_execution(
        self, scheduler: CloudSchedulerClient, timed: Emulator, target: Target
    ) -> None:
        target.answers = [503]
        created = made(scheduler, target.url, retry_config={"retry_count": 3})
        step(timed, to=f"{created.schedule_time:%Y-%m-%dT%H:%M:%SZ}")
        waiting = scheduler.get_job(name=created.name)
        assert waiting.status.code == 14
        step(timed, advance="10s")
        assert len(target.received) == 2
        assert scheduler.get_job(name=created.name).status.code == 0

    def test_an_attempt_without_an_answer_ends_at_its_deadline(
        self, scheduler: CloudSchedulerClient, timed: Emulator, target: Target
    ) -> None:
        target.answers = [0]
        created = made(scheduler, target.url, attempt_deadline={"seconds": 15})
        step(timed, advance="61m")
        assert scheduler.get_job(name=created.name).status.code == 4
        assert len(target.received) == 1

    @pytest.mark.parametrize(
        ("uri", "told"),
        [
            ("https://example.com/hook", "https://example.com"),
            ("http://192.0.2.1/hook", "http://192.0.2.1"),
            ("https://translate.googleapis.com/v3", "no service for translate.googleapis.com"),
        ],
    )
    def test_nothing_leaves_the_machine(
        self, scheduler: CloudSchedulerClient, timed: Emulator, uri: str, told: str
    ) -> None:
        created = made(scheduler, uri)
        step(timed, advance="1h")
        status = scheduler.get_job(name=created.name).status
        assert status.code == 9
        assert told in status.message

    def test_a_request_that_cannot_be_sent_fails_and_is_tried_at_the_next_tick(
        self, scheduler: CloudSchedulerClient, timed: Emulator, target: Target
    ) -> None:
        """HTTP has no header outside ASCII and Latin-1: the attempt fails, and the schedule goes on."""
        created = made(scheduler, target.url, http_target={"headers": {"X-Name": "\u0416"}})
        step(timed, advance="1h")
        first = scheduler.get_job(name=created.name)
        step(timed, advance="1h")
        second = scheduler.get_job(name=created.name)
        assert first.status.code == second.status.code == 3
        assert second.last_attempt_time > first.last_attempt_time

    def test_a_target_that_is_not_there_is_unavailable(
        self, scheduler: CloudSchedulerClient, timed: Emulator
    ) -> None:
        created = made(scheduler, "http://127.0.0.1:1/")
        step(timed, advance="1h")
        assert scheduler.get_job(name=created.name).status.code == 14


class TestTokens:
    def test_an_oauth_token_is_sent_as_a_bearer(
        self, scheduler: CloudSchedulerClient, timed: Emulator, target: Target
    ) -> None:
        wanted = {"oauth_token": {"service_account_email": ACCOUNT}, "headers": {"authorization": "mine"}}
        created = made(scheduler, target.url, http_target=wanted)
        assert created.http_target.oauth_token.scope == "https://www.googleapis.com/auth/cloud-platform"
        step(timed, advance="1h")
        assert target.received[0].headers["authorization"].startswith("Bearer ya29.")

    def test_an_identity_token_has_googles_claims(
        self, scheduler: CloudSchedulerClient, timed: Emulator, target: Target
    ) -> None:
        made(scheduler, target.url, http_target={"oidc_token": {"service_account_email": ACCOUNT}})
        step(timed, advance="1h")
        token = target.received[0].headers["authorization"].removeprefix("Bearer ")
        head, claims, signature = token.split(".")
        said = json.loads(base64.urlsafe_b64decode(claims + "=" * (-len(claims) % 4)))
        assert json.loads(base64.urlsafe_b64decode(head + "=" * (-len(head) % 4)))["alg"] == "RS256"
        assert said["aud"] == target.url
        assert (said["iss"], said["email"]) == ("https://accounts.google.com", ACCOUNT)
        assert said["exp"] == said["iat"] + 3600
        assert signature


class TestLog:
    def test_each_attempt_is_in_the_execution_log(
        self, scheduler: CloudSchedulerClient, timed: Emulator, target: Target
    ) -> None:
        """In the form of published entries of cloudscheduler.googleapis.com/executions."""
        target.answers = [500]
        made(scheduler, target.url, name=f"{PARENT}/jobs/Logged")
        step(timed, advance="2h")
        wanted = (
            'resource.type="cloud_scheduler_job" AND resource.labels.job_id="Logged" '
            'AND log_id("cloudscheduler.googleapis.com/executions")'
        )
        body = {
            "resourceNames": [f"projects/{PROJECT}"],
            "filter": wanted,
            "orderBy": "timestamp asc",
        }
        answer = requests.post(f"{timed.url}/logging/v2/entries:list", json=body, timeout=10)
        assert answer.status_code == 200, answer.text
        told = [
            (
                entry["jsonPayload"]["@type"].rsplit(".", 1)[1],
                entry["severity"],
                entry["jsonPayload"].get("status"),
                entry.get("httpRequest", {}).get("status"),
            )
            for entry in answer.json()["entries"]
        ]
        assert told == [
            ("AttemptStarted", "INFO", None, None),
            ("AttemptFinished", "ERROR", "INTERNAL", 500),
            ("AttemptStarted", "INFO", None, None),
            ("AttemptFinished", "INFO", None, 200),
        ]
        labels = answer.json()["entries"][0]["resource"]["labels"]
        assert labels == {"project_id": PROJECT, "location": LOCATION, "job_id": "Logged"}


class TestVertex:
    def test_a_scheduled_job_makes_a_custom_job(
        self, scheduler: CloudSchedulerClient, timed: Emulator
    ) -> None:
        """The whole way of a scheduled training: a Google address, the project's number, an OAuth token."""
        container = {"imageUri": "trainer:test", "command": ["python3", "-c", "print('scheduled')"]}
        pool = {
            "machineSpec": {"machineType": "n1-standard-4"},
            "replicaCount": "1",
            "containerSpec": container,
        }
        body = {"displayName": "by-schedule", "jobSpec": {"workerPoolSpecs": [pool]}}
        uri = f"https://{LOCATION}-aiplatform.googleapis.com/v1/{PARENT}/customJobs"
        wanted = {
            "body": json.dumps(body).encode(),
            "headers": {"Content-Type": "application/json"},
            "oauth_token": {"service_account_email": ACCOUNT},
        }
        created = made(scheduler, uri, http_target=wanted)
        step(timed, advance="1h")
        assert scheduler.get_job(name=created.name).status.code == 0
        jobs = job_client(timed)
        (found,) = jobs.list_custom_jobs(request={"parent": PARENT, "filter": 'display_name="by-schedule"'})
        assert found.job_spec.worker_pool_specs[0].container_spec.image_uri == "trainer:test"


class TestRestart:
    def test_ticks_missed_while_it_was_down_are_executed_once(
        self, storage_server: StorageServer, tmp_path_factory: pytest.TempPathFactory, target: Target
    ) -> None:
        """The clock moves on by five hours between kill and start: one execution, then the next hour."""
        state = tmp_path_factory.mktemp("missed") / "state"
        emulator = Emulator(state, storage_server.url, clock="virtual")
        emulator.start()
        client = scheduler_client(emulator)
        step(emulator, to=f"{int(now(emulator)[:4]) + 1}-06-01T00:30:00Z")
        created = made(client, target.url)
        emulator.kill()
        _move_clock(emulator, hours=5)
        emulator.start()
        until(lambda: len(target.received) == 1)
        until(lambda: client.get_job(name=created.name).schedule_time.hour == 6)
        assert target.ticks[0][11:16] == "01:00"
        step(emulator, advance="1h")
        assert [tick[11:16] for tick in target.ticks] == ["01:00", "06:00"]
        assert emulator.stop() == 0

    def test_an_attempt_cut_off_by_a_kill_is_not_sent_twice(
        self, storage_server: StorageServer, tmp_path_factory: pytest.TempPathFactory, target: Target
    ) -> None:
        target.answers = [0]
        state = tmp_path_factory.mktemp("cut") / "state"
        emulator = Emulator(state, storage_server.url, clock="virtual")
        emulator.start()
        client = scheduler_client(emulator)
        created = made(client, target.url)
        due = f"{created.schedule_time:%Y-%m-%dT%H:%M:%SZ}"
        with pytest.raises(requests.RequestException):
            requests.post(f"{emulator.url}/emulator/clock", json={"to": due}, timeout=1)
        assert len(target.received) == 1
        emulator.kill()
        emulator.start()
        after = client.get_job(name=created.name)
        assert after.status.code == 14
        assert after.schedule_time > created.schedule_time
        step(emulator, advance="59m")
        assert len(target.received) == 1
        step(emulator, advance="2m")
        assert len(target.received) == 2
        assert emulator.stop() == 0

    def test_a_stop_does_not_wait_for_attempts(
        self, storage_server: StorageServer, tmp_path_factory: pytest.TempPathFactory, target: Target
    ) -> None:
        target.answers = [0]
        emulator = Emulator(tmp_path_factory.mktemp("stop") / "state", storage_server.url)
        emulator.start()
        client = scheduler_client(emulator)
        client.run_job(name=made(client, target.url).name)
        until(lambda: target.received)
        began = time.monotonic()
        assert emulator.stop() == 0
        assert time.monotonic() - began < 5
        assert "Traceback" not in emulator.log
        assert "never retrieved" not in emulator.log


def _move_clock(emulator: Emulator, hours: int) -> None:
    """What a machine's own clock does while the emulator is down."""
    import sqlite3

    with sqlite3.connect(emulator.state / "state.sqlite3") as state:
        (text,) = state.execute("SELECT json FROM documents WHERE kind = 'clock'").fetchone()
        later = json.dumps({"ns": json.loads(text)["ns"] + hours * 3600 * 10**9})
        state.execute("UPDATE documents SET json = ? WHERE kind = 'clock'", (later,))
    state.close()


URI = "http://127.0.0.1:9/"
CLOUD_SCHEDULER_V1 = "cloudscheduler.v1 discovery document"
REFUSED: list[tuple[str, dict[str, Any], str]] = [
    # what was sent, and a part of the answer; the source is in the name
    (f"unknown field ({CLOUD_SCHEDULER_V1})", {"schedul": "* * * * *"}, "Unknown name \"schedul\" at 'job'"),
    (
        "six fields (googleapis/google-cloud-go#1352)",
        job(URI, "* * * * * *"),
        "Schedule or time zone is invalid.",
    ),
    ("L in a field (docs: cron-job-schedules)", job(URI, "0 0 L * *"), "Schedule or time zone is invalid."),
    ("a step over the largest value (docs)", job(URI, "*/60 * * * *"), "Schedule or time zone is invalid."),
    (
        "a zone that is none (htsuruo/firebase-extensions#14)",
        job(URI, timeZone="Asia/Munbai"),
        "time zone is",
    ),
    (
        "no schedule (hashicorp/terraform#31571)",
        {"httpTarget": {"uri": URI}},
        "Schedule or time zone is invalid.",
    ),
    (f"no target ({CLOUD_SCHEDULER_V1}: union field)", {"schedule": "* * * * *"}, "target must be set"),
    (f"no scheme in the URI ({CLOUD_SCHEDULER_V1})", job("acme.com/sales"), 'begins with "http://"'),
    (f"too long a URI ({CLOUD_SCHEDULER_V1})", job(URI + "x" * 2083), "longer than 2083"),
    (
        f"a body with GET ({CLOUD_SCHEDULER_V1})",
        {"schedule": "* * * * *", "httpTarget": {"uri": URI, "httpMethod": "GET", "body": "eA=="}},
        "body is not allowed",
    ),
    (f"retryCount over 5 ({CLOUD_SCHEDULER_V1})", job(URI, retryConfig={"retryCount": 6}), "between 0 and 5"),
    (f"a negative retryCount ({CLOUD_SCHEDULER_V1})", job(URI, retryConfig={"retryCount": -1}), "between 0"),
    (f"a deadline under 15 s ({CLOUD_SCHEDULER_V1})", job(URI, attemptDeadline="14s"), "[15s, 1800s]"),
    (f"a deadline over 30 min ({CLOUD_SCHEDULER_V1})", job(URI, attemptDeadline="1801s"), "[15s, 1800s]"),
    ("no duration (google.protobuf.Duration)", job(URI, attemptDeadline="3m"), "google.protobuf.Duration"),
    (f"too long a description ({CLOUD_SCHEDULER_V1})", job(URI, description="x" * 501), "500 characters"),
    (f"a job id with a dot ({CLOUD_SCHEDULER_V1})", job(URI, name=f"{PARENT}/jobs/a.b"), "must be formatted"),
    (
        "another location in the name (CreateJobRequest)",
        job(URI, name=f"projects/{PROJECT}/locations/x/jobs/a"),
        "does not begin",
    ),
    (
        "both tokens (HttpTarget: union field authorization_header)",
        {
            "schedule": "* * * * *",
            "httpTarget": {
                "uri": URI,
                "oauthToken": {"serviceAccountEmail": ACCOUNT},
                "oidcToken": {"serviceAccountEmail": ACCOUNT},
            },
        },
        "oneof field 'authorization_header' is already set",
    ),
    (
        "a wrong HTTP method (google.cloud.scheduler.v1.HttpMethod)",
        {"schedule": "* * * * *", "httpTarget": {"uri": URI, "httpMethod": "FETCH"}},
        "google.cloud.scheduler.v1.HttpMethod",
    ),
]


class TestRefusals:
    @pytest.mark.parametrize(("what", "body", "told"), REFUSED, ids=[row[0] for row in REFUSED])
    def test_a_malformed_job_is_answered_with_googles_400(
        self, timed: Emulator, what: str, body: dict[str, Any], told: str
    ) -> None:
        sent = {("httpTarget" if key == "http_target" else key): value for key, value in body.items()}
        answer = requests.post(f"{timed.url}/cloudscheduler/v1/{PARENT}/jobs", json=sent, timeout=10)
        error = answer.json()["error"]
        assert (answer.status_code, error["code"], error["status"]) == (400, 400, "INVALID_ARGUMENT"), what
        assert told in error["message"]

    def test_a_name_that_is_taken_is_a_conflict(self, scheduler: CloudSchedulerClient) -> None:
        made(scheduler, URI, name=f"{PARENT}/jobs/taken")
        with pytest.raises(exceptions.Conflict, match="already exists"):
            made(scheduler, URI, name=f"{PARENT}/jobs/taken")

    def test_only_an_enabled_job_is_paused_and_only_a_paused_one_resumed(
        self, scheduler: CloudSchedulerClient
    ) -> None:
        """PauseJob and ResumeJob in google.cloud.scheduler.v1: the states that a job must be in."""
        created = made(scheduler, URI)
        with pytest.raises(exceptions.BadRequest):
            scheduler.resume_job(name=created.name)
        scheduler.pause_job(name=created.name)
        with pytest.raises(exceptions.BadRequest):
            scheduler.pause_job(name=created.name)

    def test_a_mask_with_an_unknown_field_is_refused(
        self, timed: Emulator, scheduler: CloudSchedulerClient
    ) -> None:
        """The words of googleapis/nodejs-scheduler#447."""
        created = made(scheduler, URI)
        with pytest.raises(exceptions.BadRequest, match="Invalid mask for Job: timezone"):
            scheduler.update_job(job={"name": created.name}, update_mask="timezone")
        for path in ("schedule.x", "httpTarget.x", "description.x.y"):
            answer = requests.patch(
                f"{timed.url}/cloudscheduler/v1/{created.name}",
                params={"updateMask": path},
                json={"schedule": "* * * * *"},
                timeout=10,
            )
            assert (answer.status_code, f"Invalid mask for Job: {path}" in answer.text) == (400, True)

    @pytest.mark.parametrize("field", ["pubsubTarget", "appEngineHttpTarget"])
    def test_other_targets_are_refused_by_name(self, timed: Emulator, field: str) -> None:
        body: dict[str, Any] = {"schedule": "* * * * *", field: {}}
        answer = requests.post(f"{timed.url}/cloudscheduler/v1/{PARENT}/jobs", json=body, timeout=10)
        assert answer.status_code == 501
        assert field in answer.json()["error"]["message"]

    def test_other_english_schedules_are_refused_by_name(self, scheduler: CloudSchedulerClient) -> None:
        with pytest.raises(exceptions.GoogleAPICallError, match="first monday of month"):
            made(scheduler, URI, "first monday of month 10:00")

    def test_another_project_is_not_to_be_had(self, scheduler: CloudSchedulerClient) -> None:
        with pytest.raises(exceptions.Forbidden):
            list(scheduler.list_jobs(parent=f"projects/other/locations/{LOCATION}"))
