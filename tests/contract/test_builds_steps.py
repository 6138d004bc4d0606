"""What the steps of a build do, by Google's client, the same with containers and with processes."""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Iterator
from typing import Any

import pytest
import requests
from google.cloud.devtools.cloudbuild_v1 import Build

from tests.contract.conftest import build_client, storage_client
from tests.contract.servers import BUCKET, PROJECT, Emulator, until
from tests.contract.test_builds import build, ended, log, source, start

MEET = "for i in $(seq 200); do [ -e {other} ] && exit 0; sleep 0.05; done; exit 1"
"""Waits for a file that another step makes, at most 10 s."""


@pytest.fixture(params=["process", pytest.param("docker", marks=pytest.mark.docker)])
def builder(request: pytest.FixtureRequest) -> Emulator:
    """An emulator of each executor in turn."""
    name = "emulator" if request.param == "process" else "docker_emulator"
    found: Emulator = request.getfixturevalue(name)
    return found


@pytest.fixture
def image(builder: Emulator, request: pytest.FixtureRequest) -> str:
    return "python:3.11-slim" if builder.executor == "process" else str(request.getfixturevalue("base_image"))


def test_what_a_step_leaves_behind_ends_with_it(builder: Emulator, image: str) -> None:
    """A step is a container: it is over when its first process is, and so is all that this one started."""
    found = build(builder, steps=[{"name": image, "script": "sleep 300 & echo done"}])
    assert found.status.name == "SUCCESS"
    assert "done" in log(builder, found.id)


@pytest.fixture
def secret(builder: Emulator) -> Iterator[str]:
    """A secret's version with the value hush-7, in Secret Manager."""
    secrets = f"{builder.url}/secretmanager/v1/projects/{PROJECT}/secrets"
    made = requests.post(
        secrets, params={"secretId": "of-builds"}, json={"replication": {"automatic": {}}}, timeout=10
    )
    made.raise_for_status()
    payload = {"data": base64.b64encode(b"hush-7").decode()}
    added = requests.post(f"{secrets}/of-builds:addVersion", json={"payload": payload}, timeout=10)
    added.raise_for_status()
    yield f"projects/{PROJECT}/secrets/of-builds/versions/latest"
    requests.delete(f"{secrets}/of-builds", timeout=10).raise_for_status()


def arm(emulator: Emulator, **fault: Any) -> None:
    requests.post(f"{emulator.url}/emulator/faults", json=fault, timeout=10).raise_for_status()


def entries(emulator: Emulator, build_id: str) -> list[str]:
    """The build's lines in Cloud Logging."""
    body = {
        "resourceNames": [f"projects/{PROJECT}"],
        "filter": f'resource.type="build" AND resource.labels.build_id="{build_id}"',
        "pageSize": 1000,
    }
    answer = requests.post(f"{emulator.url}/logging/v2/entries:list", json=body, timeout=10)
    answer.raise_for_status()
    return [entry["textPayload"] for entry in answer.json().get("entries", [])]


def statuses(done: Build) -> list[str]:
    return [step.status.name for step in done.steps]


class TestOrder:
    def test_steps_that_wait_for_nothing_run_at_the_same_time(self, builder: Emulator, image: str) -> None:
        """Each ends only when it sees what the other one made."""
        steps = [
            {"name": image, "wait_for": ["-"], "script": f"touch {mine}; {MEET.format(other=other)}"}
            for mine, other in (("a", "b"), ("b", "a"))
        ]
        done = build(builder, steps=steps)
        assert done.status == Build.Status.SUCCESS, log(builder, done.id)

    def test_a_step_waits_for_those_it_names_and_for_no_other(self, builder: Emulator, image: str) -> None:
        steps = [
            {"name": image, "id": "slow", "script": MEET.format(other="quick-is-done")},
            {"name": image, "id": "first", "wait_for": ["-"], "script": "touch one"},
            {
                "name": image,
                "id": "quick",
                "wait_for": ["first"],
                "script": "[ -e one ] && touch quick-is-done",
            },
            {"name": image, "id": "last", "script": "echo all $(ls | sort | xargs)"},
        ]
        done = build(builder, steps=steps)
        assert done.status == Build.Status.SUCCESS, log(builder, done.id)
        assert 'Step #3 - "last": all one quick-is-done' in log(builder, done.id)

    def test_the_first_failure_ends_what_runs_beside_it_and_what_waits(
        self, builder: Emulator, image: str
    ) -> None:
        steps = [
            {"name": image, "id": "long", "script": "touch began; sleep 120"},
            {
                "name": image,
                "id": "bad",
                "wait_for": ["-"],
                "script": f"({MEET.format(other='began')}); exit 3",
            },
            {"name": image, "id": "never", "script": "echo never"},
        ]
        done = build(builder, steps=steps)
        assert done.status == Build.Status.FAILURE
        assert done.failure_info.type_.name == "USER_BUILD_STEP"
        assert done.status_detail.endswith("failed: step exited with non-zero status: 3")
        assert statuses(done) == ["CANCELLED", "FAILURE", "QUEUED"]
        assert done.steps[1].exit_code == 3
        assert "never" not in log(builder, done.id).replace('"never"', "")

    def test_the_log_marks_each_step_and_says_when_it_begins_and_ends(
        self, builder: Emulator, image: str
    ) -> None:
        done = build(builder, steps=[{"name": image, "id": n, "script": f"echo in {n}"} for n in ("x", "y")])
        lines = log(builder, done.id).splitlines()
        told = [
            'Starting Step #0 - "x"',
            'Step #0 - "x": in x',
            'Finished Step #0 - "x"',
            'Starting Step #1 - "y"',
        ]
        assert [line for line in lines if line in told] == told

    def test_the_status_of_a_step_is_told_only_when_the_build_is_over(
        self, builder: Emulator, image: str
    ) -> None:
        """BuildStep.status: "only updated on build completion"."""
        steps = [{"name": image, "script": "true"}, {"name": image, "script": "echo begun; sleep 120"}]
        build_id = start(builder, steps=steps)
        until(lambda: "begun" in log(builder, build_id), seconds=20)
        client = build_client(builder)
        assert statuses(client.get_build(project_id=PROJECT, id=build_id)) == ["STATUS_UNKNOWN"] * 2
        cancelled = client.cancel_build(project_id=PROJECT, id=build_id)
        assert statuses(cancelled) == ["SUCCESS", "CANCELLED"]
        assert cancelled.steps[0].timing.start_time <= cancelled.steps[0].timing.end_time


class TestFailures:
    def test_a_step_may_fail_where_it_is_allowed_to(self, builder: Emulator, image: str) -> None:
        steps = [
            {"name": image, "script": "exit 5", "allow_failure": True},
            {"name": image, "script": "true"},
        ]
        done = build(builder, steps=steps)
        assert done.status == Build.Status.SUCCESS
        assert statuses(done) == ["FAILURE", "SUCCESS"]
        assert (done.steps[0].exit_code, len(done.warnings)) == (5, 1)

    @pytest.mark.parametrize(("code", "status"), [(7, "SUCCESS"), (8, "FAILURE")])
    def test_exit_codes_decide_where_failure_is_allowed_as_well(
        self, builder: Emulator, image: str, code: int, status: str
    ) -> None:
        """BuildStep.allow_exit_codes: "If allow_failure is also specified, this field" wins."""
        step = {"name": image, "script": f"exit {code}", "allow_failure": True, "allow_exit_codes": [7]}
        assert build(builder, steps=[step]).status.name == status

    def test_a_step_over_its_own_timeout_ends_the_build(self, builder: Emulator, image: str) -> None:
        steps = [{"name": image, "script": "sleep 120", "timeout": {"seconds": 1}}]
        done = build(builder, steps=steps)
        assert done.status == Build.Status.TIMEOUT
        assert statuses(done) == ["TIMEOUT"]
        assert "timed out after 1 s" in done.status_detail

    def test_a_fault_gives_a_step_its_exit_code(self, builder: Emulator, image: str) -> None:
        arm(builder, kind="build", step="fragile", exit_code=137)
        steps = [{"name": image, "script": "true"}, {"name": image, "id": "fragile", "script": "true"}]
        done = build(builder, steps=steps)
        assert (done.status.name, done.steps[1].exit_code) == ("FAILURE", 137)
        assert build(builder, steps=steps).status == Build.Status.SUCCESS

    def test_a_fault_ends_a_build_with_a_status(self, builder: Emulator, image: str) -> None:
        arm(builder, kind="build", step="1", status="INTERNAL_ERROR")
        done = build(builder, steps=[{"name": image, "script": "true"}] * 2)
        assert done.status == Build.Status.INTERNAL_ERROR
        assert statuses(done) == ["SUCCESS", "INTERNAL_ERROR"]


class TestEnvironment:
    def test_a_step_s_variable_wins_over_the_build_s(self, builder: Emulator, image: str) -> None:
        done = build(
            builder,
            steps=[{"name": image, "env": ["A=step"], "script": "echo $A $B"}],
            options={"env": ["A=build", "B=of-$PROJECT_ID"]},
        )
        assert f"step of-{PROJECT}" in log(builder, done.id)

    def test_a_script_sees_substitutions_only_as_variables(self, builder: Emulator, image: str) -> None:
        steps = [
            {"name": image, "script": 'echo "0: $_COLOUR $PROJECT_ID."', "automap_substitutions": False},
            {"name": image, "script": 'echo "1: $_COLOUR $PROJECT_ID."'},
        ]
        done = build(
            builder, steps=steps, substitutions={"_COLOUR": "blue"}, options={"automap_substitutions": True}
        )
        assert "Step #0: 0:  ." in log(builder, done.id)
        assert f"Step #1: 1: blue {PROJECT}." in log(builder, done.id)

    def test_arguments_go_to_the_entrypoint_with_their_values_filled_in(
        self, builder: Emulator, image: str
    ) -> None:
        name = "${_FILE##*/}"
        done = build(
            builder,
            steps=[
                {
                    "name": image,
                    "entrypoint": "python3",
                    "args": ["-c", f"print('$_GREETING', '{name}', '$$HOME')"],
                }
            ],
            substitutions={"_FILE": "a/b.txt", "_GREETING": "to ${_NAME^}", "_NAME": "ada"},
            options={"dynamic_substitutions": True},
        )
        assert "to Ada b.txt $HOME" in log(builder, done.id)

    def test_a_volume_is_shared_by_the_steps_that_name_it(self, builder: Emulator, image: str) -> None:
        mounted = {"volumes": [{"name": "vol1", "path": "/shared/one"}]}
        steps = [
            {
                "name": image,
                "script": "echo from vol1 > /shared/one/file; echo global > /everywhere/file",
                **mounted,
            },
            {"name": image, "script": "cat /shared/one/file /everywhere/file", **mounted},
        ]
        done = build(builder, steps=steps, options={"volumes": [{"name": "all", "path": "/everywhere"}]})
        assert done.status == Build.Status.SUCCESS, log(builder, done.id)
        assert "Step #1: from vol1\nStep #1: global\n" in log(builder, done.id)

    def test_a_secret_reaches_its_step_and_never_the_log(
        self, builder: Emulator, image: str, secret: str
    ) -> None:
        script = '[ ${#TOKEN} = 6 ] && echo "it is $TOKEN."'
        done = build(
            builder,
            steps=[
                {"name": image, "script": script, "secret_env": ["TOKEN"]},
                {"name": image, "script": 'echo "none: ${TOKEN:-unset}"'},
            ],
            available_secrets={"secret_manager": [{"version_name": secret, "env": "TOKEN"}]},
        )
        assert done.status == Build.Status.SUCCESS, log(builder, done.id)
        assert "Step #0: it is ***." in log(builder, done.id)
        assert "Step #1: none: unset" in log(builder, done.id)
        everything = log(builder, done.id) + "\n".join(entries(builder, done.id)) + str(done)
        assert "hush-7" not in everything

    def test_a_secret_that_is_not_there_fails_the_build(self, builder: Emulator, image: str) -> None:
        missing = "projects/$PROJECT_ID/secrets/none/versions/1"
        done = build(
            builder,
            steps=[{"name": image, "script": "true"}],
            options={"secret_env": ["TOKEN"]},
            available_secrets={"secret_manager": [{"version_name": missing, "env": "TOKEN"}]},
        )
        assert done.status == Build.Status.FAILURE
        assert "failed to access secret version for secret" in done.status_detail
        assert f"projects/{PROJECT}/secrets/none/versions/1" in done.status_detail


class TestResults:
    def test_artifacts_are_uploaded_with_a_manifest(self, builder: Emulator, image: str) -> None:
        """The manifest has a line of JSON for each file, as Google's page on storing artifacts shows it."""
        script = "mkdir -p out/deep; echo 1 > out/a.txt; echo 2 > out/b.txt; echo 3 > out/deep/c.bin"
        objects = {"location": f"gs://{BUCKET}/made/$BUILD_ID", "paths": ["out/*.txt", "out/**/*.bin"]}
        done = build(builder, steps=[{"name": image, "script": script}], artifacts={"objects": objects})
        assert done.status == Build.Status.SUCCESS, log(builder, done.id)
        place = f"gs://{BUCKET}/made/{done.id}/"
        assert done.results.num_artifacts == 3
        assert done.results.artifact_manifest == f"{place}artifacts-{done.id}.json"
        bucket = storage_client(builder).bucket(BUCKET)
        manifest = bucket.blob(f"made/{done.id}/artifacts-{done.id}.json").download_as_text()
        found = [json.loads(line)["location"] for line in manifest.splitlines()]
        assert [re.sub(r"#\d+$", "", name) for name in found] == [
            f"{place}{n}" for n in ("a.txt", "b.txt", "c.bin")
        ]
        assert bucket.blob(f"made/{done.id}/b.txt").download_as_text() == "2\n"

    def test_an_artifact_that_was_not_made_fails_the_build(self, builder: Emulator, image: str) -> None:
        objects = {"location": f"gs://{BUCKET}", "paths": ["none/*"]}
        done = build(builder, steps=[{"name": image, "script": "true"}], artifacts={"objects": objects})
        assert (done.status.name, done.failure_info.type_.name) == ("FAILURE", "PUSH_FAILED")
        assert "none/*" in done.status_detail

    def test_a_step_gives_its_output_by_a_file(self, builder: Emulator, image: str) -> None:
        """Results.build_step_outputs: written to $BUILDER_OUTPUT/output, one for each step."""
        steps = [
            {"name": image, "script": "true"},
            {"name": image, "script": "echo hi > $BUILDER_OUTPUT/output"},
        ]
        assert list(build(builder, steps=steps).results.build_step_outputs) == [b"", b"hi\n"]

    def test_the_source_s_generation_and_hash_are_told(self, builder: Emulator, image: str) -> None:
        given = source(builder, hello="there")
        done = build(
            builder,
            source=given,
            steps=[{"name": image, "script": "cat hello"}],
            options={"source_provenance_hash": ["SHA256"]},
        )
        resolved = done.source_provenance.resolved_storage_source
        assert resolved.generation == given["storage_source"]["generation"]
        (hashes,) = done.source_provenance.file_hashes.values()
        assert len(hashes.file_hash[0].value) == 32
        assert set(done.timing) == {"FETCHSOURCE", "BUILD"}

    @pytest.mark.parametrize(
        ("logging", "in_bucket", "in_logging"),
        [
            ("LEGACY", True, True),
            ("GCS_ONLY", True, False),
            ("CLOUD_LOGGING_ONLY", False, True),
            ("NONE", False, False),
        ],
    )
    def test_the_log_is_where_the_build_asks_for_it(
        self, builder: Emulator, image: str, logging: str, in_bucket: bool, in_logging: bool
    ) -> None:
        steps = [{"name": image, "script": "echo seen"}]
        done = build(builder, steps=steps, options={"logging": logging})
        assert ("seen" in log(builder, done.id)) == in_bucket
        assert ("seen" in entries(builder, done.id)) == in_logging

    def test_a_build_without_streaming_has_its_log_at_the_end(self, builder: Emulator, image: str) -> None:
        """BuildOptions.log_streaming_option STREAM_OFF."""
        steps = [{"name": image, "script": "echo begun; " + MEET.format(other="go")}]
        build_id = start(builder, steps=steps, options={"log_streaming_option": "STREAM_OFF"})
        until(lambda: "begun" in entries(builder, build_id), seconds=20)
        assert "begun" not in log(builder, build_id)
        build_client(builder).cancel_build(project_id=PROJECT, id=build_id)
        assert "begun" in log(builder, build_id)
        assert ended(builder, build_id).status == Build.Status.CANCELLED
