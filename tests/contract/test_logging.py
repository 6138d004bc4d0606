"""Cloud Logging through Google's own client, and the requests that it could not send."""

from __future__ import annotations

import json
import logging as python_logging
import secrets
import subprocess
import sys
import threading
import time
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import pytest
import requests
from google.auth.credentials import AnonymousCredentials
from google.cloud.aiplatform_v1 import JobServiceClient

from tests.contract.conftest import custom_job, job_client, log_lines, messages
from tests.contract.servers import NUMBER, PARENT, PROJECT, Emulator, until
from tests.contract.test_custom_jobs import finished

if TYPE_CHECKING:
    from google.cloud import logging

LOGS = f"projects/{PROJECT}/logs"
GLOBAL = {"type": "global"}


@pytest.fixture
def client(emulator: Emulator) -> logging.Client:
    from google.cloud import logging

    options = {"api_endpoint": f"{emulator.url}/logging"}
    return logging.Client(
        project=PROJECT, credentials=AnonymousCredentials(), _use_grpc=False, client_options=options
    )


@pytest.fixture
def log(client: logging.Client) -> logging.Logger:
    """A log of this test's own."""
    return client.logger(f"contract%2F{secrets.token_hex(4)}")


@pytest.fixture(scope="module")
def job(emulator: Emulator) -> str:
    """A finished job with ten numbered lines, the fourth of them on stderr."""
    program = ("import sys", "for n in range(10): print(n, file=sys.stderr if n == 3 else sys.stdout)")
    jobs = job_client(emulator)
    return str(
        finished(jobs, jobs.create_custom_job(parent=PARENT, custom_job=custom_job(*program)).name).name
    )


def post(emulator: Emulator, method: str, body: Mapping[str, Any]) -> requests.Response:
    return requests.post(f"{emulator.url}/logging/v2/entries:{method}", json=body, timeout=10)


def entries(emulator: Emulator, wanted: str, **more: Any) -> list[dict[str, Any]]:
    body = {"resourceNames": [f"projects/{PROJECT}"], "filter": wanted, **more}
    reply = post(emulator, "list", body)
    assert reply.ok, reply.text
    found: list[dict[str, Any]] = reply.json().get("entries", [])
    return found


def of_job(job: str) -> str:
    return f'resource.type="ml_job" AND resource.labels.job_id="{job.rsplit("/", 1)[1]}"'


class TestClient:
    def test_text_structures_and_empty_entries_are_written_and_read(self, log: logging.Logger) -> None:
        log.log_text("plain", severity="WARNING", labels={"team": "vision"})
        log.log_struct({"message": "said", "loss": 0.5, "deep": {"n": [1, 2]}}, insert_id="mine")
        log.log_empty(trace="projects/p/traces/1")
        own = 'NOT jsonPayload."logging.googleapis.com/diagnostic":*'
        text, structure, empty = log.list_entries(filter_=own)  # the client's first write adds one of its own
        assert (text.payload, text.severity, text.labels["team"]) == ("plain", "WARNING", "vision")
        assert (structure.payload["deep"]["n"], structure.insert_id) == ([1, 2], "mine")
        assert (empty.payload, empty.trace) == (None, "projects/p/traces/1")
        assert text.resource.labels["project_id"] == PROJECT
        assert text.received_timestamp is not None
        assert text.log_name == log.full_name

    def test_a_batch_keeps_its_order_though_no_entry_has_a_time(self, log: logging.Logger) -> None:
        with log.batch() as batch:
            for number in range(200):
                batch.log_struct({"n": number})
        assert [entry.payload["n"] for entry in log.list_entries(page_size=30)] == list(range(200))
        newest = log.list_entries(order_by="timestamp desc", max_results=3)
        assert [entry.payload["n"] for entry in newest] == [199, 198, 197]

    def test_a_handler_of_pythons_logging_keeps_level_labels_and_place(
        self, client: logging.Client, emulator: Emulator
    ) -> None:
        from google.cloud.logging_v2.handlers import CloudLoggingHandler
        from google.cloud.logging_v2.handlers.transports import SyncTransport

        name = f"handler-{secrets.token_hex(4)}"
        logger = python_logging.Logger(name)
        logger.addHandler(CloudLoggingHandler(client, name=name, transport=SyncTransport))
        logger.error("broken: %s", "disk", extra={"labels": {"rank": "1"}})
        (found,) = entries(emulator, f'logName="{LOGS}/{name}" AND severity>=ERROR')
        assert found["textPayload"] == "broken: disk"
        assert found["labels"]["rank"] == "1"
        assert found["sourceLocation"]["file"].endswith("test_logging.py")

    def test_a_repeated_write_is_one_entry(self, log: logging.Logger) -> None:
        when = datetime.now(UTC)
        for _ in range(2):
            log.log_text("once", insert_id="same", timestamp=when)
        log.log_text("twice", insert_id="same", timestamp=when + timedelta(microseconds=1))
        assert [entry.payload for entry in log.list_entries()] == ["once", "twice"]

    def test_logs_are_listed_and_deleted(
        self, client: logging.Client, log: logging.Logger, emulator: Emulator
    ) -> None:
        log.log_text("here")
        names = requests.get(f"{emulator.url}/logging/v2/projects/{NUMBER}/logs", timeout=10).json()
        assert log.full_name in names["logNames"]
        assert "%2F" in log.full_name
        log.delete()
        assert list(log.list_entries()) == []
        names = requests.get(f"{emulator.url}/logging/v2/projects/{PROJECT}/logs", timeout=10).json()
        assert log.full_name not in names["logNames"]

    def test_a_jobs_log_is_read_in_pages(self, client: logging.Client, job: str) -> None:
        from google.cloud import logging

        found = list(client.list_entries(filter_=of_job(job), order_by=logging.ASCENDING, page_size=4))
        lines = [entry for entry in found if entry.resource.labels["task_name"] == "workerpool0-0"]
        assert sorted(entry.payload["message"] for entry in lines) == [str(n) for n in range(10)]
        assert lines[0].log_name == f"{LOGS}/workerpool0-0"
        assert lines[0].labels["ml.googleapis.com/job_id/log_area"] == "root"
        assert (
            lines[0].labels["compute.googleapis.com/resource_name"].startswith("cmle-training-workerpool0-")
        )


class TestWrite:
    def test_what_the_request_says_once_holds_for_each_entry(self, emulator: Emulator) -> None:
        name = f"{LOGS}/defaults-{secrets.token_hex(4)}"
        body = {
            "logName": name.replace(PROJECT, NUMBER),
            "resource": GLOBAL,
            "labels": {"a": "request", "b": "request"},
            "entries": [{"textPayload": "x", "labels": {"a": "entry"}, "severity": 300}],
        }
        assert post(emulator, "write", body).json() == {}
        (found,) = entries(emulator, f'logName="{name}"')
        assert found["labels"] == {"a": "entry", "b": "request"}
        assert (found["logName"], found["severity"]) == (name, "NOTICE")

    def test_a_dry_run_checks_and_writes_nothing(self, emulator: Emulator) -> None:
        name = f"{LOGS}/dry-{secrets.token_hex(4)}"
        body = {
            "logName": name,
            "resource": GLOBAL,
            "dryRun": True,
            "entries": [{"textPayload": "x"}],
        }
        assert post(emulator, "write", body).status_code == 200
        assert entries(emulator, f'logName="{name}"') == []
        assert (
            post(emulator, "write", {**body, "entries": [{"textPayload": "x" * 300_000}]}).status_code == 400
        )

    @pytest.mark.parametrize("partial", [True, False])
    def test_one_bad_entry_spoils_the_others_unless_partial_success_is_asked_for(
        self, emulator: Emulator, partial: bool
    ) -> None:
        name = f"{LOGS}/partial-{secrets.token_hex(4)}"
        given = [{"textPayload": "good"}, {"textPayload": "x" * 300_000}]
        body = {"logName": name, "resource": GLOBAL, "partialSuccess": partial, "entries": given}
        reply = post(emulator, "write", body)
        assert reply.status_code == 400
        assert reply.json()["error"]["message"] == "Log entry with size 293.1K exceeds maximum size of 256.0K"
        details = reply.json()["error"].get("details", [])
        assert [list(detail["logEntryErrors"]) for detail in details] == ([["1"]] if partial else [])
        assert len(entries(emulator, f'logName="{name}"')) == partial

    def test_entries_too_old_or_too_far_ahead_are_taken_and_never_shown(self, emulator: Emulator) -> None:
        name = f"{LOGS}/times-{secrets.token_hex(4)}"
        now = datetime.now(UTC)
        times = [now - timedelta(days=31), now - timedelta(days=29), now + timedelta(days=2)]
        given = [{"textPayload": str(n), "timestamp": time.isoformat()} for n, time in enumerate(times)]
        body = {"logName": name, "resource": GLOBAL, "entries": given}
        assert post(emulator, "write", body).status_code == 200
        assert [entry["textPayload"] for entry in entries(emulator, f'logName="{name}"')] == ["1"]

    def test_labels_that_are_too_long_are_cut_with_an_ellipsis(self, emulator: Emulator) -> None:
        name = f"{LOGS}/labels-{secrets.token_hex(4)}"
        entry = {"textPayload": "x", "labels": {"k" * 600: "short", "long": "v" * 70_000}}
        post(emulator, "write", {"logName": name, "resource": GLOBAL, "entries": [entry]})
        (found,) = entries(emulator, f'logName="{name}"')
        assert sorted((len(key), len(value)) for key, value in found["labels"].items()) == [
            (4, 65_536),
            (512, 5),
        ]
        assert all(text.endswith("...") for text in ("".join(k for k in found["labels"] if k != "long"),))


class TestJobs:
    def test_pages_are_disjoint_and_complete(self, emulator: Emulator, job: str) -> None:
        body: dict[str, Any] = {
            "resourceNames": [f"projects/{NUMBER}"],
            "filter": of_job(job),
            "orderBy": "timestamp desc",
            "pageSize": 3,
        }
        seen: list[str] = []
        while True:
            page = post(emulator, "list", body).json()
            assert len(page["entries"]) <= 3
            seen += [entry["insertId"] for entry in page["entries"]]
            if "nextPageToken" not in page:
                break
            body["pageToken"] = page["nextPageToken"]
        assert len(seen) == len(set(seen)) == len(log_lines(emulator, job))
        assert post(emulator, "list", {**body, "filter": ""}).status_code == 400

    def test_bounds_of_time_and_severity_hold(self, emulator: Emulator, job: str) -> None:
        (error,) = entries(emulator, f"{of_job(job)} AND severity>=ERROR")
        assert error["jsonPayload"]["message"] == "3"
        before = entries(emulator, f'{of_job(job)} timestamp<"{error["timestamp"]}"')
        after = entries(emulator, f'{of_job(job)} AND timestamp>="{error["timestamp"]}"')
        assert len(before) + len(after) == len(log_lines(emulator, job))
        assert all(entry["timestamp"] < error["timestamp"] for entry in before)

    def test_the_filter_by_which_gcloud_goes_on_after_a_line_holds(
        self, emulator: Emulator, job: str
    ) -> None:
        lines = log_lines(emulator, job)
        stamp, seen = lines[4]["timestamp"], lines[4]["insertId"]
        bound = f'((timestamp="{stamp}" AND insertId>"{seen}") OR timestamp>"{stamp}")'
        assert entries(emulator, f"{of_job(job)} AND {bound}") == lines[5:]

    def test_no_entry_is_ahead_of_the_clock(self, emulator: Emulator, job: str) -> None:
        latest = datetime.fromisoformat(log_lines(emulator, job)[-1]["timestamp"])
        assert latest <= datetime.now(UTC)

    def test_a_line_that_json_could_not_carry_is_text(
        self, emulator: Emulator, jobs: JobServiceClient
    ) -> None:
        """Half a surrogate pair, NaN and bytes that are no UTF-8 must not make the whole log unreadable."""
        program = (
            "import sys",
            'print(\'{"severity": "INFO", "message": "\\\\ud800"}\')',
            'print(\'{"severity": "INFO", "loss": NaN}\')',
            "sys.stdout.flush()",
            "sys.stdout.buffer.write(b'\\xff end\\n')",
        )
        name = jobs.create_custom_job(parent=PARENT, custom_job=custom_job(*program)).name
        finished(jobs, name)
        assert messages(emulator, name) == [
            '{"severity": "INFO", "message": "\\ud800"}',
            '{"severity": "INFO", "loss": NaN}',
            "\ufffd end",
        ]


class TestFollowing:
    def test_a_tail_shows_what_comes_and_only_what_its_filter_wants(
        self, emulator: Emulator, log: logging.Logger
    ) -> None:
        body = {"resourceNames": [f"projects/{PROJECT}"], "filter": f'logName="{log.full_name}" wanted'}
        seen: list[str] = []
        with requests.post(
            f"{emulator.url}/logging/v2/entries:tail", json=body, stream=True, timeout=20
        ) as stream:
            writer = threading.Thread(
                target=lambda: [log.log_text(t) for t in ("wanted 1", "no", "wanted 2")]
            )
            writer.start()
            text = ""
            for piece in stream.iter_content(None, decode_unicode=False):
                text += piece.decode()
                seen = [e["textPayload"] for reply in json.loads(f"{text}]") for e in reply["entries"]]
                if len(seen) == 2:
                    break
            writer.join(10)
        assert seen == ["wanted 1", "wanted 2"]

    def test_entries_are_followed_in_the_order_in_which_they_came(
        self, emulator: Emulator, log: logging.Logger
    ) -> None:
        """The emulator's own order, for whom the order of timestamps is of no use."""
        body = {
            "resourceNames": [f"projects/{PROJECT}"],
            "filter": f'logName="{log.full_name}"',
            "orderBy": "arrival",
        }
        token = post(emulator, "list", body).json()["nextPageToken"]
        now = datetime.now(UTC)
        for hours in (1, 3, 2):
            log.log_text(str(hours), timestamp=now - timedelta(hours=hours))
        page = post(emulator, "list", {**body, "pageToken": token}).json()
        assert [entry["textPayload"] for entry in page["entries"]] == ["1", "3", "2"]
        again = post(emulator, "list", {**body, "pageToken": page["nextPageToken"]}).json()
        assert "entries" not in again

    def test_resource_types_are_described(self, emulator: Emulator) -> None:
        found = requests.get(f"{emulator.url}/logging/v2/monitoredResourceDescriptors", timeout=10).json()
        keys = {d["type"]: [label["key"] for label in d["labels"]] for d in found["resourceDescriptors"]}
        assert keys["ml_job"] == ["project_id", "job_id", "task_name"]


class TestSpeed:
    def test_a_page_of_a_long_log_does_not_read_it_all(
        self, emulator: Emulator, jobs: JobServiceClient
    ) -> None:
        """With 100,000 lines a page takes about as long as with 1,000; generous, for a busy machine."""
        program = ("import sys", "sys.stdout.write(''.join(f'line {n}\\n' for n in range(100_000)))")
        name = jobs.create_custom_job(parent=PARENT, custom_job=custom_job(*program)).name
        finished(jobs, name, seconds=120)
        body = {
            "resourceNames": [f"projects/{PROJECT}"],
            "filter": of_job(name),
            "orderBy": "timestamp asc",
            "pageSize": 1000,
        }
        page = post(emulator, "list", body)
        assert page.elapsed < timedelta(seconds=1)
        token = page.json()["nextPageToken"]
        assert post(emulator, "list", {**body, "pageToken": token}).elapsed < timedelta(seconds=1)
        last = entries(emulator, of_job(name), orderBy="timestamp desc", pageSize=2)
        assert "line 99999" in [entry["jsonPayload"]["message"] for entry in last]


ENTRY: dict[str, Any] = {"logName": f"{LOGS}/x", "resource": GLOBAL, "textPayload": "x"}
NAMES: dict[str, Any] = {"resourceNames": [f"projects/{PROJECT}"]}
MESSAGES = "google.logging.v2 message definitions: "
LANGUAGE = "Logging query language: "
MALFORMED: list[tuple[str, dict[str, Any], str, str]] = [
    (
        "write",
        {},
        "Required field is not set: entries",
        MESSAGES + "WriteLogEntriesRequest.entries, Required",
    ),
    ("write", {"entries": [{**ENTRY, "logName": ""}]}, "log_name", MESSAGES + "LogEntry.log_name, Required"),
    ("write", {"entries": [{**ENTRY, "logName": "x"}]}, "Invalid log_name", MESSAGES + "LogEntry.log_name"),
    (
        "write",
        {"entries": [{**ENTRY, "logName": f"{LOGS}/a/b"}]},
        "URL-encoded",
        MESSAGES + "LogEntry.log_name: [LOG_ID] must be URL-encoded",
    ),
    (
        "write",
        {"entries": [{**ENTRY, "logName": f"{LOGS}/{'l' * 512}"}]},
        "less than 512",
        MESSAGES + "LogEntry.log_name: less than 512 characters",
    ),
    (
        "write",
        {"entries": [{**ENTRY, "logName": f"{LOGS}/a%20b"}]},
        "Invalid log_name",
        MESSAGES + "LogEntry.log_name: the characters of a log id",
    ),
    (
        "write",
        {"entries": [{"logName": f"{LOGS}/x", "textPayload": "x"}]},
        "entries[0].resource",
        MESSAGES + "LogEntry.resource, Required",
    ),
    (
        "write",
        {"entries": [{**ENTRY, "jsonPayload": {}}]},
        "oneof field 'payload' is already set. Cannot set 'jsonPayload'",
        MESSAGES + "LogEntry.payload is a oneof",
    ),
    (
        "write",
        {"entries": [{**ENTRY, "timestamp": "yesterday"}]},
        "'entries[0].timestamp' (type.googleapis.com/google.protobuf.Timestamp)",
        MESSAGES + "LogEntry.timestamp",
    ),
    (
        "write",
        {"entries": [{**ENTRY, "severity": "LOUD"}]},
        "entries[0].severity",
        "google.logging.type.LogSeverity",
    ),
    (
        "write",
        {"entries": [{**ENTRY, "sevrity": "INFO"}]},
        'Unknown name "sevrity"',
        "discovery document: LogEntry",
    ),
    (
        "write",
        {"entries": [{**ENTRY, "labels": {"a": 1}}]},
        "labels",
        MESSAGES + "LogEntry.labels, map<string, string>",
    ),
    (
        "write",
        {
            "entries": [
                {
                    **{key: value for key, value in ENTRY.items() if key != "textPayload"},
                    "protoPayload": {"@type": "type.googleapis.com/mine.Own"},
                }
            ]
        },
        "unsupported type",
        MESSAGES + "LogEntry.proto_payload: user-defined types are not supported",
    ),
    (
        "write",
        {"entries": [{**ENTRY, "textPayload": "x" * 270_000}]},
        "exceeds maximum size of 256.0K",
        "quotas",
    ),
    ("list", {}, "resource_names", MESSAGES + "ListLogEntriesRequest.resource_names, Required"),
    (
        "list",
        {"resourceNames": ["demo"]},
        "Invalid resource name",
        MESSAGES + "ListLogEntriesRequest.resource_names",
    ),
    (
        "list",
        {"resourceNames": [f"projects/{PROJECT}"] * 101},
        "at most 100",
        MESSAGES + "resource_names: maximum 100",
    ),
    (
        "list",
        {**NAMES, "pageSize": -1},
        "page_size",
        MESSAGES + "page_size: if negative, the request is rejected",
    ),
    ("list", {**NAMES, "orderBy": "severity"}, "order_by", MESSAGES + "order_by: the only permitted values"),
    ("list", {**NAMES, "pageToken": "nonsense"}, "page_token", MESSAGES + "page_token"),
    (
        "list",
        {**NAMES, "filter": "a" * 20_001},
        "20000",
        MESSAGES + "filter: maximum length 20,000 characters",
    ),
    ("list", {**NAMES, "filter": "severity>="}, "Unparseable filter", LANGUAGE + "syntax"),
    ("list", {**NAMES, "filter": "thud=1"}, 'unrecognized field "thud"', LANGUAGE + "undefined fields"),
    ("list", {**NAMES, "filter": 'textPayload=~"("'}, "regular expression", LANGUAGE + "regular expressions"),
    ("list", {**NAMES, "filter": 'timestamp>"now"'}, "RFC 3339", LANGUAGE + "values and conversions"),
    ("tail", {}, "resource_names", MESSAGES + "TailLogEntriesRequest.resource_names, Required"),
    ("tail", {**NAMES, "bufferWindow": "61s"}, "60000", MESSAGES + "buffer_window: between 0 and 60000 ms"),
]


@pytest.mark.parametrize(("method", "body", "said", "source"), MALFORMED)
def test_a_malformed_request_is_refused_as_google_says(
    emulator: Emulator, method: str, body: dict[str, Any], said: str, source: str
) -> None:
    reply = post(emulator, method, body)
    assert reply.status_code == 400, (source, reply.text)
    assert reply.json()["error"]["status"] == "INVALID_ARGUMENT"
    assert said in reply.json()["error"]["message"]


def test_a_strangers_project_and_an_unknown_log_are_told_apart(emulator: Emulator) -> None:
    """Sources: google.rpc.Code; LoggingServiceV2.DeleteLog."""
    stranger = post(emulator, "list", {"resourceNames": ["projects/other"]})
    assert (stranger.status_code, stranger.json()["error"]["status"]) == (403, "PERMISSION_DENIED")
    written = post(emulator, "write", {"entries": [{**ENTRY, "logName": "projects/other/logs/x"}]})
    assert written.status_code == 403
    url = f"{emulator.url}/logging/v2/projects/{PROJECT}/logs/none"
    unknown = requests.delete(url, timeout=10)
    assert (unknown.status_code, unknown.json()["error"]["status"]) == (404, "NOT_FOUND")


def test_what_is_not_emulated_says_so(emulator: Emulator) -> None:
    reply = post(emulator, "list", {**NAMES, "filter": "sample(insertId, 0.1)"})
    assert (reply.status_code, "sample()" in reply.text) == (501, True)
    sinks = requests.get(f"{emulator.url}/logging/v2/projects/{PROJECT}/sinks", timeout=10)
    assert (sinks.status_code, "sinks.list" in sinks.text) == (501, True), sinks.text


def test_a_burst_is_readable_while_the_job_runs(emulator: Emulator, jobs: JobServiceClient) -> None:
    program = ("import time", "[print(n, flush=True) for n in range(50)]", "time.sleep(60)")
    name = jobs.create_custom_job(parent=PARENT, custom_job=custom_job(*program)).name
    until(lambda: len(messages(emulator, name)) == 50, seconds=20)
    jobs.cancel_custom_job(name=name)
    finished(jobs, name)


LINES = 100_000
REPLICAS = 3


@pytest.mark.docker
@pytest.mark.slow
@pytest.mark.parametrize("load", [0, 6], ids=["idle", "under load"])
def test_no_line_is_lost_of_replicas_that_write_at_once_while_the_emulator_is_killed(
    mortal: Emulator, base_image: str, load: int
) -> None:
    """Each replica writes 100,000 lines, every tenth on stderr; the emulator is killed twice meanwhile."""
    program = (
        "import sys, time",
        f"for n in range({LINES}):",
        "    stream = sys.stderr if n % 10 == 0 else sys.stdout",
        "    print(n, file=stream, flush=n % 10 == 0)",
        f"    if n == {LINES} // 2: time.sleep(4)",
        "sys.stdout.flush()",
        "time.sleep(4)",
    )
    wanted = custom_job(*program, image=base_image)
    pools = wanted["job_spec"]["worker_pool_specs"]
    command = pools[0]["container_spec"]["command"]
    pools[0]["container_spec"]["command"] = [word for word in command if word != "-u"]
    pools.append({**pools[0], "replica_count": REPLICAS - 1})
    hogs = [subprocess.Popen([sys.executable, "-c", "while True: pass"]) for _ in range(load)]
    try:
        jobs = job_client(mortal)
        name = jobs.create_custom_job(parent=PARENT, custom_job=wanted).name
        for _ in range(2):
            until(lambda: len(log_lines(mortal, name, pageSize=500)) == 500, seconds=120)
            time.sleep(1)
            mortal.kill()
            mortal.start()
        ended = finished(jobs, name, seconds=300)
    finally:
        for hog in hogs:
            hog.kill()
            hog.wait(10)
    assert ended.state.name == "JOB_STATE_SUCCEEDED", ended.error
    found: dict[str, list[int]] = {}
    token = ""
    while True:
        asked = {"resourceNames": [f"projects/{PROJECT}"], "filter": of_job(name), "pageSize": 1000}
        page = post(mortal, "list", {**asked, "orderBy": "timestamp asc", "pageToken": token}).json()
        for entry in page["entries"]:
            task = entry["resource"]["labels"]["task_name"]
            if task != "service":
                found.setdefault(task, []).append(int(entry["jsonPayload"]["message"]))
        if not (token := page.get("nextPageToken", "")):
            break
    complete = {task: (len(numbers), len(set(numbers))) for task, numbers in found.items()}
    tasks = ("workerpool0-0", "workerpool1-0", "workerpool1-1")
    assert complete == dict.fromkeys(tasks, (LINES, LINES))
