"""Artifact Registry through Google's own client, over what builds pushed, on both executors."""

from __future__ import annotations

import io
import secrets
import subprocess
import tarfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pytest
import requests
from google.api_core import exceptions
from google.auth.credentials import AnonymousCredentials

from tests.contract.conftest import build_client, custom_job, job_client, messages, storage_client
from tests.contract.servers import BUCKET, LOCATION, NUMBER, PARENT, PROJECT, Emulator
from tests.contract.test_custom_jobs import finished

if TYPE_CHECKING:
    from google.cloud.artifactregistry_v1 import ArtifactRegistryClient

HOST = f"{LOCATION}-docker.pkg.dev/{PROJECT}"
BUILDER = "gcr.io/cloud-builders/docker"


def registry_client(emulator: Emulator) -> ArtifactRegistryClient:
    from google.cloud.artifactregistry_v1 import ArtifactRegistryClient

    options = {"api_endpoint": f"{emulator.url}/artifactregistry"}
    return ArtifactRegistryClient(
        transport="rest", credentials=AnonymousCredentials(), client_options=options
    )


@dataclass
class Registry:
    """One emulator with a repository of the test's own, in which a build has left two images of a package."""

    emulator: Emulator
    client: ArtifactRegistryClient
    repository: str
    """Its id."""

    @property
    def name(self) -> str:
        return f"{PARENT}/repositories/{self.repository}"

    @property
    def package(self) -> str:
        return f"{self.name}/packages/trainer"

    @property
    def url(self) -> str:
        return f"{self.emulator.url}/artifactregistry/v1/{self.name}"

    def push(self, *images: str, base: str = "scratch") -> None:
        """As `gcloud builds submit` does it: an archive in the bucket, a docker build, a push."""
        code = io.BytesIO()
        with tarfile.open(fileobj=code, mode="w:gz") as archive:
            for name, text in {"Dockerfile": f"FROM {base}\nCOPY . /app\n", "mark": images[0]}.items():
                entry = tarfile.TarInfo(name)
                entry.size = len(text)
                archive.addfile(entry, io.BytesIO(text.encode()))
        code.seek(0)
        source = f"source/{secrets.token_hex(4)}.tgz"
        storage_client(self.emulator).bucket(BUCKET).blob(source).upload_from_file(code)
        tags = [word for image in images for word in ("-t", image)]
        build = {
            "source": {"storage_source": {"bucket": BUCKET, "object_": source}},
            "steps": [{"name": BUILDER, "args": ["build", *tags, "."]}],
            "images": list(images),
        }
        made = build_client(self.emulator).create_build(project_id=PROJECT, build=build)
        assert made.result(timeout=120).status.name == "SUCCESS"


@pytest.fixture(params=["process", pytest.param("docker", marks=pytest.mark.docker)])
def registry(request: pytest.FixtureRequest) -> Iterator[Registry]:
    fixture = "emulator" if request.param == "process" else "docker_emulator"
    emulator: Emulator = request.getfixturevalue(fixture)
    made = Registry(emulator, registry_client(emulator), f"r{secrets.token_hex(4)}")
    root = f"{HOST}/{made.repository}/trainer"
    made.push(f"{root}:one", f"{root}:latest")
    made.push(f"{root}:two")
    yield made
    requests.delete(made.url, timeout=30)
    if request.param == "docker":
        words = ["docker", "image", "ls", "-q", f"{root}"]
        assert subprocess.run(words, capture_output=True, check=True, timeout=30).stdout == b""


@pytest.fixture
def client(emulator: Emulator) -> ArtifactRegistryClient:
    return registry_client(emulator)


def test_a_repository_is_created_changed_listed_and_deleted(client: ArtifactRegistryClient) -> None:
    from google.cloud.artifactregistry_v1 import Repository
    from google.protobuf.field_mask_pb2 import FieldMask

    identity = f"r{secrets.token_hex(4)}"
    wanted = Repository(format_=Repository.Format.DOCKER, labels={"team": "vision"}, description="first")
    operation = client.create_repository(parent=PARENT, repository_id=identity, repository=wanted)
    made = operation.result(timeout=30)
    assert made.name == f"{PARENT}/repositories/{identity}"
    assert (made.format_, made.mode) == (Repository.Format.DOCKER, Repository.Mode.STANDARD_REPOSITORY)
    assert (made.registry_uri, dict(made.labels)) == (f"{HOST}/{identity}", {"team": "vision"})
    with pytest.raises(exceptions.Conflict, match="already exists"):
        client.create_repository(parent=PARENT, repository_id=identity, repository=wanted)
    changed = Repository(name=made.name, description="second")
    mask = FieldMask(paths=["description"])
    after = client.update_repository(repository=changed, update_mask=mask)
    assert (after.description, dict(after.labels)) == ("second", {"team": "vision"})
    assert after.update_time > made.update_time
    by_number = PARENT.replace(PROJECT, NUMBER)
    assert f"{by_number}/repositories/{identity}" in [
        r.name for r in client.list_repositories(parent=by_number)
    ]
    client.delete_repository(name=made.name).result(timeout=30)
    with pytest.raises(exceptions.NotFound):
        client.get_repository(name=made.name)


def test_what_builds_pushed_is_found(registry: Registry) -> None:
    from google.cloud.artifactregistry_v1 import ListVersionsRequest, VersionView

    assert registry.client.get_repository(name=registry.name).format_.name == "DOCKER"
    images = list(registry.client.list_docker_images(parent=registry.name))
    tags = sorted(sorted(image.tags) for image in images)
    assert tags == [["latest", "one"], ["two"]]
    for image in images:
        assert image.uri.startswith(f"{HOST}/{registry.repository}/trainer@sha256:")
        assert registry.client.get_docker_image(name=image.name) == image
        assert (image.image_size_bytes > 0) == (registry.emulator.executor == "docker")
    assert [p.name for p in registry.client.list_packages(parent=registry.name)] == [registry.package]
    assert registry.client.get_package(name=registry.package).name == registry.package
    full = ListVersionsRequest(parent=registry.package, view=VersionView.FULL)
    versions = list(registry.client.list_versions(request=full))
    assert sorted(sorted(t.name.rsplit("/", 1)[1] for t in v.related_tags) for v in versions) == tags
    (tag,) = [t for t in registry.client.list_tags(parent=registry.package) if t.name.endswith("/two")]
    assert registry.client.get_version(name=tag.version).name == tag.version
    assert registry.client.get_tag(name=f"{registry.package}/tags/two") == tag


def test_lists_are_paged_and_filtered(registry: Registry) -> None:
    pages = list(registry.client.list_tags(request={"parent": registry.package, "page_size": 2}).pages)
    assert [len(page.tags) for page in pages] == [2, 1]
    two = registry.client.get_tag(name=f"{registry.package}/tags/two")
    wanted = {"parent": registry.package, "filter": f'version="{two.version}"'}
    assert [tag.name for tag in registry.client.list_tags(request=wanted)] == [two.name]
    starred = {"parent": registry.package, "filter": f'name="{registry.package}/tags/T*"'}
    assert [tag.name for tag in registry.client.list_tags(request=starred)] == [two.name]


def test_tags_are_made_moved_and_taken_away_and_the_version_stays(registry: Registry) -> None:
    from google.cloud.artifactregistry_v1 import Tag

    tags = {t.name.rsplit("/", 1)[1]: t for t in registry.client.list_tags(parent=registry.package)}
    name = f"{registry.package}/tags/best"
    best = Tag(name=name, version=tags["one"].version)
    assert registry.client.create_tag(parent=registry.package, tag_id="best", tag=best) == best
    with pytest.raises(exceptions.Conflict):
        registry.client.create_tag(parent=registry.package, tag_id="best", tag=best)
    moved = registry.client.update_tag(tag=Tag(name=name, version=tags["two"].version))
    assert registry.client.get_tag(name=name) == moved
    for tag in ("best", "two"):
        registry.client.delete_tag(name=f"{registry.package}/tags/{tag}")
    with pytest.raises(exceptions.NotFound):
        registry.client.get_tag(name=name)
    version = registry.client.get_version(name=tags["two"].version)
    assert version.name == tags["two"].version
    registry.client.delete_version(name=version.name).result(timeout=30)
    with pytest.raises(exceptions.NotFound):
        registry.client.get_version(name=version.name)


def test_a_tagged_version_goes_only_by_force_and_a_package_with_all_it_has(registry: Registry) -> None:
    two = registry.client.get_tag(name=f"{registry.package}/tags/two")
    with pytest.raises(exceptions.BadRequest, match="is tagged"):
        registry.client.delete_version(name=two.version)
    registry.client.delete_version(request={"name": two.version, "force": True}).result(timeout=30)
    left = {t.name.rsplit("/", 1)[1] for t in registry.client.list_tags(parent=registry.package)}
    assert left == {"one", "latest"}
    registry.client.delete_package(name=registry.package).result(timeout=30)
    with pytest.raises(exceptions.NotFound):
        registry.client.get_package(name=registry.package)


def test_immutable_tags_stay_where_they_are(registry: Registry) -> None:
    from google.cloud.artifactregistry_v1 import Repository

    wanted = Repository(format_="DOCKER", docker_config={"immutable_tags": True})
    created = registry.client.create_repository(
        parent=PARENT, repository_id=registry.repository, repository=wanted
    )
    created.result(timeout=30)
    with pytest.raises(exceptions.BadRequest, match="immutable"):
        registry.client.delete_tag(name=f"{registry.package}/tags/two")
    off = {"name": registry.name, "docker_config": {"immutable_tags": False}}
    registry.client.update_repository(repository=off)
    registry.client.delete_tag(name=f"{registry.package}/tags/two")


def test_a_package_may_have_slashes_in_its_name(registry: Registry) -> None:
    registry.push(f"{HOST}/{registry.repository}/team/net:a")
    name = f"{registry.name}/packages/team%2Fnet"
    assert name in [package.name for package in registry.client.list_packages(parent=registry.name)]
    tag = requests.get(f"{registry.url}/packages/team%2Fnet/tags/a", timeout=10).json()
    assert tag["version"].startswith(f"{name}/versions/sha256:")
    (found,) = requests.get(f"{registry.url}/packages/team%2Fnet/versions", timeout=10).json()["versions"]
    assert found["name"] == tag["version"]


@pytest.mark.docker
def test_an_image_that_another_repository_names_too_stays_there(
    docker_emulator: Emulator, base_image: str
) -> None:
    """Only names in the repository are taken from the engine, never the image of somebody else."""
    made = Registry(docker_emulator, registry_client(docker_emulator), f"r{secrets.token_hex(4)}")
    name = f"{HOST}/{made.repository}/copy:1"
    subprocess.run(["docker", "tag", base_image, name], check=True, timeout=30)
    made.client.delete_repository(name=made.name).result(timeout=30)
    for image, there in ((name, False), (base_image, True)):
        words = ["docker", "image", "inspect", image]
        done = subprocess.run(words, capture_output=True, check=False, timeout=30)
        assert (done.returncode == 0) == there


@pytest.mark.docker
def test_a_job_runs_an_image_that_is_named_by_its_digest(docker_emulator: Emulator, base_image: str) -> None:
    made = Registry(docker_emulator, registry_client(docker_emulator), f"r{secrets.token_hex(4)}")
    name = f"{HOST}/{made.repository}/base:1"
    subprocess.run(["docker", "tag", base_image, name], check=True, timeout=30)
    (image,) = made.client.list_docker_images(parent=made.name)
    jobs = job_client(docker_emulator)
    job = jobs.create_custom_job(parent=PARENT, custom_job=custom_job("print('ran')", image=image.uri)).name
    assert finished(jobs, job, seconds=60).state.name == "JOB_STATE_SUCCEEDED"
    assert messages(docker_emulator, job) == ["ran"]
    made.client.delete_repository(name=made.name).result(timeout=30)


DOCKER: dict[str, Any] = {"format": "DOCKER"}
MESSAGES = "google.devtools.artifactregistry.v1 message definitions: "
MALFORMED: list[tuple[str, str, dict[str, Any] | None, int, str, str]] = [
    (
        "POST",
        "repositories",
        DOCKER,
        400,
        "repository_id",
        MESSAGES + "CreateRepositoryRequest.repository_id",
    ),
    ("POST", "repositories?repositoryId=Big", DOCKER, 400, "lowercase", "repository names, documentation"),
    (
        "POST",
        "repositories?repositoryId=" + "a" * 64,
        DOCKER,
        400,
        "1 to 63",
        "repository names, documentation",
    ),
    ("POST", "repositories?repositoryId=ok", {}, 400, "repository.format", MESSAGES + "Repository.format"),
    (
        "POST",
        "repositories?repositoryId=ok",
        {"format": "FLOPPY"},
        400,
        "repository.format",
        MESSAGES + "Repository.Format",
    ),
    ("POST", "repositories?repositoryId=ok", {"formt": 1}, 400, 'Unknown name "formt"', "discovery document"),
    (
        "POST",
        "repositories?repositoryId=ok",
        {**DOCKER, "labels": {"Team": "x"}},
        400,
        "Invalid label",
        MESSAGES + "Repository.labels: begin with a lowercase letter",
    ),
    (
        "POST",
        "repositories?repositoryId=ok",
        {**DOCKER, "labels": {f"k{n}": "" for n in range(65)}},
        400,
        "at most 64",
        MESSAGES + "Repository.labels: up to 64 entries",
    ),
    ("POST", "repositories?repositoryId=ok", {"format": "NPM"}, 501, "NPM", "not emulated"),
    ("GET", "repositories/none", None, 404, "Requested entity was not found.", "google.rpc.Code"),
    ("GET", "repositories/none/dockerImages", None, 404, "not found", "google.rpc.Code"),
    ("DELETE", "repositories/none", None, 404, "not found", "google.rpc.Code"),
    ("GET", "repositories/none/packages/x/tags/y", None, 404, "not found", "google.rpc.Code"),
    ("GET", "repositories/none/packages/x/versions/sha256:0", None, 404, "not found", "google.rpc.Code"),
    ("GET", "operations/none", None, 404, "not found", "google.longrunning.Operations"),
    ("GET", "repositories?pageSize=x", None, 400, "page_size", "discovery document: pageSize, int32"),
    (
        "GET",
        "repositories?pageToken=%21",
        None,
        400,
        "page token",
        MESSAGES + "ListRepositoriesRequest.page_token",
    ),
    (
        "GET",
        "repositories?orderBy=color",
        None,
        400,
        "order_by",
        MESSAGES + "ListRepositoriesRequest.order_by",
    ),
    (
        "GET",
        "repositories?filter=name%3D",
        None,
        400,
        "Invalid filter",
        MESSAGES + "ListRepositoriesRequest.filter",
    ),
]


@pytest.mark.parametrize(("verb", "path", "body", "status", "said", "source"), MALFORMED)
def test_a_malformed_request_is_refused_as_google_says(
    emulator: Emulator, verb: str, path: str, body: dict[str, Any] | None, status: int, said: str, source: str
) -> None:
    url = f"{emulator.url}/artifactregistry/v1/{PARENT}/{path}"
    reply = requests.request(verb, url, json=body, timeout=10)
    assert reply.status_code == status, (source, reply.text)
    assert said in reply.json()["error"]["message"]


def test_a_tag_needs_a_name_and_a_version_of_its_own_package(registry: Registry) -> None:
    """Sources: CreateTagRequest.tag_id, Tag.version; Docker's reference grammar for tags."""
    version = registry.client.get_tag(name=f"{registry.package}/tags/two").version
    url = f"{registry.url}/packages/trainer/tags"
    for tag, body, said in (
        ("", {"version": version}, "tag_id"),
        ("no space", {"version": version}, "tag_id"),
        ("x", {}, "tag.version"),
        ("x", {"version": version.replace("trainer", "other")}, "not of the package"),
    ):
        reply = requests.post(url, params={"tagId": tag}, json=body, timeout=10)
        assert (reply.status_code, said in reply.text) == (400, True), reply.text
    unknown = {"version": f"{registry.package}/versions/sha256:0"}
    assert requests.post(url, params={"tagId": "x"}, json=unknown, timeout=10).status_code == 404


def test_a_tag_is_looked_up_fast(registry: Registry) -> None:
    """The launcher asks for one before every build."""
    started = time.monotonic()
    for _ in range(10):
        registry.client.get_tag(name=f"{registry.package}/tags/two")
    assert time.monotonic() - started < 2.0
