"""Google's unmodified Python clients with default endpoints: environment variables alone point them here."""

from __future__ import annotations

import socket
import ssl
import stat
import subprocess
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path

import pytest
import requests

from tests.contract.programs import python, variables
from tests.contract.servers import BUCKET, NUMBER, PARENT, PROJECT, Emulator, StorageServer, until

JOB = """
    spec = {"worker_pool_specs": [{
        "machine_spec": {"machine_type": "n1-standard-4"}, "replica_count": 1,
        "container_spec": {"image_uri": "trainer", "command": ["python3", "-c", "print('seen')"]}}]}
"""
HOST = '{"api_endpoint": "us-central1-aiplatform.googleapis.com"}'


@pytest.mark.parametrize("transport", ["grpc", "rest"])
def test_the_job_client_creates_and_lists(emulator: Emulator, transport: str) -> None:
    """The same answers over gRPC and over HTTP/1.1, with enums, int64, timestamps and durations in place."""
    program = f"""
    from google.cloud.aiplatform_v1 import JobServiceClient
    {JOB}
    client = JobServiceClient(transport="{transport}", client_options={HOST})
    wanted = {{"display_name": "by-{transport}", "job_spec": spec, "labels": {{"made-over": "{transport}"}}}}
    spec["scheduling"] = {{"timeout": {{"seconds": 90}}}}
    made = client.create_custom_job(parent="{PARENT}", custom_job=wanted)
    asked = {{"parent": "{PARENT}", "filter": 'display_name="by-{transport}"', "page_size": 5}}
    listed = list(client.list_custom_jobs(request=asked))
    print(made.name == listed[0].name, len(listed), listed[0].create_time == made.create_time)
    pool = made.job_spec.worker_pool_specs[0]
    print(made.job_spec.scheduling.timeout, pool.replica_count, dict(made.labels))
    """
    same, details = python(emulator, program)
    assert same == "True 1 True"
    assert details == f"0:01:30 1 {{'made-over': '{transport}'}}"


def test_asynchronous_clients_work_over_grpc(emulator: Emulator) -> None:
    """JobServiceAsyncClient with its default transport."""
    program = f"""
    import asyncio
    from google.cloud.aiplatform_v1 import JobServiceAsyncClient
    {JOB}
    async def main():
        client = JobServiceAsyncClient(client_options={HOST})
        job = await client.create_custom_job(
            parent="{PARENT}", custom_job={{"display_name": "async", "job_spec": spec}})
        names = [job.name async for job in await client.list_custom_jobs(parent="{PARENT}")]
        print(client.transport.kind, job.name in names)
    asyncio.run(main())
    """
    assert python(emulator, program) == ["grpc_asyncio True"]


def test_a_projects_number_is_found_over_grpc(emulator: Emulator) -> None:
    """As aiplatform asks for it inside a job, where only the number is known; it speaks gRPC there."""
    program = f"""
    from google.cloud import aiplatform, resourcemanager_v3
    found = resourcemanager_v3.ProjectsClient().get_project(name="projects/{PROJECT}")
    print(found.name, found.project_id, found.state.name)
    print(aiplatform.initializer.global_config.project)
    """
    lines = python(emulator, program, without=("GOOGLE_CLOUD_PROJECT",), more={"CLOUD_ML_PROJECT_ID": NUMBER})
    assert lines == [f"projects/{NUMBER} {PROJECT} ACTIVE", PROJECT]


def test_errors_over_grpc_are_googles_with_their_details(emulator: Emulator) -> None:
    """The status code, the message, and the BadRequest in grpc-status-details-bin."""
    program = f"""
    from google.api_core import exceptions
    from google.cloud.aiplatform_v1 import JobServiceClient
    client = JobServiceClient(client_options={HOST})
    try:
        client.create_custom_job(parent="{PARENT}", custom_job={{"display_name": "no spec"}})
    except exceptions.InvalidArgument as error:
        print(error.grpc_status_code.name, error.details[0].field_violations[0].field)
    try:
        client.get_custom_job(name="{PARENT}/customJobs/1")
    except exceptions.NotFound as error:
        print(error.grpc_status_code.name)
    try:
        client.get_custom_job(name="customJobs/1")
    except exceptions.InvalidArgument as error:
        print(error.grpc_status_code.name)
    """
    first, second, third = python(emulator, program)
    assert first == "INVALID_ARGUMENT job_spec"
    assert (second, third) == ("NOT_FOUND", "INVALID_ARGUMENT")


def test_bytes_and_operations_and_policies_travel_over_grpc(emulator: Emulator) -> None:
    """A secret's payload is bytes; a policy has a plain message as its request."""
    program = f"""
    from google.cloud import secretmanager
    client = secretmanager.SecretManagerServiceClient()
    secret = client.create_secret(
        parent="projects/{PROJECT}", secret_id="over-grpc", secret={{"replication": {{"automatic": {{}}}}}})
    version = client.add_secret_version(parent=secret.name, payload={{"data": b"\\x00\\xffhush"}})
    print(client.access_secret_version(name=version.name).payload.data == b"\\x00\\xffhush")
    asked = {{"parent": "projects/{PROJECT}", "filter": "name:over-grpc"}}
    print([found.name for found in client.list_secrets(request=asked)] == [secret.name])
    print(type(client.get_iam_policy(request={{"resource": secret.name}})).__name__)
    client.delete_secret(name=secret.name)
    """
    assert python(emulator, program) == ["True", "True", "Policy"]


def test_the_logging_client_writes_and_reads_with_its_default_transport(emulator: Emulator) -> None:
    """Which is gRPC, and has no REST transport in its package."""
    program = """
    from google.cloud import logging
    client = logging.Client()
    client.logger("outside").log_struct({"step": 7}, severity="WARNING")
    found = list(client.list_entries(filter_='logName:"outside" AND severity="WARNING"'))
    print(client._use_grpc, [(entry.payload, entry.severity) for entry in found])
    """
    assert python(emulator, program) == ["True [({'step': 7.0}, 'WARNING')]"]


def test_a_plain_session_goes_through_the_proxy_and_trusts_the_certificates_that_are_named(
    emulator: Emulator,
) -> None:
    """Headway's own REST calls, with no endpoint given to them: as from behind a company's proxy."""
    program = f"""
    from headway.cloud import projects
    from headway.cloud.session import Session
    from headway.cloud.storage import ObjectStore
    session = Session("{PROJECT}", "us-central1")
    print(projects.project(session).number)
    store = ObjectStore(session, "{BUCKET}")
    store.write("by/session", b"seen")
    print(b"".join(store.stream("by/session")), store.exists("by/session"), store.exists("by/nobody"))
    """
    assert python(emulator, program) == [NUMBER, "b'seen' True False"]


def test_a_log_is_tailed_over_grpc(emulator: Emulator) -> None:
    """TailLogEntries gives what is written after it began, until the client leaves."""
    program = f"""
    import itertools, queue, threading
    from google.cloud.logging_v2.services.logging_service_v2 import LoggingServiceV2Client
    client = LoggingServiceV2Client()
    asked = queue.SimpleQueue()
    asked.put({{"resource_names": ["projects/{PROJECT}"], "filter": 'logName:"tailed"'}})
    def write():
        for number in itertools.count():
            entry = {{"log_name": "projects/{PROJECT}/logs/tailed", "text_payload": f"line {{number}}",
                     "resource": {{"type": "global"}}}}
            client.write_log_entries(entries=[entry])
            if done.wait(0.2):
                return
    done = threading.Event()
    writer = threading.Thread(target=write)
    writer.start()
    replies = client.tail_log_entries(requests=iter(asked.get, None))
    entry = next(iter(replies)).entries[0]
    print(entry.text_payload.startswith("line "), entry.log_name.endswith("/tailed"))
    replies.cancel()
    done.set()
    writer.join()
    """
    assert python(emulator, program) == ["True True"]


def test_storage_works_over_https(emulator: Emulator) -> None:
    """Uploads small and resumable, ranges, listing and deletion on storage.googleapis.com itself."""
    program = f"""
    from google.cloud import storage
    bucket = storage.Client().bucket("{BUCKET}")
    blob = bucket.blob("https/a b.bin", chunk_size=256 * 1024)
    content = bytes(range(256)) * 4096
    blob.upload_from_string(content)
    print(blob.self_link.split("/storage/")[0])
    print(blob.download_as_bytes() == content, blob.download_as_bytes(start=3, end=5))
    print([found.name for found in bucket.list_blobs(prefix="https/")])
    blob.delete()
    print(blob.exists())
    """
    lines = python(emulator, program, without=("STORAGE_EMULATOR_HOST",))
    assert lines == [
        "https://storage.googleapis.com",
        "True b'\\x03\\x04\\x05'",
        "['https/a b.bin']",
        "False",
    ]


def test_a_buckets_layout_is_told_over_grpc(emulator: Emulator) -> None:
    """Storage Control, which gcsfs asks first."""
    program = f"""
    from google.cloud import storage_control_v2
    client = storage_control_v2.StorageControlClient()
    layout = client.get_storage_layout(name="projects/_/buckets/{BUCKET}/storageLayout")
    print(layout.location_type, layout.hierarchical_namespace.enabled)
    """
    assert python(emulator, program) == ["region False"]


def test_what_is_not_emulated_is_named(emulator: Emulator) -> None:
    """UNIMPLEMENTED with the service over gRPC, 501 with the host over HTTP."""
    program = """
    import grpc, requests
    channel = grpc.secure_channel("pubsub.googleapis.com:443", grpc.ssl_channel_credentials())
    try:
        channel.unary_unary("/google.pubsub.v1.Publisher/Publish")(b"", timeout=20)
    except grpc.RpcError as error:
        print(error.code().name, error.details())
    answer = requests.get("https://pubsub.googleapis.com/v1/projects/p/topics", timeout=20)
    print(answer.status_code, answer.json()["error"]["message"])
    """
    over_grpc, over_http = python(emulator, program)
    assert over_grpc.startswith("UNIMPLEMENTED The emulator does not implement google.pubsub.v1.Publisher")
    assert over_http.startswith("501 The emulator does not implement pubsub.googleapis.com")


def test_an_insecure_grpc_channel_reaches_the_same_port(emulator: Emulator) -> None:
    """The emulator's one port speaks plaintext HTTP/2 as well; no proxy and no certificate are needed."""
    program = f"""
    import grpc
    from google.cloud.aiplatform_v1.services.job_service import JobServiceClient
    from google.cloud.aiplatform_v1.services.job_service.transports import JobServiceGrpcTransport
    channel = grpc.insecure_channel("{emulator.url.removeprefix("http://")}")
    client = JobServiceClient(transport=JobServiceGrpcTransport(channel=channel))
    print(len(list(client.list_custom_jobs(parent="{PARENT}"))) >= 0)
    """
    assert python(emulator, program) == ["True"]


def test_calls_over_grpc_are_recorded_and_spoiled_like_any(emulator: Emulator) -> None:
    """A fault by method strikes the same method over gRPC, and both calls are in the record."""
    method = "cloudscheduler.jobs.list"
    fault = {"kind": "response", "method": method, "status": 503, "message": "not now"}
    requests.post(f"{emulator.url}/emulator/faults", json=fault, timeout=5).raise_for_status()
    program = f"""
    from google.api_core import exceptions
    from google.cloud import scheduler_v1
    client = scheduler_v1.CloudSchedulerClient()
    try:
        client.list_jobs(parent="{PARENT}", retry=None)
    except exceptions.ServiceUnavailable as error:
        print(error.message)
    print(len(list(client.list_jobs(parent="{PARENT}", retry=None))) >= 0)
    """
    assert python(emulator, program) == ["not now", "True"]
    found = requests.get(f"{emulator.url}/emulator/requests", params={"method": method}, timeout=5).json()
    statuses = [request["status"] for request in found["requests"] if "grpc" in request["caller"]]
    assert statuses[:2] == [200, 503]


def test_a_clients_deadline_holds(emulator: Emulator) -> None:
    """DEADLINE_EXCEEDED after the client's time, whatever the emulator is doing."""
    fault = {"kind": "response", "method": "cloudscheduler.jobs.get", "delay": 2}
    requests.post(f"{emulator.url}/emulator/faults", json=fault, timeout=5).raise_for_status()
    program = f"""
    import time
    from google.api_core import exceptions
    from google.cloud import scheduler_v1
    client = scheduler_v1.CloudSchedulerClient()
    begun = time.monotonic()
    try:
        client.get_job(name="{PARENT}/jobs/none", timeout=0.5, retry=None)
    except exceptions.DeadlineExceeded:
        print(time.monotonic() - begun < 5)
    """
    assert python(emulator, program) == ["True"]


def test_private_keys_are_for_their_owner_alone(emulator: Emulator) -> None:
    """Also the folder; what clients must read is readable, and outside the system's trust."""
    bundle = Path(variables(emulator)["REQUESTS_CA_BUNDLE"])
    folder = bundle.parent
    requests.get("https://logging.googleapis.com/", proxies=_proxies(emulator), verify=str(bundle), timeout=9)
    modes = {path.name: stat.S_IMODE(path.stat().st_mode) for path in folder.rglob("*") if path.is_file()}
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    assert modes.pop("bundle.pem") == modes.pop("ca.pem") == 0o644
    assert modes.pop("key.pem") == 0o600
    assert set(modes.values()) == {0o600}


def test_a_client_that_does_not_trust_the_authority_gets_no_further(emulator: Emulator) -> None:
    """Without the bundle the certificate is refused, and the emulator's log stays clean of it."""
    with pytest.raises(requests.exceptions.SSLError):
        requests.get("https://logging.googleapis.com/", proxies=_proxies(emulator), verify=True, timeout=9)
    assert requests.get(emulator.url, timeout=5).ok


def test_other_hosts_are_tunnelled_as_they_are(emulator: Emulator) -> None:
    """Bytes of any kind, both ways, with one half closed first."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        with _connected(emulator, f"127.0.0.1:{port}") as client:
            far, _ = server.accept()
            with far:
                assert client.recv(99).startswith(b"HTTP/1.1 200")
                client.sendall(b"\x00ping")
                client.shutdown(socket.SHUT_WR)
                assert _everything(far) == b"\x00ping"
                far.sendall(b"pong" * 100_000)
                far.shutdown(socket.SHUT_WR)
                assert _everything(client) == b"pong" * 100_000


@pytest.mark.parametrize(
    ("target", "answer"),
    [
        ("127.0.0.1:1", b"HTTP/1.1 502 Bad Gateway"),
        ("storage.googleapis.com:80", b"HTTP/1.1 403 Forbidden"),
        ("nonsense", b"HTTP/1.1 400 Bad Request"),
        ("127.0.0.1:99999", b"HTTP/1.1 400 Bad Request"),
    ],
)
def test_a_tunnel_that_cannot_be_is_refused_with_a_reason(
    emulator: Emulator, target: str, answer: bytes
) -> None:
    """Each in words, on a connection that is closed then."""
    with _connected(emulator, target) as client:
        said = _everything(client)
    assert said.startswith(answer)
    assert b"headway-emulator: " in said


def test_plain_http_is_not_proxied(emulator: Emulator) -> None:
    """The variables set https_proxy alone; who sets http_proxy too is told."""
    answer = requests.get("http://example.com/", proxies={"http": emulator.url}, timeout=5)
    assert (answer.status_code, "https alone" in answer.text) == (403, True)
    own = requests.get(f"{emulator.url}/emulator/clock", proxies={"http": emulator.url}, timeout=5)
    assert own.json()["kind"] == "real"


@pytest.fixture
def strict(storage_server: StorageServer, tmp_path: Path) -> Iterator[Emulator]:
    """An emulator that tunnels nowhere, and that a test may kill."""
    made = Emulator(tmp_path / "state", storage_server.url, flags=("--tunnel", "refuse"))
    made.start()
    yield made
    made.stop()


def test_other_hosts_are_refused_where_that_is_asked_for(strict: Emulator) -> None:
    """Then a test cannot reach the world by mistake."""
    with _connected(strict, "127.0.0.1:443") as client:
        said = _everything(client)
    assert said.startswith(b"HTTP/1.1 403 Forbidden")
    assert b"--tunnel pass" in said


def test_open_tunnels_do_not_hold_the_emulator_up(strict: Emulator) -> None:
    """At SIGTERM half-made, idle and gRPC connections are closed, and the gRPC process has ended."""
    bundle = variables(strict)["REQUESTS_CA_BUNDLE"]
    fronts = _speak_grpc(strict)
    with (
        _connected(strict, "logging.googleapis.com:443") as half,
        _connected(strict, "logging.googleapis.com:443") as idle,
        socket.create_connection(("127.0.0.1", strict.port)) as silent,
    ):
        silent.sendall(b"CONNECT logging")
        assert half.recv(99).startswith(b"HTTP/1.1 200")
        assert idle.recv(99).startswith(b"HTTP/1.1 200")
        trusting = ssl.create_default_context(cafile=bundle)
        with trusting.wrap_socket(idle, server_hostname="logging.googleapis.com"):
            begun = time.monotonic()
            assert strict.stop() == 0
            assert time.monotonic() - begun < 4
    assert "Traceback" not in strict.log
    assert all(not Path(f"/proc/{pid}").exists() for pid in fronts)


def test_the_grpc_process_ends_with_a_killed_emulator(strict: Emulator) -> None:
    """Whatever happens to the emulator, nothing of it stays behind."""
    fronts = _speak_grpc(strict)
    assert fronts
    strict.kill()
    until(lambda: all(not Path(f"/proc/{pid}").exists() for pid in fronts), seconds=10)


def test_first_connections_at_once_start_one_grpc_process(strict: Emulator) -> None:
    """And each of them is answered."""
    with ThreadPoolExecutor(12) as pool:
        found = list(pool.map(lambda _: tuple(_speak_grpc(strict)), range(12)))
    assert len(set(found)) == 1
    assert len(found[0]) == 1


def test_a_dead_grpc_process_is_replaced(strict: Emulator) -> None:
    """The next connection starts another one."""
    before = _speak_grpc(strict)
    for pid in before:
        subprocess.run(["kill", "-KILL", str(pid)], check=True)
    after = until(lambda: [pid for pid in _speak_grpc(strict) if pid not in before])
    assert len(after) == 1


def test_the_same_authority_is_used_after_a_restart(strict: Emulator) -> None:
    """Shells that were set up before go on working."""
    before = variables(strict)
    authority = Path(before["REQUESTS_CA_BUNDLE"]).with_name("ca.pem").read_bytes()
    strict.stop()
    strict.start()
    assert variables(strict) == before
    assert Path(before["REQUESTS_CA_BUNDLE"]).with_name("ca.pem").read_bytes() == authority


def _proxies(emulator: Emulator) -> dict[str, str]:
    return {"https": emulator.url}


def _connected(emulator: Emulator, target: str) -> socket.socket:
    """A socket on which a CONNECT request was sent."""
    made = socket.create_connection(("127.0.0.1", emulator.port), timeout=10)
    made.sendall(f"CONNECT {target} HTTP/1.1\r\nHost: {target}\r\n\r\n".encode())
    return made


def _everything(source: socket.socket) -> bytes:
    source.settimeout(10)
    pieces = []
    while piece := source.recv(65536):
        pieces.append(piece)
    return b"".join(pieces)


def _speak_grpc(emulator: Emulator) -> list[int]:
    """Begin an HTTP/2 connection; the processes that answer such ones, none where it is not answered."""
    with socket.create_connection(("127.0.0.1", emulator.port), timeout=10) as client:
        client.sendall(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + bytes([0, 0, 0, 4, 0, 0, 0, 0, 0]))
        client.settimeout(20)
        with suppress(ConnectionError):
            if not client.recv(9):  # what answers was ended just now
                return []
    assert emulator.process is not None
    children = Path(f"/proc/{emulator.process.pid}/task").glob("*/children")
    pids = [int(pid) for found in children for pid in found.read_text().split()]
    return [pid for pid in pids if b"grpc_front" in Path(f"/proc/{pid}/cmdline").read_bytes()]
