"""gcloud's commands for logs and artifacts against the emulator."""

from __future__ import annotations

import secrets
import shutil
import subprocess
from pathlib import Path

import pytest
from google.cloud.aiplatform_v1 import JobServiceClient

from tests.contract.conftest import custom_job
from tests.contract.servers import LOCATION, PARENT, PROJECT, Emulator
from tests.contract.test_custom_jobs import finished
from tests.contract.test_gcloud import Gcloud

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(shutil.which("gcloud") is None, reason="gcloud is not installed"),
]
WHERE = f"--location={LOCATION}"


class Wired(Gcloud):
    """With Artifact Registry pointed at the emulator as well."""

    def __init__(self, emulator: Emulator, folder: Path) -> None:
        super().__init__(emulator, folder)
        url = f"{emulator.url}/artifactregistry/"
        self._env["CLOUDSDK_API_ENDPOINT_OVERRIDES_ARTIFACTREGISTRY"] = url


@pytest.fixture(scope="module")
def gcloud(emulator: Emulator, tmp_path_factory: pytest.TempPathFactory) -> Wired:
    return Wired(emulator, tmp_path_factory.mktemp("gcloud-logging"))


@pytest.fixture(scope="module")
def docker_gcloud(docker_emulator: Emulator, tmp_path_factory: pytest.TempPathFactory) -> Wired:
    return Wired(docker_emulator, tmp_path_factory.mktemp("gcloud-artifacts"))


def test_entries_are_written_read_and_deleted(gcloud: Wired) -> None:
    log = f"by-gcloud-{secrets.token_hex(4)}"
    gcloud("logging", "write", log, "plain words", "--severity=WARNING")
    gcloud("logging", "write", log, '{"loss": 0.5, "message": "said"}', "--payload-type=json")
    of_log = f"logName=projects/{PROJECT}/logs/{log}"
    newest = gcloud.json("logging", "read", of_log)
    assert [entry.get("textPayload", entry.get("jsonPayload")) for entry in newest] == [
        {"loss": 0.5, "message": "said"},
        "plain words",
    ]
    assert gcloud.json("logging", "read", f'{of_log} AND jsonPayload.loss>0.4 AND "SAID"') == newest[:1]
    assert gcloud.json("logging", "read", f"{of_log} severity>=WARNING", "--limit=1") == newest[1:]
    assert f"projects/{PROJECT}/logs/{log}" in gcloud("logging", "logs", "list")
    gcloud("logging", "logs", "delete", log)
    assert gcloud.json("logging", "read", of_log) == []
    assert "ml_job" in gcloud("logging", "resource-descriptors", "list")


def test_a_jobs_log_is_streamed_and_read(gcloud: Wired, jobs: JobServiceClient) -> None:
    program = ("import sys", "print('seen')", "print('wrong', file=sys.stderr)")
    name = jobs.create_custom_job(parent=PARENT, custom_job=custom_job(*program)).name
    finished(jobs, name)
    region = f"--region={LOCATION}"
    streamed = gcloud("ai", "custom-jobs", "stream-logs", name, region, "--polling-interval=2")
    assert "seen" in streamed
    wanted = (
        f'resource.type=ml_job resource.labels.job_id={name.rsplit("/", 1)[1]} jsonPayload.message=~"^wr"'
    )
    (entry,) = gcloud.json("logging", "read", wanted)
    assert (entry["severity"], entry["jsonPayload"]["message"]) == ("ERROR", "wrong")


def test_repositories_are_created_described_listed_and_deleted(gcloud: Wired) -> None:
    name = f"r{secrets.token_hex(4)}"
    words = ("artifacts", "repositories")
    gcloud(*words, "create", name, WHERE, "--repository-format=docker", "--labels=team=vision")
    described = gcloud.json(*words, "describe", name, WHERE)
    assert (described["format"], described["labels"]) == ("DOCKER", {"team": "vision"})
    for where in ([WHERE], []):
        listed = gcloud.json(*words, "list", *where)
        assert f"{PARENT}/repositories/{name}" in [repository["name"] for repository in listed]
    gcloud(*words, "delete", name, WHERE)
    with pytest.raises(AssertionError, match="NOT_FOUND"):
        gcloud(*words, "describe", name, WHERE)


@pytest.mark.docker
def test_images_are_listed_tagged_and_deleted(docker_gcloud: Wired, base_image: str) -> None:
    gcloud, repository = docker_gcloud, f"r{secrets.token_hex(4)}"
    root = f"{LOCATION}-docker.pkg.dev/{PROJECT}/{repository}"
    image = f"{root}/trainer"
    for tag in ("one", "two"):
        subprocess.run(["docker", "tag", base_image, f"{image}:{tag}"], check=True, timeout=30)
    (found,) = gcloud.json("artifacts", "docker", "images", "list", root, "--include-tags")
    assert (found["package"], sorted(found["tags"])) == (image, ["one", "two"])
    (same,) = gcloud.json("artifacts", "docker", "images", "list", image, "--include-tags")
    assert (same["version"], sorted(same["tags"])) == (found["version"], ["one", "two"])
    gcloud("artifacts", "docker", "tags", "add", f"{image}:one", f"{image}:best")
    tags = gcloud.json("artifacts", "docker", "tags", "list", image)
    assert sorted(tag["tag"].rsplit("/", 1)[1] for tag in tags) == ["best", "one", "two"]
    gcloud("artifacts", "docker", "tags", "delete", f"{image}:best")
    (package,) = gcloud.json("artifacts", "packages", "list", f"--repository={repository}", WHERE)
    assert package["name"].endswith("trainer")
    of_package = ("--package=trainer", f"--repository={repository}", WHERE)
    (version,) = gcloud.json("artifacts", "versions", "list", *of_package)
    assert version["name"].endswith(found["version"])
    with pytest.raises(AssertionError, match="because it is tagged"):
        gcloud("artifacts", "docker", "images", "delete", f"{image}:one")
    gcloud("artifacts", "docker", "images", "delete", f"{image}:one", "--delete-tags")
    done = subprocess.run(["docker", "images", "-q", image], capture_output=True, check=True, timeout=30)
    assert done.stdout == b""
    assert subprocess.run(["docker", "inspect", base_image], capture_output=True, check=False).returncode == 0
