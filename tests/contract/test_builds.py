"""Cloud Build, driven by Google's own client over REST."""

from __future__ import annotations

import io
import re
import subprocess
import tarfile
import time
import uuid
from collections.abc import Iterator
from typing import Any

import pytest
import requests
from google.api_core import exceptions
from google.cloud.devtools.cloudbuild_v1 import Build

from tests.contract.conftest import build_client, storage_client
from tests.contract.servers import BUCKET, PROJECT, Emulator, until

DOCKER = "gcr.io/cloud-builders/docker"
REGION = f"projects/{PROJECT}/locations/us-central1"
FINAL = {"SUCCESS", "FAILURE", "TIMEOUT", "CANCELLED", "INTERNAL_ERROR", "EXPIRED"}


def source(emulator: Emulator, **files: str) -> dict[str, Any]:
    """Upload files as a build's source; a double underscore in a name stands for a dot."""
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w:gz") as archive:
        for name, text in files.items():
            entry = tarfile.TarInfo(name.replace("__", "."))
            entry.size = len(text.encode())
            archive.addfile(entry, io.BytesIO(text.encode()))
    blob = storage_client(emulator).bucket(BUCKET).blob(f"source/{uuid.uuid4()}.tgz")
    blob.upload_from_string(packed.getvalue())
    return {"storage_source": {"bucket": BUCKET, "object_": blob.name, "generation": blob.generation}}


def image_name() -> str:
    return f"us-central1-docker.pkg.dev/{PROJECT}/headway/trainer:contract-{uuid.uuid4().hex[:12]}"


def start(emulator: Emulator, **build: Any) -> str:
    operation = build_client(emulator).create_build(
        project_id=PROJECT, build={"logs_bucket": f"gs://{BUCKET}/logs", **build}
    )
    return str(operation.metadata.build.id)


def build(emulator: Emulator, **fields: Any) -> Build:
    return ended(emulator, start(emulator, **fields))


def ended(emulator: Emulator, build_id: str, seconds: float = 60) -> Build:
    client = build_client(emulator)

    def over() -> bool:
        return client.get_build(project_id=PROJECT, id=build_id).status.name in FINAL

    until(over, seconds=seconds, every=0.05)
    return client.get_build(project_id=PROJECT, id=build_id)


def log(emulator: Emulator, build_id: str) -> str:
    return requests.get(f"{emulator.url}/{BUCKET}/logs/log-{build_id}.txt", timeout=10).text


class TestWithoutAnEngine:
    def test_an_image_build_notes_that_the_name_stands_for_this_environment(self, emulator: Emulator) -> None:
        name = image_name()
        done = build(
            emulator,
            source=source(emulator, Dockerfile="FROM x"),
            steps=[{"name": DOCKER, "args": ["build", "-t", name, "."]}],
            images=[name],
        )
        assert done.status == Build.Status.SUCCESS, done.status_detail
        assert done.results.images[0].name == name
        assert "stands for this Python environment" in log(emulator, done.id)
        assert tag(emulator, name).status_code == 200

    def test_the_operation_ends_with_the_build(self, emulator: Emulator) -> None:
        name = image_name()
        operation = build_client(emulator).create_build(
            request={
                "parent": REGION,
                "project_id": PROJECT,
                "build": {
                    "source": source(emulator, Dockerfile="FROM x"),
                    "steps": [{"name": DOCKER, "args": ["build", "-t", name, "."]}],
                    "logs_bucket": f"gs://{BUCKET}",
                },
            }
        )
        result = operation.result(timeout=30)
        assert result.status == Build.Status.SUCCESS
        assert result.name.startswith("projects/123456789012/locations/us-central1/builds/")

    def test_a_missing_dockerfile_fails_the_step(self, emulator: Emulator) -> None:
        done = build(
            emulator,
            source=source(emulator, other="x"),
            steps=[{"name": DOCKER, "args": ["build", "-f", "trainer.Dockerfile", "."]}],
        )
        assert done.status == Build.Status.FAILURE
        assert done.failure_info.type_.name == "USER_BUILD_STEP"
        assert "there is no trainer.Dockerfile in the source" in log(emulator, done.id)

    def test_another_builder_is_refused_for_want_of_an_engine(self, emulator: Emulator) -> None:
        done = build(emulator, steps=[{"name": "ubuntu", "args": ["true"]}])
        assert done.status == Build.Status.FAILURE
        assert "ubuntu needs a Docker engine" in log(emulator, done.id)

    def test_a_source_that_is_not_there_fails_the_fetch(self, emulator: Emulator) -> None:
        missing = {"storage_source": {"bucket": BUCKET, "object_": "source/none.tgz"}}
        done = build(emulator, source=missing, steps=[{"name": DOCKER, "args": ["build", "."]}])
        assert done.status == Build.Status.FAILURE
        assert done.failure_info.type_.name == "FETCH_SOURCE_FAILED"
        assert f"gs://{BUCKET}/source/none.tgz" in done.status_detail

    def test_a_promised_image_that_was_not_built_fails_the_build(self, emulator: Emulator) -> None:
        name = image_name()
        done = build(emulator, steps=[{"name": DOCKER, "args": ["version"]}], images=[name])
        assert done.status == Build.Status.FAILURE
        assert done.failure_info.type_.name == "PUSH_IMAGE_NOT_FOUND"
        assert name in done.status_detail

    @pytest.mark.parametrize(
        ("fields", "message"),
        [
            ({"steps": []}, "no build steps"),
            (
                {"steps": [{"name": DOCKER, "args": ["$_NONE"]}]},
                '"_NONE" is not matched in the substitution data',
            ),
            (
                {"steps": [{"name": DOCKER, "args": ["${NONE}"]}]},
                '"NONE" is not a valid built-in substitution',
            ),
            (
                {"steps": [{"name": DOCKER}], "substitutions": {"_UNUSED": "x"}},
                'key "_UNUSED" in the substitution data is not matched in the template',
            ),
            ({"steps": [{"name": DOCKER, "wait_for": ["first"]}]}, 'depends on "first"'),
            ({"steps": [{"name": ""}]}, "build step 0 must specify name"),
            (
                {"steps": [{"name": DOCKER}], "logs_bucket": "gs://no-such-bucket"},
                "logs bucket does not exist",
            ),
        ],
    )
    def test_a_bad_build_is_refused_with_its_reason(
        self, emulator: Emulator, fields: dict[str, Any], message: str
    ) -> None:
        with pytest.raises(exceptions.BadRequest, match=re.escape(message)):
            start(emulator, **fields)

    def test_builds_are_listed_newest_first_within_their_location(self, emulator: Emulator) -> None:
        ids = [start(emulator, steps=[{"name": DOCKER, "args": ["version"]}]) for _ in range(2)]
        for build_id in ids:
            ended(emulator, build_id)
        listed = [b.id for b in build_client(emulator).list_builds(project_id=PROJECT)]
        assert listed[:2] == ids[::-1]
        request = {"parent": f"{REGION.rsplit('/', 1)[0]}/europe-west4", "project_id": PROJECT}
        assert list(build_client(emulator).list_builds(request=request)) == []

    def test_an_unknown_build_is_not_found(self, emulator: Emulator) -> None:
        with pytest.raises(exceptions.NotFound):
            build_client(emulator).get_build(project_id=PROJECT, id="none")


@pytest.mark.docker
class TestOnAnEngine:
    @pytest.fixture
    def name(self) -> Iterator[str]:
        made = image_name()
        yield made
        subprocess.run(["docker", "rmi", "-f", made], capture_output=True, check=False, timeout=60)

    def test_an_image_is_built_and_found_by_its_tag(
        self, docker_emulator: Emulator, base_image: str, name: str
    ) -> None:
        dockerfile = "ARG BASE\nFROM ${BASE}\nCOPY hello /hello\nRUN cat /hello\n"
        done = build(
            docker_emulator,
            source=source(docker_emulator, trainer__Dockerfile=dockerfile, hello="built here\n"),
            steps=[
                {
                    "name": DOCKER,
                    "args": [
                        "build",
                        "-f",
                        "trainer.Dockerfile",
                        "--build-arg",
                        "BASE=$_BASE",
                        "-t",
                        name,
                        ".",
                    ],
                }
            ],
            images=[name],
            substitutions={"_BASE": base_image},
        )
        assert done.status == Build.Status.SUCCESS, log(docker_emulator, done.id)
        assert done.results.images[0].digest.startswith("sha256:")
        assert done.start_time <= done.finish_time
        text = log(docker_emulator, done.id)
        assert text.index("FETCHSOURCE") < text.index("built here") < text.index("PUSH") < text.index("DONE")
        assert tag(docker_emulator, name).json()["version"].endswith(done.results.images[0].digest)

    def test_the_log_can_be_read_while_the_build_runs(
        self, docker_emulator: Emulator, base_image: str
    ) -> None:
        script = "echo begun; sleep 4; echo over"
        build_id = start(docker_emulator, steps=[{"name": base_image, "script": script}])
        until(lambda: "begun" in log(docker_emulator, build_id), seconds=5)
        assert "over" not in log(docker_emulator, build_id)
        assert ended(docker_emulator, build_id).status == Build.Status.SUCCESS
        assert "over" in log(docker_emulator, build_id)

    def test_a_failing_dockerfile_ends_the_log_with_what_failed(
        self, docker_emulator: Emulator, base_image: str, name: str
    ) -> None:
        dockerfile = f"FROM {base_image}\nRUN echo looking; sleep 0.3; echo 'no such package' >&2; exit 4\n"
        done = build(
            docker_emulator,
            source=source(docker_emulator, Dockerfile=dockerfile),
            steps=[{"name": DOCKER, "args": ["build", "-t", name, "."]}],
            images=[name],
        )
        assert done.status == Build.Status.FAILURE
        assert f'build step 0 "{DOCKER}" failed' in done.status_detail
        lines = log(docker_emulator, done.id).rstrip().splitlines()
        assert lines[-1] == f'ERROR: build step 0 "{DOCKER}" failed: step exited with non-zero status: 4'
        assert lines.index("looking") < lines.index("no such package") < len(lines) - 2
        assert tag(docker_emulator, name).status_code == 404

    def test_steps_share_the_workspace_and_have_their_environment(
        self, docker_emulator: Emulator, base_image: str
    ) -> None:
        done = build(
            docker_emulator,
            source=source(docker_emulator, given="from source"),
            steps=[
                {"name": base_image, "entrypoint": "sh", "args": ["-c", "mkdir sub; cat given > sub/made"]},
                {
                    "name": base_image,
                    "id": "second",
                    "dir": "sub",
                    "env": ["COLOUR=$_COLOUR"],
                    "script": "echo $(cat made) $COLOUR in $PWD",
                },
            ],
            substitutions={"_COLOUR": "blue"},
        )
        assert done.status == Build.Status.SUCCESS, log(docker_emulator, done.id)
        assert 'Step #1 - "second": from source blue in /workspace/sub' in log(docker_emulator, done.id)
        assert [step.status for step in done.steps] == [Build.Status.SUCCESS] * 2

    def test_a_cancelled_build_stops_its_container(self, docker_emulator: Emulator, base_image: str) -> None:
        build_id = start(docker_emulator, steps=[{"name": base_image, "script": "echo begun; sleep 120"}])
        until(lambda: "begun" in log(docker_emulator, build_id), seconds=10)
        started = time.monotonic()
        cancelled = build_client(docker_emulator).cancel_build(project_id=PROJECT, id=build_id)
        assert cancelled.status == Build.Status.CANCELLED
        assert time.monotonic() - started < 15
        words = ["docker", "ps", "-aq", "--filter", f"name=headway-build-{build_id}"]
        assert subprocess.run(words, capture_output=True, check=True, timeout=30).stdout == b""

    def test_a_build_cut_off_by_a_crash_is_ended_with_its_container(
        self, mortal: Emulator, base_image: str
    ) -> None:
        build_id = start(mortal, steps=[{"name": base_image, "script": "echo begun; sleep 120"}])
        until(lambda: "begun" in log(mortal, build_id), seconds=10)
        mortal.kill()
        mortal.start()
        cut = ended(mortal, build_id, seconds=5)
        assert cut.status == Build.Status.INTERNAL_ERROR
        assert "Submit it again" in cut.status_detail
        words = ["docker", "ps", "-aq", "--filter", f"name=headway-build-{build_id}"]
        assert subprocess.run(words, capture_output=True, check=True, timeout=30).stdout == b""

    def test_a_build_over_its_timeout_is_stopped(self, docker_emulator: Emulator, base_image: str) -> None:
        done = build(
            docker_emulator, steps=[{"name": base_image, "script": "sleep 120"}], timeout={"seconds": 2}
        )
        assert done.status == Build.Status.TIMEOUT
        assert "timed out after 2 s" in done.status_detail


def tag(emulator: Emulator, image: str) -> requests.Response:
    """What Artifact Registry says of an image's tag."""
    path, _, name = image.rpartition(":")
    package = path.rsplit("/", 1)[1]
    url = f"{emulator.url}/artifactregistry/v1/{REGION}/repositories/headway/packages/{package}/tags/{name}"
    return requests.get(url, timeout=10)
