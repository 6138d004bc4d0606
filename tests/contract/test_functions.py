"""Cloud Functions through Google's own client: deployed from a zip, called, changed, killed and deleted."""

from __future__ import annotations

import io
import secrets
import socket
import threading
import time
import zipfile
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, cast
from urllib.parse import urlsplit

import pytest
import requests
from google.api_core import exceptions
from google.auth.credentials import AnonymousCredentials

from headway_emulator.engine.executors.process_groups import gone
from tests.contract.conftest import storage_client
from tests.contract.forms import Form, Service, opened
from tests.contract.servers import BUCKET, NUMBER, PARENT, PROJECT, Emulator, StorageServer, until
from tests.contract.test_scheduler import ACCOUNT, scheduler_client, step

if TYPE_CHECKING:
    from google.cloud.functions_v2 import Function, FunctionServiceClient

FUNCTIONS = Service("google.cloud.functions_v2", "FunctionServiceClient", "cloudfunctions")
TOKEN = {"Authorization": "Bearer head.claims.signature"}
ECHO = """
import json, os, time, functions_framework

@functions_framework.http
def go(request):
    tick = request.headers.get("X-CloudScheduler-ScheduleTime")
    told = {"message": "called", "severity": "WARNING", "schedule": tick}
    print(json.dumps(told), flush=True)
    time.sleep(float(request.args.get("sleep", 0)))
    if request.args.get("die"):
        os._exit(1)
    shown = {name: os.environ.get(name, "") for name in request.args.get("env", "").split(",")}
    return {"pid": os.getpid(), "method": request.method, "path": request.full_path, "env": shown,
            "body": request.get_data(as_text=True), "authorization": request.headers["Authorization"]}
"""
SECONDS = 60.0


def client_of(emulator: Emulator) -> FunctionServiceClient:
    from google.cloud.functions_v2 import FunctionServiceClient

    options = {"api_endpoint": f"{emulator.url}/cloudfunctions"}
    return FunctionServiceClient(transport="rest", credentials=AnonymousCredentials(), client_options=options)


@pytest.fixture
def functions(emulator: Emulator) -> FunctionServiceClient:
    return client_of(emulator)


def packed(files: dict[str, str]) -> bytes:
    made = io.BytesIO()
    with zipfile.ZipFile(made, "w") as archive:
        for name, text in files.items():
            archive.writestr(name, text)
    return made.getvalue()


def uploaded(emulator: Emulator, code: str | bytes, **more: str) -> dict[str, Any]:
    """The source of a function whose main.py has the code, or of the bytes as they are."""
    name = f"sources/{secrets.token_hex(6)}.zip"
    content = code if isinstance(code, bytes) else packed({"main.py": code, **more})
    bucket = storage_client(emulator).bucket(BUCKET)
    if not bucket.exists():
        bucket.create()
    bucket.blob(name).upload_from_string(content)
    return {"storage_source": {"bucket": BUCKET, "object_": name}}


def wanted(source: dict[str, Any], **service: Any) -> dict[str, Any]:
    build = {"runtime": "python311", "entry_point": "go", "source": source}
    return {"build_config": build, "service_config": service, "environment": "GEN_2"}


def unique(name: str = "contract") -> str:
    return f"{name}-{secrets.token_hex(4)}"


def deployed(emulator: Emulator, code: str | bytes = ECHO, **service: Any) -> Function:
    request = {
        "parent": PARENT,
        "function_id": unique(),
        "function": wanted(uploaded(emulator, code), **service),
    }
    return cast("Function", ended(client_of(emulator).create_function(request=request)))


def ended(operation: Any) -> Any:
    """What it gives; asked more often than the client does by itself."""
    until(operation.done, seconds=SECONDS, every=0.1)
    return operation.result(timeout=SECONDS)


def called(function: Function, path: str = "", method: str = "POST", **how: Any) -> requests.Response:
    return requests.request(method, f"{function.url}{path}", headers=TOKEN, timeout=SECONDS, **how)


def entries(emulator: Emulator, function: Function, stream: str) -> list[dict[str, Any]]:
    service = function.name.rsplit("/", 1)[1]
    text = f'resource.type="cloud_run_revision" AND resource.labels.service_name="{service}"'
    log = f'logName="projects/{PROJECT}/logs/run.googleapis.com%2F{stream}"'
    body = {"resourceNames": [f"projects/{PROJECT}"], "filter": f"{text} AND {log}"}
    answer = requests.post(f"{emulator.url}/logging/v2/entries:list", json=body, timeout=10).json()
    found: list[dict[str, Any]] = answer.get("entries", [])
    return found


@pytest.fixture(params=["grpc", "grpc_asyncio", "rest"])
def form(request: pytest.FixtureRequest, emulator: Emulator) -> Iterator[Form]:
    with opened(emulator, FUNCTIONS, request.param) as made:
        yield made


def test_the_client_has_no_form_that_is_not_tried_here() -> None:
    assert tuple(type(FUNCTIONS.kind("grpc"))._transport_registry) == ("grpc", "grpc_asyncio", "rest")


def test_a_function_is_deployed_listed_changed_and_deleted_by_every_form_of_the_client(
    form: Form, emulator: Emulator
) -> None:
    """google-cloud-functions: operations with metadata, enums, masks, pages and errors."""
    short = unique()
    name = f"{PARENT}/functions/{short}"
    first = wanted(uploaded(emulator, ECHO), environment_variables={"MINE": "one"}, timeout_seconds=30)
    made = form.call("create_function", parent=PARENT, function_id=short, function=first)
    assert (made.name, made.state.name, made.environment.name) == (name, "ACTIVE", "GEN_2")
    assert (made.service_config.timeout_seconds, made.service_config.available_memory) == (30, "256M")
    assert made.service_config.service_account_email == f"{NUMBER}-compute@developer.gserviceaccount.com"
    assert made.url == made.service_config.uri
    assert made.url.startswith(emulator.url)
    assert made.build_config.source_provenance.resolved_storage_source.generation > 0
    assert form.call("get_function", name=name) == made
    assert made in form.all("list_functions", parent=PARENT, page_size=1)
    assert made in form.all("list_functions", parent=f"projects/{PROJECT}/locations/-")
    assert called(made, "?env=MINE").json()["env"] == {"MINE": "one"}
    change = {"name": name, "service_config": {"environment_variables": {"MINE": "two"}}}
    mask = {"paths": ["service_config.environment_variables"]}
    changed = form.call("update_function", function=change, update_mask=mask)
    assert changed.service_config.revision != made.service_config.revision
    assert changed.service_config.timeout_seconds == 30
    assert called(made, "?env=MINE").json()["env"] == {"MINE": "two"}
    with pytest.raises(exceptions.Conflict):
        form.call("create_function", parent=PARENT, function_id=short, function=first)
    form.call("delete_function", name=name)
    with pytest.raises(exceptions.NotFound):
        form.call("get_function", name=name)
    assert called(made).status_code == 404


class TestDeployment:
    def test_the_operation_tells_what_is_done_and_how_it_ended(
        self, functions: FunctionServiceClient, emulator: Emulator
    ) -> None:
        source = uploaded(emulator, ECHO)
        short = unique()
        asked = {"parent": PARENT, "function_id": short, "function": wanted(source)}
        operation = functions.create_function(request=asked)
        assert not operation.operation.done
        assert functions.get_function(name=f"{PARENT}/functions/{short}").state.name == "DEPLOYING"
        with pytest.raises(exceptions.Conflict, match="unable to queue"):
            functions.delete_function(name=f"{PARENT}/functions/{short}")
        ended(operation)
        told = operation.metadata
        assert (told.verb, told.target) == ("create", f"{PARENT}/functions/{short}")
        assert [stage.state.name for stage in told.stages] == ["COMPLETE", "COMPLETE"]
        assert told.end_time >= told.create_time
        found = requests.get(
            f"{emulator.url}/cloudfunctions/v2/{PARENT}/operations", params={"pageSize": 1000}, timeout=10
        ).json()
        assert operation.operation.name in [one["name"] for one in found["operations"]]

    @pytest.mark.parametrize(
        ("files", "told"),
        [
            pytest.param(None, "could not read gs://.*HTTP 404", id="no object"),
            pytest.param(b"not a zip", "is no zip archive", id="no zip"),
            pytest.param({"other.py": "x = 1"}, r"missing main\.py", id="no main.py"),
            pytest.param({"main.py": "x", "../out.py": "x"}, "leads out of its folder", id="a way out"),
            pytest.param({"main.py": "x", "/etc/out.py": "x"}, "leads out of its folder", id="from the root"),
            pytest.param(
                {"main.py": ECHO, "requirements.txt": "# all\nflask\nno-such-package==1.0\nrequests<1\n"},
                r"no-such-package==1\.0 \(not installed\); requests<1 \(\d.* is installed\)",
                id="requirements",
            ),
            pytest.param(
                {"main.py": "import no_such_module"}, "Healthcheck failed.*no_such_module", id="import"
            ),
            pytest.param({"main.py": "def other(request): pass"}, "Healthcheck failed.*go", id="entry point"),
        ],
    )
    def test_a_deployment_that_cannot_be_fails_with_what_is_wrong(
        self,
        functions: FunctionServiceClient,
        emulator: Emulator,
        files: dict[str, str] | bytes | None,
        told: str,
    ) -> None:
        source = {"storage_source": {"bucket": BUCKET, "object_": "sources/nowhere.zip"}}
        if files is not None:
            source = uploaded(emulator, files if isinstance(files, bytes) else packed(files))
        asked = {"parent": PARENT, "function_id": unique(), "function": wanted(source)}
        with pytest.raises(exceptions.GoogleAPICallError, match=f"(?s){told}"):
            ended(functions.create_function(request=asked))
        function = functions.get_function(name=f"{PARENT}/functions/{asked['function_id']}")
        assert function.state.name == "FAILED"
        assert [message.severity.name for message in function.state_messages] == ["ERROR"]
        assert not (emulator.state / "functions" / "out.py").exists()

    def test_after_an_update_that_fails_the_function_goes_on_as_it_was(
        self, functions: FunctionServiceClient, emulator: Emulator
    ) -> None:
        made = deployed(emulator)
        broken = {**wanted(uploaded(emulator, "import no_such_module")), "name": made.name}
        mask = {"paths": ["build_config.source"]}
        with pytest.raises(exceptions.GoogleAPICallError, match="no_such_module"):
            ended(functions.update_function(function=broken, update_mask=mask))
        after = functions.get_function(name=made.name)
        assert (after.state.name, after.build_config.source) == ("ACTIVE", made.build_config.source)
        assert "no_such_module" in after.state_messages[0].message
        assert called(made).status_code == 200

    def test_a_running_call_ends_with_the_revision_that_it_began_with(
        self, functions: FunctionServiceClient, emulator: Emulator
    ) -> None:
        from concurrent.futures import ThreadPoolExecutor

        made = deployed(emulator, environment_variables={"MINE": "old"})
        with ThreadPoolExecutor(1) as pool:
            slow = pool.submit(called, made, "?env=MINE&sleep=4")
            until(lambda: entries(emulator, made, "stdout"))
            change = {"name": made.name, "service_config": {"environment_variables": {"MINE": "new"}}}
            mask = {"paths": ["service_config.environment_variables"]}
            ended(functions.update_function(function=change, update_mask=mask))
            assert called(made, "?env=MINE").json()["env"] == {"MINE": "new"}
            assert slow.result(timeout=SECONDS).json()["env"] == {"MINE": "old"}

    def test_a_call_that_came_before_a_deployment_and_is_complete_after_it_is_answered(
        self, functions: FunctionServiceClient, emulator: Emulator
    ) -> None:
        """Its body takes as long as the deployment: the revision that it came to is gone then."""
        made = deployed(emulator, environment_variables={"MINE": "old"})
        parts = urlsplit(made.url)
        with socket.create_connection((parts.hostname or "", parts.port or 0), timeout=SECONDS) as connection:
            head = f"POST {parts.path}/?env=MINE HTTP/1.1\r\nHost: {parts.netloc}\r\nContent-Length: 6\r\n"
            head += f"Authorization: {TOKEN['Authorization']}\r\nConnection: close\r\n\r\n"
            connection.sendall(f"{head}one".encode())
            change = {"name": made.name, "service_config": {"environment_variables": {"MINE": "new"}}}
            mask = {"paths": ["service_config.environment_variables"]}
            changed = ended(functions.update_function(function=change, update_mask=mask))
            old = emulator.state / "functions" / made.service_config.revision
            until(lambda: not old.exists())
            connection.sendall(b"two")
            answer = b"".join(iter(lambda: connection.recv(1 << 16), b"")).decode()
        assert answer.startswith("HTTP/1.1 200")
        assert '"MINE":"new"' in answer.replace(" ", "")
        assert '"body":"onetwo"' in answer.replace(" ", "")
        requests_of = until(lambda: entries(emulator, made, "requests"))
        labels = {one["resource"]["labels"]["revision_name"] for one in requests_of}
        assert labels == {changed.service_config.revision}

    def test_no_call_is_lost_however_often_a_function_is_deployed_anew(
        self, functions: FunctionServiceClient, emulator: Emulator
    ) -> None:
        from concurrent.futures import ThreadPoolExecutor

        made = deployed(emulator, environment_variables={"MINE": "0"})
        over = threading.Event()

        def call_on() -> list[tuple[int, str]]:
            seen: list[tuple[int, str]] = []
            while not over.is_set():
                answer = called(made, "?env=MINE")
                seen.append((answer.status_code, answer.text))
            return seen

        with ThreadPoolExecutor(3) as pool:
            callers = [pool.submit(call_on) for _ in range(3)]
            try:
                for number in range(1, 4):
                    service = {"environment_variables": {"MINE": str(number)}}
                    change = {"name": made.name, "service_config": service}
                    mask = {"paths": ["service_config.environment_variables"]}
                    ended(functions.update_function(function=change, update_mask=mask))
            finally:
                over.set()
            seen = [one for caller in callers for one in caller.result(timeout=SECONDS)]
        assert {status for status, _ in seen} == {200}, [one for one in seen if one[0] != 200][:3]
        assert called(made, "?env=MINE").json()["env"] == {"MINE": "3"}
        until(lambda: len(list((emulator.state / "functions").glob(f"{made.name.rsplit('/')[-1]}-*"))) == 1)


@pytest.fixture(scope="module")
def echo(emulator: Emulator) -> Function:
    """One function for all the tests that only call it; an own one where a test counts what it did."""
    return deployed(emulator)


class TestCalls:
    @pytest.mark.parametrize("headers", [{}, {"Authorization": "Bearer "}, {"Authorization": "Basic eDp5"}])
    def test_a_call_without_a_bearer_token_is_forbidden(
        self, echo: Function, headers: dict[str, str]
    ) -> None:
        """The words of Google's front for a function that needs authentication."""
        answer = requests.post(echo.url, headers=headers, timeout=10)
        assert answer.status_code == 403
        assert "does not have permission to get URL" in answer.text

    def test_a_call_comes_as_it_was_sent_and_its_token_without_the_signature(self, echo: Function) -> None:
        answer = called(echo, "/a%20b/c?x=1&x=2", "PUT", data="hello")
        told = answer.json()
        assert (told["method"], told["path"], told["body"]) == ("PUT", "/a b/c?x=1&x=2", "hello")
        assert told["authorization"] == "Bearer head.claims.SIGNATURE_REMOVED_BY_GOOGLE"

    def test_the_function_has_the_variables_of_its_platform(self, echo: Function, emulator: Emulator) -> None:
        names = (
            "K_SERVICE",
            "K_REVISION",
            "K_CONFIGURATION",
            "FUNCTION_TARGET",
            "FUNCTION_SIGNATURE_TYPE",
            "PORT",
        )
        env = called(echo, f"?env={','.join(names)}").json()["env"]
        short = echo.name.rsplit("/", 1)[1]
        assert env == {
            "K_SERVICE": short,
            "K_REVISION": echo.service_config.revision,
            "K_CONFIGURATION": short,
            "FUNCTION_TARGET": "go",
            "FUNCTION_SIGNATURE_TYPE": "http",
            "PORT": "8080",
        }

    def test_what_it_writes_and_each_request_is_in_cloud_logging(
        self, functions: FunctionServiceClient, emulator: Emulator
    ) -> None:
        made = deployed(emulator)
        called(made, "/seen")
        (line,) = until(lambda: entries(emulator, made, "stdout"))
        assert (line["severity"], line["jsonPayload"]["message"]) == ("WARNING", "called")
        assert line["resource"]["labels"]["revision_name"] == made.service_config.revision
        (request,) = until(lambda: entries(emulator, made, "requests"))
        assert request["httpRequest"]["status"] == 200
        assert request["httpRequest"]["requestUrl"].endswith("/seen")

    def test_googles_clients_in_it_find_the_emulator_by_themselves(
        self, functions: FunctionServiceClient, emulator: Emulator
    ) -> None:
        code = """
import google.auth, requests, functions_framework
from google.auth.transport.requests import AuthorizedSession
from google.cloud import storage

@functions_framework.http
def go(request):
    credentials, project = google.auth.default()
    url = f"https://cloudscheduler.googleapis.com/v1/projects/{project}/locations/us-central1/jobs"
    jobs = AuthorizedSession(credentials).get(url, timeout=20)
    names = [bucket.name for bucket in storage.Client().list_buckets()]
    return {"project": project, "jobs": jobs.status_code, "buckets": names}
"""
        told = called(deployed(emulator, code)).json()
        assert (told["project"], told["jobs"]) == (PROJECT, 200)
        assert BUCKET in told["buckets"]

    def test_a_secret_is_a_variable(self, functions: FunctionServiceClient, emulator: Emulator) -> None:
        from google.cloud.secretmanager_v1 import SecretManagerServiceClient

        options = {"api_endpoint": f"{emulator.url}/secretmanager"}
        vault = SecretManagerServiceClient(
            transport="rest", credentials=AnonymousCredentials(), client_options=options
        )
        short = unique()
        asked = {
            "parent": f"projects/{PROJECT}",
            "secret_id": short,
            "secret": {"replication": {"automatic": {}}},
        }
        secret = vault.create_secret(request=asked)
        vault.add_secret_version(request={"parent": secret.name, "payload": {"data": b"hidden"}})
        variables = [{"key": "MINE", "secret": short, "version": "latest"}]
        made = deployed(emulator, secret_environment_variables=variables)
        assert called(made, "?env=MINE").json()["env"] == {"MINE": "hidden"}

    def test_a_function_that_is_too_slow_is_cut_off(
        self, functions: FunctionServiceClient, emulator: Emulator
    ) -> None:
        made = deployed(emulator, timeout_seconds=1)
        begun = time.monotonic()
        answer = called(made, "?sleep=20")
        assert (answer.status_code, answer.text) == (504, "upstream request timeout")
        assert time.monotonic() - begun < 10

    def test_a_process_that_dies_costs_its_call_alone(self, echo: Function) -> None:
        assert called(echo, "?die=1").status_code == 503
        assert called(echo).status_code == 200

    def test_calls_are_answered_side_by_side_by_one_process(self, echo: Function) -> None:
        from concurrent.futures import ThreadPoolExecutor

        begun = time.monotonic()
        with ThreadPoolExecutor(6) as pool:
            answers = list(pool.map(lambda _: called(echo, "?sleep=1").json(), range(6)))
        assert len({answer["pid"] for answer in answers}) == 1
        assert time.monotonic() - begun < 5

    def test_a_call_is_recorded_and_meets_its_faults(self, echo: Function, emulator: Emulator) -> None:
        fault = {"kind": "response", "method": "run.routes.invoke", "status": 503, "times": 1}
        assert requests.post(f"{emulator.url}/emulator/faults", json=fault, timeout=10).status_code == 200
        assert [called(echo).status_code for _ in range(2)] == [503, 200]
        found = requests.get(
            f"{emulator.url}/emulator/requests", params={"method": "run.routes.invoke"}, timeout=10
        ).json()["requests"]
        assert [(one["status"], one["permission"]) for one in found[:2]] == [
            (200, "run.routes.invoke"),
            (503, "run.routes.invoke"),
        ]

    def test_its_policy_is_kept(self, echo: Function, emulator: Emulator) -> None:
        binding = {"role": "roles/cloudfunctions.invoker", "members": [f"serviceAccount:{ACCOUNT}"]}
        url = f"{emulator.url}/cloudfunctions/v2/{echo.name}"
        body = {"policy": {"bindings": [binding]}}
        assert requests.post(f"{url}:setIamPolicy", json=body, timeout=10).status_code == 200
        assert requests.get(f"{url}:getIamPolicy", timeout=10).json()["bindings"] == [binding]


def scheduled(function: Function, **more: Any) -> dict[str, Any]:
    target = {"uri": function.url, "oidc_token": {"service_account_email": ACCOUNT}}
    return {"schedule": "0 * * * *", "http_target": target, **more}


class TestScheduler:
    def test_a_job_with_an_identity_token_calls_it_at_each_tick_of_a_virtual_clock(
        self, timed: Emulator
    ) -> None:
        made = deployed(timed)
        scheduler = scheduler_client(timed)
        job = scheduler.create_job(parent=PARENT, job=scheduled(made))
        first = job.schedule_time
        step(timed, advance="3h")
        lines = [one for one in entries(timed, made, "stdout") if "jsonPayload" in one]
        assert len(lines) == 3
        assert lines[0]["jsonPayload"]["schedule"] == f"{first:%Y-%m-%dT%H:%M:%SZ}"
        assert scheduler.get_job(name=job.name).status.code == 0
        scheduler.delete_job(name=job.name)
        client_of(timed).delete_function(name=made.name).result(timeout=SECONDS)

    def test_a_slow_function_is_waited_for_and_virtual_time_stands_meanwhile(self, timed: Emulator) -> None:
        made = deployed(timed, ECHO.replace('float(request.args.get("sleep", 0))', "7"))
        scheduler = scheduler_client(timed)
        job = scheduler.create_job(parent=PARENT, job=scheduled(made))
        step(timed, advance="61m")
        assert scheduler.get_job(name=job.name).status.code == 0
        assert [one["httpRequest"]["status"] for one in entries(timed, made, "requests")] == [200]
        scheduler.delete_job(name=job.name)
        client_of(timed).delete_function(name=made.name).result(timeout=SECONDS)

    def test_a_job_calls_it_on_the_machines_clock(
        self, functions: FunctionServiceClient, emulator: Emulator
    ) -> None:
        made = deployed(emulator)
        scheduler = scheduler_client(emulator)
        job = scheduler.create_job(parent=PARENT, job=scheduled(made, schedule="* * * * *"))
        scheduler.run_job(name=job.name)
        until(lambda: entries(emulator, made, "stdout"))
        scheduler.delete_job(name=job.name)

    @pytest.mark.docker
    def test_it_is_reached_at_the_public_address_where_jobs_are_containers(
        self, docker_emulator: Emulator
    ) -> None:
        made = deployed(docker_emulator)
        assert made.url.startswith(docker_emulator.url)
        scheduler = scheduler_client(docker_emulator)
        job = scheduler.create_job(parent=PARENT, job=scheduled(made, schedule="* * * * *"))
        scheduler.run_job(name=job.name)
        until(lambda: entries(docker_emulator, made, "stdout"))
        scheduler.delete_job(name=job.name)
        client_of(docker_emulator).delete_function(name=made.name).result(timeout=SECONDS)


class TestEnds:
    @pytest.fixture
    def mine(self, storage_server: StorageServer, tmp_path: Any) -> Iterator[Emulator]:
        made = Emulator(tmp_path / "state", storage_server.url)
        made.start()
        yield made
        made.stop()

    def test_after_a_kill_it_answers_again_and_nothing_of_before_runs(self, mine: Emulator) -> None:
        made = deployed(mine)
        before = called(made).json()["pid"]
        mine.kill()
        mine.start()
        assert called(made).json()["pid"] != before
        assert gone(before)
        assert client_of(mine).get_function(name=made.name).state.name == "ACTIVE"

    def test_callers_that_wait_for_a_start_keep_no_other_service_from_answering(self, mine: Emulator) -> None:
        """More of them than the emulator has threads; also one that the function itself asks as it starts."""
        from concurrent.futures import ThreadPoolExecutor

        code = f"""
import os, time, urllib.request
if os.path.exists({str(mine.state / "slow")!r}):
    time.sleep(4)
    urllib.request.urlopen("{mine.url}/cloudscheduler/v1/{PARENT}/jobs", timeout=20).read()
{ECHO}"""
        made = deployed(mine, code)
        (mine.state / "slow").touch()
        mine.kill()
        mine.start()
        callers = 60
        with ThreadPoolExecutor(callers) as pool:
            calls = [pool.submit(called, made) for _ in range(callers)]
            time.sleep(1.5)  # all of them have come
            for _ in range(3):
                url = f"{mine.url}/cloudscheduler/v1/{PARENT}/jobs"
                assert requests.get(url, timeout=10).status_code == 200
                assert not any(call.done() for call in calls), "it waited for the function"
            answers = [call.result(timeout=SECONDS) for call in calls]
        assert {answer.status_code for answer in answers} == {200}
        assert len({answer.json()["pid"] for answer in answers}) == 1

    def test_a_deployment_that_a_kill_cuts_off_is_made_by_the_next_emulator(self, mine: Emulator) -> None:
        slow = f"import time; time.sleep(3)\n{ECHO}"
        asked = {"parent": PARENT, "function_id": unique(), "function": wanted(uploaded(mine, slow))}
        operation = client_of(mine).create_function(request=asked).operation.name
        until(lambda: list((mine.state / "functions").glob("*/main.py")))
        mine.kill()
        mine.start()
        url = f"{mine.url}/cloudfunctions/v2/{operation}"
        done = until(lambda: (found := requests.get(url, timeout=10).json()).get("done") and found)
        assert done["response"]["state"] == "ACTIVE"

    def test_a_deletion_and_the_end_of_the_emulator_end_its_process(self, mine: Emulator) -> None:
        first, second = deployed(mine), deployed(mine)
        pids = [called(function).json()["pid"] for function in (first, second)]
        client_of(mine).delete_function(name=first.name).result(timeout=SECONDS)
        assert gone(pids[0])
        assert len(list((mine.state / "functions").iterdir())) == 1
        assert mine.stop() == 0
        assert gone(pids[1])

    def test_a_reset_ends_it(self) -> None:
        from headway_emulator.testing import emulator as served

        with served() as gcp:
            made = deployed(cast("Emulator", gcp))
            pid = called(made).json()["pid"]
            gcp.reset()
            assert gone(pid)
            assert called(made).status_code == 404


SOURCE = {"storageSource": {"bucket": BUCKET, "object": "x.zip"}}
V2 = "cloudfunctions.v2"


def body(
    build: dict[str, Any] | None = None, service: dict[str, Any] | None = None, **more: Any
) -> dict[str, Any]:
    config = {"runtime": "python311", "source": SOURCE, **(build or {})}
    return {"buildConfig": config, "serviceConfig": service or {}, **more}


REFUSED: list[tuple[str, str, dict[str, Any], str]] = [
    # what was sent and the source of the answer, the functionId, the body, and a part of the answer
    (f"no functionId ({V2}: CreateFunctionRequest)", "", body(), "function_id must be specified"),
    (f"too short an id ({V2}: CreateFunctionRequest.function_id)", "abc", body(), "4 to 63 characters"),
    (f"too long an id ({V2}: CreateFunctionRequest.function_id)", "a" * 64, body(), "4 to 63 characters"),
    (f"capitals in the id ({V2}: CreateFunctionRequest.function_id)", "Tick1", body(), "4 to 63 characters"),
    (
        f"another name in the body ({V2}: Function.name)",
        "good",
        body(name=f"{PARENT}/functions/other"),
        "is not that of the request",
    ),
    (f"a name that is none ({V2}: Function.name)", "good", body(name="other"), "must match projects"),
    (f"unknown field ({V2})", "good", body(runtime="python311"), "Unknown name \"runtime\" at 'function'"),
    (f"an environment that is none ({V2})", "good", body(environment="GEN_3"), "function.environment"),
    (f"no runtime ({V2}: BuildConfig.runtime)", "good", body({"runtime": ""}), "Runtime is required"),
    (
        "an unknown runtime (docs: runtime support)",
        "good",
        body({"runtime": "cobol"}),
        "Unknown runtime 'cobol'",
    ),
    (
        f"an entry point that is no name ({V2}: BuildConfig.entryPoint)",
        "good",
        body({"entryPoint": "a.b"}),
        "Invalid entry point",
    ),
    (f"no source ({V2}: BuildConfig.source)", "good", body({"source": {}}), "source's bucket is required"),
    (
        f"no object ({V2}: StorageSource)",
        "good",
        body({"source": {"storageSource": {"bucket": "b"}}}),
        "source's object is required",
    ),
    (
        f"a generation that is no number ({V2}: StorageSource)",
        "good",
        body({"source": {"storageSource": {"bucket": "b", "object": "o", "generation": "x"}}}),
        "TYPE_INT64",
    ),
    (
        "too long a timeout (docs: quotas)",
        "good",
        body(service={"timeoutSeconds": 3601}),
        "between 1 and 3600",
    ),
    (
        "too much at once (Cloud Run's docs: concurrency)",
        "good",
        body(service={"maxInstanceRequestConcurrency": 1001}),
        "between 1 and 1000",
    ),
    (
        f"fewer than the least ({V2}: ServiceConfig)",
        "good",
        body(service={"minInstanceCount": 3, "maxInstanceCount": 2}),
        "at most maxInstanceCount 2",
    ),
    (
        f"memory without a number ({V2}: ServiceConfig.availableMemory)",
        "good",
        body(service={"availableMemory": "much"}),
        "Invalid quantity 'much'",
    ),
    (
        f"no account's email ({V2}: ServiceConfig.serviceAccountEmail)",
        "good",
        body(service={"serviceAccountEmail": "me"}),
        "Invalid service account email",
    ),
    (
        "a reserved variable (Cloud Run's docs: container contract)",
        "good",
        body(service={"environmentVariables": {"PORT": "1", "K_SERVICE": "x"}}),
        "reserved env names were provided: K_SERVICE, PORT",
    ),
    (
        "a variable's name with a dash (docs: configuring environment variables)",
        "good",
        body(service={"environmentVariables": {"A-B": "1"}}),
        "Invalid environment variable name 'A-B'",
    ),
    (
        "more variables than fit (docs: quotas)",
        "good",
        body(service={"environmentVariables": {"A": "x" * (33 << 10)}}),
        "larger than 32 KB",
    ),
    (
        f"a label in capitals ({V2}: Function.labels)",
        "good",
        body(labels={"Team": "x"}),
        "Invalid label 'Team'",
    ),
]


class TestMalformed:
    @pytest.mark.parametrize(("what", "short", "sent", "told"), REFUSED, ids=[row[0] for row in REFUSED])
    def test_a_malformed_function_is_answered_with_googles_400(
        self, emulator: Emulator, what: str, short: str, sent: dict[str, Any], told: str
    ) -> None:
        url = f"{emulator.url}/cloudfunctions/v2/{PARENT}/functions"
        params = {"functionId": short} if short else {}
        answer = requests.post(url, params=params, json=sent, timeout=10)
        error = answer.json()["error"]
        assert (answer.status_code, error["code"], error["status"]) == (400, 400, "INVALID_ARGUMENT"), what
        assert told in error["message"]

    def test_a_mask_with_an_unknown_field_is_refused(
        self, functions: FunctionServiceClient, echo: Function
    ) -> None:
        for path in ("state", "service_config.memory"):
            with pytest.raises(exceptions.BadRequest, match="Invalid update mask"):
                functions.update_function(function={"name": echo.name}, update_mask={"paths": [path]})

    @pytest.mark.parametrize(
        ("sent", "told"),
        [
            (
                body(eventTrigger={"eventType": "google.cloud.pubsub.topic.v1.messagePublished"}),
                "eventTrigger",
            ),
            (body(environment="GEN_1"), "1st generation"),
            (body({"runtime": "nodejs22"}), "nodejs22"),
            (body({"source": {"repoSource": {"repoName": "x"}}}), "repoSource"),
            (body(service={"vpcConnector": "x"}), "serviceConfig.vpcConnector"),
            (body(kmsKeyName="x"), "kmsKeyName"),
        ],
        ids=lambda given: given if isinstance(given, str) else "",
    )
    def test_what_is_not_there_is_answered_501_by_its_name(
        self, emulator: Emulator, sent: dict[str, Any], told: str
    ) -> None:
        url = f"{emulator.url}/cloudfunctions/v2/{PARENT}/functions"
        answer = requests.post(url, params={"functionId": "good"}, json=sent, timeout=10)
        assert answer.status_code == 501
        assert told in answer.json()["error"]["message"]

    @pytest.mark.parametrize(
        ("verb", "path", "told"),
        [
            (
                "POST",
                f"cloudfunctions/v2/{PARENT}/functions:generateUploadUrl",
                "functions.generateUploadUrl",
            ),
            (
                "GET",
                f"cloudfunctions/v1/{PARENT}/functions",
                "cloudfunctions.projects.locations.functions.list",
            ),
            ("GET", f"run/v2/{PARENT}/services", "run.projects.locations.services.list"),
        ],
    )
    def test_methods_that_are_not_there_are_named(
        self, emulator: Emulator, verb: str, path: str, told: str
    ) -> None:
        answer = requests.request(
            verb, f"{emulator.url}/{path}", json={} if verb == "POST" else None, timeout=10
        )
        assert answer.status_code == 501
        assert told in answer.json()["error"]["message"]
