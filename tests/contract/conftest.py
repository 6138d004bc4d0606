"""One storage server and one emulator for all contract tests, and Google's own clients pointed at them."""

from __future__ import annotations

import json
import secrets
import sqlite3
import subprocess
from collections.abc import Generator, Iterator
from typing import TYPE_CHECKING, Any

import pytest
import requests

from tests.contract import real
from tests.contract.command_line import Gcloud
from tests.contract.servers import BUCKET, IMAGE, LOCATION, PLACE, PROJECT, Emulator, StorageServer

if TYPE_CHECKING:
    from google.cloud import storage
    from google.cloud.aiplatform_v1 import JobServiceClient
    from google.cloud.devtools.cloudbuild_v1 import CloudBuildClient


@pytest.fixture(scope="session")
def storage_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[StorageServer]:
    server = StorageServer(tmp_path_factory.mktemp("storage") / "objects")
    server.start()
    yield server
    server.stop()


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Against a real project, what only an emulator can do is skipped, each with its reason."""
    if PLACE is None:
        return
    for item in items:
        if why := real.reason(list(getattr(item, "fixturenames", ()))):
            item.add_marker(pytest.mark.skip(reason=f"HEADWAY_CONTRACT=gcp: it {why}"))


@pytest.hookimpl(wrapper=True)
def pytest_runtest_call(item: pytest.Item) -> Generator[None, None, None]:
    """A test that failed because it asked for what is the emulator's alone counts as skipped."""
    project = getattr(item, "funcargs", {}).get("emulator")
    refused = project.relay.refused if isinstance(project, real.RealProject) else []
    refused.clear()
    try:
        return (yield)
    except Exception:
        if refused:
            real.only_here(refused[0])
        raise


@pytest.fixture(scope="session")
def emulator(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Emulator | real.RealProject]:
    """With the process executor, which needs no engine; or the real project that takes its place."""
    if PLACE is not None:
        with real.serving(real.Relay(real.with_own_credentials())) as relay:
            yield real.RealProject(relay, PLACE, tmp_path_factory.mktemp("real"))
        return
    storage_server = request.getfixturevalue("storage_server")
    made = Emulator(tmp_path_factory.mktemp("emulator") / "state", storage_server.url)
    made.start()
    _make_bucket(made)
    yield made
    assert made.stop() == 0
    assert "Traceback" not in made.log, made.log


@pytest.fixture(scope="session")
def job_network() -> Iterator[tuple[str, str]]:
    """A Docker network as the stack makes one, and its gateway's address."""
    name = f"headway-contract-{secrets.token_hex(4)}"
    _docker("network", "create", name)
    gateway = _docker("network", "inspect", name, "--format", "{{(index .IPAM.Config 0).Gateway}}")
    yield name, gateway
    _docker("network", "rm", name)


@pytest.fixture(scope="session")
def docker_emulator(
    storage_server: StorageServer,
    job_network: tuple[str, str],
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Emulator]:
    """With containers; reached on loopback and on the job network's gateway under one port."""
    network, gateway = job_network
    state = tmp_path_factory.mktemp("docker-emulator") / "state"
    hosts = ("127.0.0.1", gateway)
    made = Emulator(state, storage_server.url, executor="docker", hosts=hosts, network=network)
    made.start()
    _make_bucket(made)
    yield made
    assert made.stop() == 0
    assert "Traceback" not in made.log, made.log


@pytest.fixture
def mortal(
    storage_server: StorageServer,
    job_network: tuple[str, str],
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Emulator]:
    """An emulator that a test may kill."""
    network, gateway = job_network
    state = tmp_path_factory.mktemp("mortal") / "state"
    made = Emulator(state, storage_server.url, executor="docker", hosts=(gateway,), network=network)
    made.start()
    yield made
    made.stop()


@pytest.fixture(params=["process", pytest.param("docker", marks=pytest.mark.docker)])
def twin(
    request: pytest.FixtureRequest, storage_server: StorageServer, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Emulator]:
    """With a virtual clock and a state of its own, on each executor in turn; a test may kill it."""
    state = tmp_path_factory.mktemp("twin") / "state"
    hosts: tuple[str, ...] = ("127.0.0.1",)
    network = ""
    if request.param == "docker":
        network, gateway = request.getfixturevalue("job_network")
        hosts = (gateway,)
    made = Emulator(state, storage_server.url, executor=request.param, hosts=hosts, network=network)
    made.grace, made.clock = 30, "virtual"
    made.start()
    yield made
    made.stop()
    if request.param == "docker":
        _end_containers(made)
    assert "Traceback" not in made.log, made.log


def on_both_executors() -> Any:
    """In place of a module's `emulator`: each of its tests is made with processes and with containers."""

    @pytest.fixture(scope="session", params=["process", pytest.param("docker", marks=pytest.mark.docker)])
    def emulator(request: pytest.FixtureRequest, emulator: Emulator) -> Emulator:
        if request.param == "process":
            return emulator
        found: Emulator = request.getfixturevalue("docker_emulator")
        return found

    return emulator


@pytest.fixture(scope="module")
def timed(storage_server: StorageServer, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Emulator]:
    """With a virtual clock, for the tests of one module, which may kill and restart it."""
    made = Emulator(tmp_path_factory.mktemp("timed") / "state", storage_server.url, clock="virtual")
    made.start()
    yield made
    assert made.stop() == 0
    assert "Traceback" not in made.log, made.log


@pytest.fixture
def vertex(emulator: Emulator) -> Any:
    """The high-level client of Vertex AI, over REST."""
    from google.auth.credentials import AnonymousCredentials
    from google.cloud import aiplatform

    aiplatform.init(
        project=PROJECT,
        location=LOCATION,
        staging_bucket=f"gs://{BUCKET}",
        api_endpoint=f"{emulator.url}/aiplatform",
        api_transport="rest",
        credentials=AnonymousCredentials(),
    )
    return aiplatform


@pytest.fixture(scope="session")
def base_image() -> str:
    """An image with python3 that the engine has already."""
    for name in ("python:3.11-slim", "headway-probe-base"):
        if (
            subprocess.run(["docker", "image", "inspect", name], capture_output=True, check=False).returncode
            == 0
        ):
            return name
    pytest.fail("the engine has no base image: `make` prepares python:3.11-slim")


@pytest.fixture
def jobs(emulator: Emulator) -> JobServiceClient:
    return job_client(emulator)


@pytest.fixture
def docker_jobs(docker_emulator: Emulator) -> JobServiceClient:
    return job_client(docker_emulator)


@pytest.fixture
def gcloud(emulator: Emulator, tmp_path_factory: pytest.TempPathFactory) -> Gcloud:
    return Gcloud(emulator, tmp_path_factory.getbasetemp() / "gcloud")


def job_client(emulator: Emulator) -> JobServiceClient:
    from google.auth.credentials import AnonymousCredentials
    from google.cloud.aiplatform_v1 import JobServiceClient

    options = {"api_endpoint": f"{emulator.url}/aiplatform"}
    return JobServiceClient(transport="rest", credentials=AnonymousCredentials(), client_options=options)


def build_client(emulator: Emulator) -> CloudBuildClient:
    from google.auth.credentials import AnonymousCredentials
    from google.cloud.devtools.cloudbuild_v1 import CloudBuildClient

    options = {"api_endpoint": f"{emulator.url}/cloudbuild"}
    return CloudBuildClient(transport="rest", credentials=AnonymousCredentials(), client_options=options)


@pytest.fixture
def gcs(emulator: Emulator) -> storage.Client:
    return storage_client(emulator)


@pytest.fixture
def bucket(gcs: storage.Client) -> storage.Bucket:
    return gcs.bucket(BUCKET)


def storage_client(emulator: Emulator) -> storage.Client:
    from google.auth.credentials import AnonymousCredentials
    from google.cloud import storage

    options = {"api_endpoint": emulator.url}
    return storage.Client(project=PROJECT, credentials=AnonymousCredentials(), client_options=options)


def custom_job(*program: str, image: str = IMAGE, name: str = "contract", **spec: Any) -> dict[str, Any]:
    """A CustomJob of one replica that runs Python lines; `spec` adds to the job spec."""
    container = {"image_uri": image, "command": ["python3", "-u", "-c", "\n".join(program)]}
    pool = {
        "machine_spec": {"machine_type": "n1-standard-4"},
        "replica_count": 1,
        "container_spec": container,
    }
    return {"display_name": name, "job_spec": {"worker_pool_specs": [pool], **spec}}


def log_lines(emulator: Emulator, job: str, **more: Any) -> list[dict[str, Any]]:
    """The entries of a job's log, oldest first."""
    job_id = job.rsplit("/", 1)[1]
    body = {
        "resourceNames": [f"projects/{PROJECT}"],
        "filter": f'resource.type="ml_job" AND resource.labels.job_id="{job_id}"',
        "orderBy": "timestamp asc",
        "pageSize": 1000,
        **more,
    }
    response = requests.post(f"{emulator.url}/logging/v2/entries:list", json=body, timeout=10)
    response.raise_for_status()
    entries: list[dict[str, Any]] = response.json().get("entries", [])
    return entries


def messages(emulator: Emulator, job: str, task: str = "workerpool0-0") -> list[str]:
    return [
        entry["jsonPayload"]["message"]
        for entry in log_lines(emulator, job)
        if entry["resource"]["labels"]["task_name"] == task
    ]


def _make_bucket(emulator: Emulator) -> None:
    url = f"{emulator.url}/storage/v1/b"
    done = requests.post(url, params={"project": PROJECT}, json={"name": BUCKET}, timeout=10)
    assert done.status_code in (200, 409), done.text


def containers_of(emulator: Emulator) -> list[str]:
    """Those that the emulator's state calls its own."""
    with sqlite3.connect(emulator.state / "state.sqlite3") as db:
        found = db.execute("SELECT json FROM documents WHERE kind = 'identity'").fetchone()
    label = f"label=headway-emulator={json.loads(found[0])['id']}"
    return _docker("ps", "-aq", "--filter", label).split()


def _end_containers(emulator: Emulator) -> None:
    """Containers outlive their emulator: what a test leaves running is removed, with its networks."""
    for container in containers_of(emulator):
        job = _docker("inspect", "--format", '{{index .Config.Labels "headway-emulator.job"}}', container)
        _docker("rm", "-f", container)
        for network in _docker(
            "network", "ls", "-q", "--filter", f"label=headway-emulator.job={job}"
        ).split():
            subprocess.run(["docker", "network", "rm", network], capture_output=True, timeout=30, check=False)


def _docker(*words: str) -> str:
    done = subprocess.run(["docker", *words], capture_output=True, text=True, timeout=60, check=True)
    return done.stdout.strip()
