"""The parts of the transparent way: the authority, hosts, and gRPC calls as REST ones."""

from __future__ import annotations

import json
import ssl
import stat
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any, Literal

import pytest
from cryptography import x509
from google.cloud.aiplatform_v1 import types
from google.cloud.monitoring_v3 import types as metrics
from google.cloud.secretmanager_v1 import types as secrets
from google.rpc import code_pb2, error_details_pb2

from headway_emulator import environment, hosts
from headway_emulator.authority import Authority
from headway_emulator.settings import Settings
from headway_emulator.transparent.backend import Elements
from headway_emulator.transparent.methods import Unknown, find
from headway_emulator.transparent.transcoding import Failed, from_rest, status_of, to_rest

VERTEX = "google.cloud.aiplatform.v1.JobService"
SECRETS = "google.cloud.secretmanager.v1.SecretManagerService"
METRICS = "google.monitoring.v3.MetricService"
LOGS = "google.logging.v2.LoggingServiceV2"


def rest(name: str, message: Any, prefix: str = "") -> tuple[str, str, Any]:
    """Verb, path and body of the same call over REST."""
    method = find(name)
    plain = type(message).pb(message) if hasattr(type(message), "pb") else message
    found = to_rest(method, plain.SerializeToString(), prefix)
    return found.verb, found.path, None if found.body is None else json.loads(found.body)


def test_a_field_of_the_request_is_the_body_and_the_others_the_query() -> None:
    request = secrets.CreateSecretRequest(
        parent="projects/p", secret_id="s/1", secret={"labels": {"a": "b"}, "replication": {"automatic": {}}}
    )
    assert rest(f"{SECRETS}/CreateSecret", request) == (
        "POST",
        "/secretmanager/v1/projects/p/secrets?secretId=s%2F1",
        {"labels": {"a": "b"}, "replication": {"automatic": {}}},
    )


def test_a_path_is_chosen_among_a_methods_several() -> None:
    """Its additional bindings: a secret below a location has another path."""
    request = secrets.GetSecretRequest(name="projects/p/locations/l/secrets/s")
    assert rest(f"{SECRETS}/GetSecret", request)[1] == "/secretmanager/v1/projects/p/locations/l/secrets/s"


def test_bytes_enums_durations_and_long_integers_are_googles_json() -> None:
    version = secrets.AddSecretVersionRequest(parent="projects/p/secrets/s", payload={"data": b"\xff\x00"})
    assert rest(f"{SECRETS}/AddSecretVersion", version)[2] == {"payload": {"data": "/wA="}}
    pool = {"machine_spec": {"accelerator_type": "NVIDIA_L4"}, "replica_count": 2**40}
    spec = {"worker_pool_specs": [pool], "scheduling": {"timeout": {"seconds": 90}}}
    wanted = types.CreateCustomJobRequest(parent="projects/p/locations/l", custom_job={"job_spec": spec})
    verb, path, body = rest(f"{VERTEX}/CreateCustomJob", wanted)
    assert (verb, path) == ("POST", "/aiplatform/v1/projects/p/locations/l/customJobs")
    assert body["jobSpec"] == {
        "workerPoolSpecs": [{"machineSpec": {"acceleratorType": "NVIDIA_L4"}, "replicaCount": str(2**40)}],
        "scheduling": {"timeout": "90s"},
    }


def test_nested_and_repeated_fields_are_queries() -> None:
    request = metrics.ListTimeSeriesRequest(
        name="projects/p",
        filter='metric.type="a b"',
        interval={"end_time": {"seconds": 5}},
        aggregation={"group_by_fields": ["x", "y"]},
        view="HEADERS",
    )
    verb, path, body = rest(f"{METRICS}/ListTimeSeries", request)
    assert (verb, body) == ("GET", None)
    assert path == (
        "/monitoring/v3/projects/p/timeSeries?filter=metric.type%3D%22a+b%22"
        "&interval.endTime=1970-01-01T00%3A00%3A05Z"
        "&aggregation.groupByFields=x&aggregation.groupByFields=y&view=HEADERS"
    )


def test_methods_of_packages_without_rest_have_rules_of_their_own() -> None:
    for name in ("WriteLogEntries", "ListLogEntries", "ListLogs", "DeleteLog", "TailLogEntries"):
        assert find(f"{LOGS}/{name}").prefix == "/logging"
    assert find(f"{LOGS}/TailLogEntries").streams
    assert not find(f"{LOGS}/ListLogs").streams


def test_a_method_that_all_services_have_goes_to_the_service_that_was_called() -> None:
    from google.longrunning import operations_pb2

    asked = operations_pb2.GetOperationRequest(name="projects/p/locations/l/operations/1")
    path = "/artifactregistry/v1/projects/p/locations/l/operations/1"
    assert rest("google.longrunning.Operations/GetOperation", asked, "/artifactregistry") == (
        "GET",
        path,
        None,
    )


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("google.pubsub.v1.Publisher/Publish", "no client package is installed beside it"),
        (f"{SECRETS}/Nope", f"{SECRETS}/Nope"),
        ("google.cloud.secretmanager.v1.Nope/Get", "google.cloud.secretmanager.v1.Nope"),
        ("google.longrunning.Operations/Nope", "Nope"),
        ("nonsense", "nonsense"),
        ("grpc.reflection.v1.ServerReflection/ServerReflectionInfo", "grpc.reflection"),
    ],
)
def test_what_is_unknown_is_named(name: str, said: str) -> None:
    with pytest.raises(Unknown, match=said):
        find(name)


def test_a_request_that_fits_no_path_is_refused_with_the_paths() -> None:
    with pytest.raises(Failed, match=r"projects/\*/secrets/\*") as refused:
        rest(f"{SECRETS}/GetSecret", secrets.GetSecretRequest(name="secrets/s"))
    assert refused.value.status.code == code_pb2.INVALID_ARGUMENT


def test_a_reply_is_read_with_what_an_operation_holds() -> None:
    document = {
        "name": "operations/1",
        "done": True,
        "response": {
            "@type": "type.googleapis.com/google.cloud.aiplatform.v1.CustomJob",
            "displayName": "within",
            "state": "JOB_STATE_SUCCEEDED",
        },
    }
    method = find("google.longrunning.Operations/GetOperation")
    operation: Any = method.reply.FromString(from_rest(method, 200, json.dumps(document).encode()))
    job = types.CustomJob.pb(types.CustomJob())
    assert operation.response.Unpack(job)
    assert (job.display_name, job.state) == ("within", types.JobState.JOB_STATE_SUCCEEDED)


def test_an_error_keeps_its_code_message_and_details() -> None:
    detail = {
        "@type": "type.googleapis.com/google.rpc.BadRequest",
        "fieldViolations": [{"field": "job", "description": "missing"}],
    }
    error = {"error": {"code": 400, "message": "no", "status": "FAILED_PRECONDITION", "details": [detail]}}
    status = status_of(400, error)
    found = error_details_pb2.BadRequest()
    assert status.details[0].Unpack(found)
    assert (status.code, status.message) == (code_pb2.FAILED_PRECONDITION, "no")
    assert found.field_violations[0].field == "job"


@pytest.mark.parametrize(
    ("http_status", "code"),
    [(404, code_pb2.NOT_FOUND), (412, code_pb2.FAILED_PRECONDITION), (418, code_pb2.UNKNOWN)],
)
def test_an_error_without_a_code_has_that_of_its_http_status(http_status: int, code: int) -> None:
    assert status_of(http_status, {"error": {"code": http_status, "message": "x"}}).code == code
    assert status_of(http_status, None, b"<html>").message == "<html>"


def test_many_first_calls_at_once_read_a_package_once() -> None:
    """In a process of its own, where nothing is imported yet."""
    program = f"""
from concurrent.futures import ThreadPoolExecutor
from headway_emulator.transparent.methods import find
names = ["{VERTEX}/CreateCustomJob", "{VERTEX}/ListCustomJobs", "{SECRETS}/GetSecret"] * 8
with ThreadPoolExecutor(24) as pool:
    print(len({{id(method) for method in pool.map(find, names)}}))
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert done.stdout.strip() == "3", done.stderr


def test_an_array_is_read_while_it_comes() -> None:
    elements = Elements()
    sent = json.dumps([{"a": "é]"}, {"b": [1, {"c": 2}]}], ensure_ascii=False).encode()
    found = [element for at in range(len(sent)) for element in elements.feed(sent[at : at + 1])]
    assert found == [{"a": "é]"}, {"b": [1, {"c": 2}]}]


def test_the_authority_is_made_once_and_for_its_owner_alone(tmp_path: Path) -> None:
    first = Authority(tmp_path).bundle({})
    made = first.read_bytes()
    assert Authority(tmp_path).bundle({}).read_bytes() == made
    key = tmp_path / "ca" / "key.pem"
    assert stat.S_IMODE(key.stat().st_mode) == 0o600
    assert stat.S_IMODE(key.parent.stat().st_mode) == 0o700


def test_the_authority_answers_for_google_alone(tmp_path: Path) -> None:
    """Its certificate says so itself: one made with its key for another domain is trusted by nobody."""
    authority = Authority(tmp_path)
    bundle = authority.bundle({})
    assert _handshake(authority, bundle, "us-central1-aiplatform.googleapis.com") == "TLSv1.3"
    assert _handshake(authority, bundle, f"{'a' * 60}.googleapis.com") == "TLSv1.3"
    with pytest.raises(ssl.SSLCertVerificationError, match="permitted subtree violation"):
        _handshake(authority, bundle, "example.com")


def test_an_authority_near_its_end_is_made_anew_with_its_hosts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("headway_emulator.authority.AUTHORITY_DAYS", 20)
    Authority(tmp_path).context("logging.googleapis.com")
    old = (tmp_path / "ca" / "ca.pem").read_bytes()
    monkeypatch.undo()
    authority = Authority(tmp_path)
    authority.context("logging.googleapis.com")
    assert (tmp_path / "ca" / "ca.pem").read_bytes() != old
    assert _handshake(authority, authority.bundle({}), "logging.googleapis.com") == "TLSv1.3"


def test_many_threads_get_one_authority(tmp_path: Path) -> None:
    authority = Authority(tmp_path)
    contexts: list[ssl.SSLContext] = []
    work = [
        threading.Thread(target=lambda: contexts.append(authority.context("a.googleapis.com")))
        for _ in range(8)
    ]
    for thread in work:
        thread.start()
    for thread in work:
        thread.join()
    assert len({id(context) for context in contexts}) == 1


def test_a_machines_own_roots_stay_trusted(tmp_path: Path) -> None:
    """A company's root, named by a variable when the emulator starts; never the bundle itself."""
    root = tmp_path / "company.pem"
    root.write_text("COMPANY")
    bundle = Authority(tmp_path / "state").bundle({"SSL_CERT_FILE": str(root)})
    assert b"COMPANY" in bundle.read_bytes()
    size = len(bundle.read_bytes()) - len("COMPANY\n")
    again = Authority(tmp_path / "state").bundle({"SSL_CERT_FILE": str(bundle)})
    assert len(again.read_bytes()) == size
    assert x509.load_pem_x509_certificate((bundle.parent / "ca.pem").read_bytes())


@pytest.mark.parametrize(
    ("host", "prefix"),
    [
        ("us-central1-aiplatform.googleapis.com", "/aiplatform"),
        ("aiplatform.us.rep.googleapis.com:443", "/aiplatform"),
        ("storage.googleapis.com", ""),
        ("pubsub.googleapis.com", None),
    ],
)
def test_hosts_lead_to_services(host: str, prefix: str | None) -> None:
    assert hosts.is_google(host)
    assert hosts.prefix(host) == prefix
    assert hosts.has(host, "/v1/x") == (prefix is not None)


def test_of_the_old_host_of_all_services_storage_is_known() -> None:
    assert hosts.has("www.googleapis.com", "/storage/v1/b")
    assert not hosts.has("www.googleapis.com", "/discovery/v1/apis")


@pytest.mark.parametrize(
    "host", ["googleapis.com.evil.org", "evilgoogleapis.com", "example.com", "127.0.0.1:1"]
)
def test_hosts_that_only_look_like_googles_are_not(host: str) -> None:
    assert not hosts.is_google(host)


def settings(state: Path, executor: Literal["docker", "process"] = "process") -> Settings:
    return Settings(
        project="p",
        project_number="1",
        state=state,
        executor=executor,
        storage_url="",
        public_url="http://172.18.0.1:8585",
        network="",
        nonce="",
        grace_seconds=1,
    )


def test_each_way_takes_away_what_the_other_sets(tmp_path: Path) -> None:
    bundle = tmp_path / "bundle.pem"
    transparent = environment.of(settings(tmp_path), bundle)
    explicit = environment.of(settings(tmp_path), bundle, environment.EXPLICIT)
    assert "CLOUDSDK_API_ENDPOINT_OVERRIDES_AIPLATFORM" in transparent.unset
    assert "https_proxy" in explicit.unset
    assert not set(transparent.set) & set(transparent.unset)
    assert not set(explicit.set) & set(explicit.unset)
    assert "172.18.0.1" in transparent.set["no_proxy"].split(",")


def test_a_container_finds_the_roots_where_they_are_mounted_and_a_process_where_they_are(
    tmp_path: Path,
) -> None:
    bundle = tmp_path / "bundle.pem"
    contained = environment.of_job(settings(tmp_path, "docker"), bundle)
    assert contained.mounts == {str(bundle): contained.set["SSL_CERT_FILE"]}
    process = environment.of_job(settings(tmp_path, "process"), bundle)
    assert (process.mounts, process.set["SSL_CERT_FILE"]) == ({}, str(bundle))
    # a replica's credentials are its machine's, not those of the shell of whoever sent it
    assert not [name for name in contained.set if name.startswith("CLOUDSDK")]


def test_nothing_heavy_is_loaded_before_it_is_needed() -> None:
    """The emulator starts without gRPC, messages and cryptography."""
    names = ("transparent.connect", "transparent.by_host", "transparent.front", "authority")
    program = "import sys\n" + "\n".join(f"import headway_emulator.{name}" for name in names)
    program += (
        "\nprint([m for m in ('grpc', 'google.protobuf', 'cryptography', 'certifi') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def _handshake(authority: Authority, bundle: Path, host: str) -> str | None:
    """The TLS version that a client which trusts the bundle agrees on with the server for `host`."""
    to_server, to_client = ssl.MemoryBIO(), ssl.MemoryBIO()
    client = ssl.create_default_context(cafile=str(bundle)).wrap_bio(
        to_client, to_server, server_hostname=host
    )
    server = authority.context(host).wrap_bio(to_server, to_client, server_side=True)
    for _ in range(4):
        for side in (client, server):
            try:
                side.do_handshake()
            except ssl.SSLWantReadError:
                continue
    return client.version()
