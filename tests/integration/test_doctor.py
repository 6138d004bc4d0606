"""`launch doctor` against the emulator: all well, and each planted fault found with the fix that mends it."""

from __future__ import annotations

import base64
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any

import pytest
import requests

from headway.cloud.services import Services
from headway.config import load
from headway.errors import HeadwayError
from headway.jobs.doctor import Report, Row, Subject, examined
from headway.jobs.doctor.engine import Engine
from headway.spec.place import Place
from tests.contract.servers import PLACE as REAL
from tests.contract.servers import PROJECT, Emulator, StorageServer

pytestmark = pytest.mark.skipif(REAL is not None, reason="it plants faults in an emulator of its own")

ACCOUNT = f"trainer@{PROJECT}.iam.gserviceaccount.com"
SERVICES = (
    *("aiplatform", "cloudbuild", "logging", "artifactregistry", "secretmanager"),
    *("cloudresourcemanager", "iam", "serviceusage"),
)
QUOTAS = """
[[quota]]
metric = "custom_model_training_nvidia_l4_gpus"
limit = 1
[[quota]]
metric = "custom_model_training_preemptible_nvidia_t4_gpus"
limit = 0
[[quota]]
region = "europe-west4"
metric = "custom_model_training_nvidia_t4_gpus"
limit = 0
"""
CONFIG = """
name: digits
entrypoint: train.py
resources: {gpu: t4}
environment: {secrets: {TOKEN: token}}
data: [data.bin]
"""
MD5 = "9dd4e461268c8034f5c8564e155c67a6"


@dataclass(frozen=True)
class FakeEngine:
    """An engine that holds images of some architecture."""

    version: str = "20.10"
    architecture: str = "amd64"
    images: dict[str, str] = field(default_factory=lambda: {"python:3.11-slim": "amd64"})

    def architecture_of(self, image: str) -> str | None:
        return self.images.get(image)


class Tracking(BaseHTTPRequestHandler):
    """MLflow's /version, as a server of some version answers."""

    version = "3.17.2"
    status = 200

    def do_GET(self) -> None:
        self.send_response(self.status)
        self.end_headers()
        self.wfile.write(self.version.encode())

    def log_message(self, format: str, *args: Any) -> None:
        pass


@dataclass
class Clinic:
    """A healthy place around an emulator, its project, and what a test spoils of it."""

    emulator: Emulator
    place: Place
    folder: Path
    overrides: list[str] = field(default_factory=list)
    engine: Engine | str = field(default_factory=FakeEngine)
    executor: str = "docker"
    now: Callable[[], float] = time.time

    def examine(self, deadline: float = 5.0) -> Report:
        try:
            config: Any = load(self.folder / "config.yaml", self.overrides)
        except HeadwayError as error:
            config = error
        subject = Subject(
            config=config,
            place=self.place,
            services=Services(self.place),
            executor=self.executor,
            find_engine=lambda: self.engine,
            now=self.now,
        )
        return examined(subject, deadline=deadline)

    def call(self, verb: str, path: str, body: Any = None) -> None:
        requests.request(verb, f"{self.emulator.url}/{path}", json=body, timeout=10).raise_for_status()

    def refuse(self, method: str, message: str = "Permission denied", status: int = 403) -> None:
        fault = {"kind": "response", "method": method, "status": status, "message": message, "times": 0}
        self.call("POST", "emulator/faults", fault)

    def change(self, **values: Any) -> None:
        self.place = self.place.model_copy(update=values)

    def bucket(self, name: str, location: str) -> None:
        self.call("POST", f"storage/v1/b?project={PROJECT}", {"name": name, "location": location})
        self.change(bucket=name)


@pytest.fixture(scope="module")
def alone(storage_server: StorageServer, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Emulator]:
    folder = tmp_path_factory.mktemp("doctor")
    (folder / "emulator.toml").write_text(QUOTAS)
    made = Emulator(folder / "state", storage_server.url, flags=("--config", str(folder / "emulator.toml")))
    made.start()
    furnish(made)
    yield made
    assert made.stop() == 0
    assert "Traceback" not in made.log, made.log


def furnish(emulator: Emulator) -> None:
    """What Terraform makes in a real project, a secret, and the pushed data."""
    storage = f"storage/v1/b?project={PROJECT}", {"name": "doctor", "location": "US-CENTRAL1"}
    account = f"iam/v1/projects/{PROJECT}/serviceAccounts", {"accountId": "trainer"}
    repositories = f"artifactregistry/v1/projects/{PROJECT}/locations/us-central1/repositories"
    secrets = f"secretmanager/v1/projects/{PROJECT}/secrets"
    payload = {"payload": {"data": base64.b64encode(b"hush-7").decode()}}
    wanted: list[tuple[str, Any]] = [
        storage,
        account,
        (f"{repositories}?repositoryId=headway", {"format": "DOCKER"}),
        (f"{secrets}?secretId=token", {"replication": {"automatic": {}}}),
        (f"{secrets}/token:addVersion", payload),
        (f"{secrets}?secretId=empty", {"replication": {"automatic": {}}}),
    ]
    for path, body in wanted:
        made = requests.post(f"{emulator.url}/{path}", json=body, timeout=10)
        assert made.status_code in (200, 409), made.text
    name = f"dvc%2Ffiles%2Fmd5%2F{MD5[:2]}%2F{MD5[2:]}"
    upload = f"{emulator.url}/upload/storage/v1/b/doctor/o?uploadType=media&name={name}"
    requests.post(upload, data=b"x", timeout=10).raise_for_status()


@pytest.fixture
def tracking() -> Iterator[tuple[str, type[Tracking]]]:
    handler = type("Handler", (Tracking,), {})
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}", handler
    server.shutdown()
    server.server_close()


@pytest.fixture
def clinic(alone: Emulator, tracking: tuple[str, type[Tracking]], tmp_path: Path) -> Iterator[Clinic]:
    (tmp_path / ".dvc").mkdir()
    (tmp_path / "config.yaml").write_text(CONFIG)
    (tmp_path / "train.py").write_text("print('hello')\n")
    (tmp_path / "requirements.txt").write_text("torch==2.13.0\n")
    (tmp_path / "data.bin").write_bytes(b"x")
    (tmp_path / "data.bin.dvc").write_text(f"outs:\n- md5: {MD5}\n  size: 1\n  hash: md5\n  path: data.bin\n")
    place = Place(
        profile="prod",
        project=PROJECT,
        region="us-central1",
        bucket="doctor",
        dvc_remote="gs://doctor/dvc",
        tracking_uri=tracking[0],
        service_account=ACCOUNT,
        endpoints={"storage": alone.url, **{name: f"{alone.url}/{name}" for name in SERVICES}},
        credentials="anonymous",
    )
    yield Clinic(alone, place, tmp_path)
    requests.delete(f"{alone.url}/emulator/faults", timeout=10).raise_for_status()


def test_where_all_is_well_every_row_is_ok(clinic: Clinic) -> None:
    report = clinic.examine()
    assert {row.check: row.state for row in report.rows if row.state != "ok"} == {}, str(report)
    assert len(report.rows) == 17
    assert "hush-7" not in str(report)


def test_where_there_is_a_schedule_its_account_is_a_row_and_mended_as_the_row_says(clinic: Clinic) -> None:
    email = f"schedules@{PROJECT}.iam.gserviceaccount.com"
    clinic.call("POST", f"iam/v1/projects/{PROJECT}/serviceAccounts", {"accountId": "schedules"})
    says(schedule__max_age="30d")(clinic)
    clinic.change(scheduler_service_account=email)

    def row() -> Row:
        (found,) = [row for row in clinic.examine().rows if row.check == "schedules"]
        return found

    assert row().state == "warning"
    assert f"--member=serviceAccount:{email} --role=roles/run.invoker" in (row().fix or "")
    policy = {"bindings": [{"role": "roles/run.invoker", "members": [f"serviceAccount:{email}"]}]}
    clinic.call("POST", f"cloudresourcemanager/v3/projects/{PROJECT}:setIamPolicy", {"policy": policy})
    assert row().state == "ok"


@dataclass(frozen=True)
class Planted:
    """A fault, the row that finds it, the row's state, and words that its fix has."""

    name: str
    plant: Callable[[Clinic], object]
    row: str
    fix: str
    state: str = "failure"


def disable(clinic: Clinic) -> None:
    clinic.call("POST", f"serviceusage/v1/projects/{PROJECT}/services/cloudbuild.googleapis.com:disable", {})


def lose_data(clinic: Clinic) -> None:
    pointer = clinic.folder / "data.bin.dvc"
    pointer.write_text(pointer.read_text().replace(MD5, "0cc175b9c0f1b6a831c399e269772661"))
    (clinic.folder / "data.bin").unlink()


def move_to_where_no_h200_is(clinic: Clinic) -> None:
    clinic.change(region="us-west2")
    clinic.overrides.append("resources.gpu=h200:8")


def says(**wishes: str) -> Callable[[Clinic], object]:
    """Words on the command line, as key=value."""
    return lambda clinic: clinic.overrides.extend(f"{k.replace('__', '.')}={v}" for k, v in wishes.items())


FAULTS = (
    Planted("entrypoint", lambda c: (c.folder / "train.py").unlink(), "config", "write a script"),
    Planted("config", says(resources__gpu="a101"), "config", "a100"),
    Planted(
        "no engine", lambda c: replace_engine(c, "no Docker engine answers"), "engine", "docker", "warning"
    ),
    Planted(
        "no image",
        lambda c: replace_engine(c, FakeEngine(images={})),
        "base image",
        "docker pull",
        "not checked",
    ),
    Planted(
        "arm image",
        lambda c: replace_engine(c, FakeEngine(images={"python:3.11-slim": "arm64"})),
        "architecture",
        "--platform linux/amd64",
    ),
    Planted("wrong project", lambda c: c.change(project="other"), "project", "mend project in the profile"),
    Planted("API off", disable, "APIs", "gcloud services enable cloudbuild.googleapis.com"),
    Planted("no bucket", lambda c: c.change(bucket="absent"), "bucket", "buckets create gs://absent"),
    Planted("multi-region", lambda c: c.bucket("in-us", "US"), "bucket", "name a regional one"),
    Planted(
        "bucket elsewhere",
        lambda c: c.bucket("in-eu", "europe-west4"),
        "bucket",
        "resources.regions: [europe-west4]",
    ),
    Planted(
        "bucket forbidden",
        lambda c: c.refuse("storage.buckets.get"),
        "bucket",
        "roles/storage.legacyBucketReader",
    ),
    Planted("data not pushed", lose_data, "data", "launch data push --profile prod"),
    Planted("data changed", lambda c: (c.folder / "data.bin").write_bytes(b"new"), "data", "run: dvc add"),
    Planted("remote absent", lambda c: c.change(dvc_remote="gs://absent/dvc"), "data", "mend dvc_remote"),
    Planted(
        "no repository", lambda c: c.change(repository="absent"), "registry", "repositories create absent"
    ),
    Planted(
        "no account",
        lambda c: c.change(service_account=f"absent@{PROJECT}.iam.gserviceaccount.com"),
        "service account",
        "service-accounts create absent",
    ),
    Planted(
        "no actAs",
        lambda c: c.refuse("iam.serviceAccounts.testIamPermissions"),
        "service account",
        "roles/iam.serviceAccountUser",
    ),
    Planted(
        "no such machine here",
        move_to_where_no_h200_is,
        "machine",
        "h200 is in",
    ),
    Planted(
        "quota",
        says(resources__gpu="l4:2"),
        "quota",
        "ask for 2: filter custom_model_training_nvidia_l4_gpus",
    ),
    Planted(
        "spot quota",
        says(resources__spot="true"),
        "quota",
        "custom_model_training_preemptible_nvidia_t4_gpus",
    ),
    Planted(
        "quota unreadable",
        lambda c: c.refuse("serviceusage.services.consumerQuotaMetrics.get"),
        "quota",
        "https://console.cloud.google.com/iam-admin/quotas",
        "not checked",
    ),
    Planted("no tracking", lambda c: c.change(tracking_uri="http://127.0.0.1:9"), "tracking", "tracking_uri"),
    Planted(
        "no secret", says(environment__secrets__TOKEN="absent"), "secrets", "gcloud secrets create absent"
    ),
    Planted(
        "no version",
        says(environment__secrets__TOKEN="empty"),
        "secrets",
        "gcloud secrets versions add empty",
    ),
    Planted(
        "secret forbidden",
        lambda c: c.refuse("secretmanager.versions.access"),
        "secrets",
        "roles/secretmanager.secretAccessor",
        "warning",
    ),
    Planted("fast clock", lambda c: setattr(c, "now", lambda: time.time() + 900), "clock", "set-ntp"),
    Planted(
        "slow clock", lambda c: setattr(c, "now", lambda: time.time() - 60), "clock", "set-ntp", "warning"
    ),
)


def replace_engine(clinic: Clinic, engine: Engine | str) -> None:
    clinic.engine = engine


@pytest.mark.parametrize("planted", FAULTS, ids=lambda planted: planted.name)
def test_a_planted_fault_is_found_with_what_mends_it(clinic: Clinic, planted: Planted) -> None:
    planted.plant(clinic)
    try:
        report = clinic.examine()
    finally:
        enable = f"serviceusage/v1/projects/{PROJECT}/services/cloudbuild.googleapis.com:enable"
        clinic.call("POST", enable, {})
    (row,) = [row for row in report.rows if row.check == planted.row]
    assert row.state == planted.state, str(report)
    assert planted.fix in (row.fix or ""), str(report)
    assert "hush-7" not in str(report)


@pytest.mark.parametrize(
    ("version", "status", "fix"),
    [
        ("2.9.0", 200, "pip install 'mlflow>=3.1'"),
        ("", 401, "MLFLOW_TRACKING_TOKEN"),
        ("<html>", 200, "tracking_uri"),
    ],
)
def test_a_tracking_server_that_will_not_do_is_found(
    clinic: Clinic, tracking: tuple[str, type[Tracking]], version: str, status: int, fix: str
) -> None:
    tracking[1].version, tracking[1].status = version, status
    (row,) = [row for row in clinic.examine().rows if row.check == "tracking"]
    assert row.state == "failure"
    assert fix in (row.fix or "")


def test_a_quota_that_lacks_in_one_region_of_several_is_a_warning(clinic: Clinic) -> None:
    clinic.overrides.append("resources.regions=[us-central1,europe-west4]")
    (row,) = [row for row in clinic.examine().rows if row.check == "quota"]
    assert (row.state, "europe-west4 is 0" in row.found) == ("warning", True), row


def test_a_service_that_does_not_answer_costs_its_own_row_its_deadline_and_no_other(clinic: Clinic) -> None:
    stall = {"kind": "response", "method": "cloudresourcemanager.projects.get", "delay": 3.5, "times": 0}
    clinic.call("POST", "emulator/faults", stall)
    began = time.monotonic()
    report = clinic.examine(deadline=3)
    assert time.monotonic() - began < 5
    assert {row.check for row in report.rows if row.state != "ok"} == {"project"}
    assert "no answer within 3 s" in str(report)


def test_where_no_server_may_be_asked_the_rest_is_checked_all_the_same(clinic: Clinic) -> None:
    """The laptop without a network: what needs none is told, the others say that they were not checked."""
    subject = Subject(
        config=load(clinic.folder / "config.yaml"),
        place=clinic.place,
        services=None,
        find_engine=lambda: clinic.engine,
    )
    states = {row.check: row.state for row in examined(subject).rows}
    ok = {check for check, state in states.items() if state == "ok"}
    assert ok == {"place", "config", "engine", "base image", "architecture", "credentials", "machine"}
    assert {states[check] for check in states.keys() - ok} == {"not checked"}
