"""Cloud Build's other calls by Google's client: list, retry, approve, operations, triggers."""

from __future__ import annotations

import uuid
from typing import Any

import pytest
import requests
from google.api_core import exceptions
from google.cloud.devtools.cloudbuild_v1 import Build, BuildTrigger

from tests.contract.conftest import build_client
from tests.contract.servers import PROJECT, Emulator, until
from tests.contract.test_builds import REGION, build, ended, log, start

NAME = "python:3.11-slim"
QUICK: dict[str, Any] = {"steps": [{"name": NAME, "script": "true"}]}


def made(emulator: Emulator, **fields: Any) -> BuildTrigger:
    """A trigger with a name of its own."""
    trigger = {"name": f"t-{uuid.uuid4().hex[:8]}", **fields}
    return build_client(emulator).create_build_trigger(project_id=PROJECT, trigger=trigger)


def run(emulator: Emulator, trigger: BuildTrigger, **source: Any) -> Build:
    operation = build_client(emulator).run_build_trigger(
        project_id=PROJECT, trigger_id=trigger.id, source=source or None
    )
    build_now: Build = operation.metadata.build
    return build_now


class TestBuilds:
    def test_a_filter_takes_tags_status_and_times(self, emulator: Emulator) -> None:
        tag = f"tag-{uuid.uuid4().hex[:8]}"
        good = build(emulator, **QUICK, tags=[tag, "other"])
        bad = build(emulator, steps=[{"name": NAME, "script": "false"}], tags=[tag])
        client = build_client(emulator)

        def found(text: str) -> list[str]:
            request = {"project_id": PROJECT, "filter": f'tags="{tag}" AND {text}'}
            return [one.id for one in client.list_builds(request=request)]

        assert found('status="SUCCESS"') == [good.id]
        assert found('status!="SUCCESS"') == [bad.id]
        assert found('(status="SUCCESS" OR status="FAILURE")') == [bad.id, good.id]
        assert found('tags="other"') == [good.id]
        assert found(f'create_time>"{good.create_time.rfc3339()}"') == [bad.id]
        assert found('create_time<"2020-01-01T00:00:00+01:00"') == []
        assert found(f'build_id="{bad.id}"') == [bad.id]

    def test_a_page_leads_to_the_next_and_a_wrong_token_is_refused(self, emulator: Emulator) -> None:
        """ListBuildsRequest.page_token: "If the token is rejected for any reason, INVALID_ARGUMENT"."""
        tag = f"tag-{uuid.uuid4().hex[:8]}"
        ids = [build(emulator, **QUICK, tags=[tag]).id for _ in range(3)]
        client = build_client(emulator)
        request: dict[str, Any] = {"project_id": PROJECT, "filter": f'tags="{tag}"', "page_size": 2}
        pages = list(client.list_builds(request=request).pages)
        assert [[one.id for one in page.builds] for page in pages] == [ids[:0:-1], ids[:1]]
        with pytest.raises(exceptions.BadRequest):
            client.list_builds(request={**request, "page_token": "7"})

    def test_a_build_is_found_in_its_own_location_alone(self, emulator: Emulator) -> None:
        """The legacy path serves "global" only, as the discovery document notes on each method."""
        client = build_client(emulator)
        operation = client.create_build(request={"parent": REGION, "build": QUICK})
        build_id = operation.metadata.build.id
        operation.result(timeout=30)
        named = client.get_build(request={"name": f"{REGION}/builds/{build_id}"})
        assert named.id == build_id
        both = {"name": f"{REGION}/builds/{build_id}", "project_id": PROJECT, "id": build_id}
        assert client.get_build(request=both).id == build_id
        with pytest.raises(exceptions.NotFound):
            client.get_build(project_id=PROJECT, id=build_id)

    def test_a_retry_is_a_new_build_of_the_same_request(self, emulator: Emulator) -> None:
        first = build(
            emulator,
            steps=[{"name": NAME, "script": "echo $_A; false", "env": ["_A=$_A.$BUILD_ID"]}],
            substitutions={"_A": "x"},
        )
        operation = build_client(emulator).retry_build(project_id=PROJECT, id=first.id)
        second = ended(emulator, operation.metadata.build.id)
        assert (second.id != first.id, second.status) == (True, Build.Status.FAILURE)
        assert f"x.{second.id}" in log(emulator, second.id)

    def test_the_operation_of_a_failed_build_raises_what_failed(self, emulator: Emulator) -> None:
        operation = build_client(emulator).create_build(
            project_id=PROJECT, build={"steps": [{"name": NAME, "script": "exit 2"}]}
        )
        with pytest.raises(exceptions.GoogleAPICallError, match="Build failed"):
            operation.result(timeout=30)

    def test_cancelling_the_operation_cancels_the_build(self, emulator: Emulator) -> None:
        steps = [{"name": NAME, "script": "echo begun; sleep 120"}]
        operation = build_client(emulator).create_build(project_id=PROJECT, build={"steps": steps})
        assert operation.cancel()
        assert ended(emulator, operation.metadata.build.id).status == Build.Status.CANCELLED

    def test_a_build_that_is_over_cannot_be_cancelled(self, emulator: Emulator) -> None:
        done = build(emulator, **QUICK)
        with pytest.raises(exceptions.BadRequest, match="has already ended"):
            build_client(emulator).cancel_build(project_id=PROJECT, id=done.id)

    def test_a_build_without_a_trigger_is_not_pending_approval(self, emulator: Emulator) -> None:
        done = build(emulator, **QUICK)
        name = f"projects/{PROJECT}/builds/{done.id}"
        with pytest.raises(exceptions.BadRequest, match="not pending"):
            build_client(emulator).approve_build(name=name, approval_result={"decision": "APPROVED"})


class TestTriggers:
    def test_a_trigger_is_made_listed_changed_and_deleted(self, emulator: Emulator) -> None:
        client = build_client(emulator)
        trigger = made(emulator, build=QUICK, description="first", tags=["a"])
        assert client.get_build_trigger(project_id=PROJECT, trigger_id=trigger.name) == trigger
        assert trigger.id in [one.id for one in client.list_build_triggers(project_id=PROJECT)]
        mask = {"paths": ["description"]}
        changed = client.update_build_trigger(
            request={
                "project_id": PROJECT,
                "trigger_id": trigger.id,
                "trigger": {"description": "second", "name": "ignored"},
                "update_mask": mask,
            }
        )
        assert (changed.description, changed.name, list(changed.tags)) == ("second", trigger.name, ["a"])
        client.delete_build_trigger(project_id=PROJECT, trigger_id=trigger.id)
        with pytest.raises(exceptions.NotFound):
            client.get_build_trigger(project_id=PROJECT, trigger_id=trigger.id)

    def test_a_run_makes_a_build_with_the_trigger_s_and_the_caller_s_values(self, emulator: Emulator) -> None:
        """BuildOptions: a triggered build always matches loosely and expands values."""
        step = {
            "name": NAME,
            "env": ["ALL=$TRIGGER_NAME $_A ${_B:-none} $_C ${_A^^} $BRANCH_NAME"],
            "script": "echo $ALL",
        }
        template = {"steps": [step], "substitutions": {"_A": "template", "_UNUSED": "x"}, "tags": ["mine"]}
        trigger = made(emulator, build=template, substitutions={"_A": "trigger"})
        done = ended(emulator, run(emulator, trigger, substitutions={"_C": "call"}, branch_name="main").id)
        assert done.status == Build.Status.SUCCESS, done.status_detail
        assert done.build_trigger_id == trigger.id
        assert list(done.tags) == ["mine", f"trigger-{trigger.id}"]
        request = {"project_id": PROJECT, "filter": f'trigger_id="{trigger.id}"'}
        assert [one.id for one in build_client(emulator).list_builds(request=request)] == [done.id]
        bucket = done.logs_bucket.removeprefix("gs://")
        text = requests.get(f"{emulator.url}/{bucket}/log-{done.id}.txt", timeout=10).text
        assert f"{trigger.name} trigger none call TRIGGER main" in text

    def test_a_regional_trigger_runs_in_its_region(self, emulator: Emulator) -> None:
        client = build_client(emulator)
        name = f"t-{uuid.uuid4().hex[:8]}"
        trigger = client.create_build_trigger(
            request={"parent": REGION, "trigger": {"name": name, "build": QUICK}}
        )
        assert trigger.resource_name == f"{REGION}/triggers/{trigger.id}"
        operation = client.run_build_trigger(request={"name": trigger.resource_name})
        assert operation.result(timeout=30).name.split("/")[3] == "us-central1"

    def test_a_build_that_needs_approval_starts_when_it_is_approved(self, emulator: Emulator) -> None:
        trigger = made(emulator, build=QUICK, approval_config={"approval_required": True})
        client = build_client(emulator)
        pending = run(emulator, trigger)
        assert (pending.status.name, pending.approval.state.name) == ("PENDING", "PENDING")
        name = f"projects/{PROJECT}/builds/{pending.id}"
        operation = client.approve_build(name=name, approval_result={"decision": "APPROVED", "comment": "go"})
        done = operation.result(timeout=30)
        assert (done.status.name, done.approval.state.name) == ("SUCCESS", "APPROVED")
        assert done.approval.result.comment == "go"

    def test_a_rejected_build_never_starts(self, emulator: Emulator) -> None:
        trigger = made(emulator, build=QUICK, approval_config={"approval_required": True})
        pending = run(emulator, trigger)
        name = f"projects/{PROJECT}/builds/{pending.id}"
        build_client(emulator).approve_build(name=name, approval_result={"decision": "REJECTED"})
        done = ended(emulator, pending.id)
        assert (done.status.name, done.approval.state.name) == ("CANCELLED", "REJECTED")
        assert not done.start_time

    def test_a_build_cancelled_before_its_approval_says_so(self, emulator: Emulator) -> None:
        """BuildApproval.State.CANCELLED: "Build was cancelled while it was still pending approval"."""
        pending = run(emulator, made(emulator, build=QUICK, approval_config={"approval_required": True}))
        done = build_client(emulator).cancel_build(project_id=PROJECT, id=pending.id)
        assert (done.status.name, done.approval.state.name) == ("CANCELLED", "CANCELLED")

    def test_what_only_a_repository_can_serve_is_kept_and_not_run(self, emulator: Emulator) -> None:
        template = {"repo_name": "code", "branch_name": "^main$"}
        trigger = made(emulator, filename="cloudbuild.yaml", trigger_template=template)
        with pytest.raises(exceptions.MethodNotImplemented, match="trigger_template"):
            run(emulator, trigger)

    @pytest.mark.parametrize(
        ("fields", "message"),
        [
            # BuildTrigger.name: alphanumeric characters and dashes, begin and end with an alphanumeric one
            ({"name": "-no", "build": QUICK}, "invalid trigger name"),
            # BuildTrigger.substitutions: "The keys must match the following regular expression"
            (
                {"build": QUICK, "substitutions": {"A": "1"}},
                "does not respect format",
            ),
            # BuildTrigger.build_template is a oneof
            ({}, "exactly one of build"),
            # BuildTrigger.github: "Mutually exclusive with trigger_template"
            (
                {
                    "filename": "c.yaml",
                    "github": {"owner": "o", "name": "n"},
                    "trigger_template": {"repo_name": "r"},
                },
                "mutually exclusive",
            ),
            # BuildTrigger.build is checked as any build
            ({"build": {"steps": []}}, "no build steps are specified"),
        ],
    )
    def test_a_bad_trigger_is_refused(self, emulator: Emulator, fields: dict[str, Any], message: str) -> None:
        with pytest.raises(exceptions.BadRequest, match=message):
            made(emulator, **fields)

    def test_a_name_belongs_to_one_trigger(self, emulator: Emulator) -> None:
        """BuildTrigger.name: "Must be unique within the project"."""
        trigger = made(emulator, build=QUICK)
        with pytest.raises(exceptions.Conflict):
            made(emulator, name=trigger.name, build=QUICK)


class TestTime:
    @pytest.fixture
    def stepped(self, storage_server: Any, tmp_path: Any) -> Any:
        """An emulator whose clock stands still until a test steps it."""
        emulator = Emulator(tmp_path / "state", storage_server.url, clock="virtual")
        emulator.start()
        requests.post(
            f"{emulator.url}/storage/v1/b", params={"project": PROJECT}, json={"name": "contract"}, timeout=10
        )
        yield emulator
        assert emulator.stop() == 0
        assert "Traceback" not in emulator.log, emulator.log

    def advance(self, emulator: Emulator, time: str) -> None:
        url = f"{emulator.url}/emulator/clock"
        requests.post(url, json={"advance": time}, timeout=40).raise_for_status()

    def test_a_day_s_timeout_is_a_step_of_the_clock(self, stepped: Emulator) -> None:
        steps = [{"name": NAME, "script": "echo begun; sleep 600"}]
        build_id = start(stepped, steps=steps, timeout={"seconds": 86400})
        until(lambda: "begun" in log(stepped, build_id), seconds=20)
        client = build_client(stepped)
        self.advance(stepped, "23h59m")
        assert client.get_build(project_id=PROJECT, id=build_id).status == Build.Status.WORKING
        self.advance(stepped, "1m")
        done = client.get_build(project_id=PROJECT, id=build_id)
        assert done.status == Build.Status.TIMEOUT
        assert (done.finish_time - done.start_time).total_seconds() == 86400

    def test_a_build_that_waits_too_long_expires_and_another_takes_its_turn(self, stepped: Emulator) -> None:
        """Build.queue_ttl; ten builds of a location run at the same time."""
        client = build_client(stepped)
        running = [start(stepped, steps=[{"name": NAME, "script": "sleep 600"}]) for _ in range(10)]
        waiting = start(stepped, **QUICK)
        hurried = start(stepped, **QUICK, queue_ttl={"seconds": 60})
        assert client.get_build(project_id=PROJECT, id=hurried).status == Build.Status.QUEUED
        self.advance(stepped, "61s")
        expired = client.get_build(project_id=PROJECT, id=hurried)
        assert (expired.status, bool(expired.start_time)) == (Build.Status.EXPIRED, False)
        assert client.get_build(project_id=PROJECT, id=waiting).status == Build.Status.QUEUED
        client.cancel_build(project_id=PROJECT, id=running[0])
        assert ended(stepped, waiting).status == Build.Status.SUCCESS

    def test_a_build_that_waits_outlives_the_emulator(self, stepped: Emulator) -> None:
        running = [start(stepped, steps=[{"name": NAME, "script": "sleep 600"}]) for _ in range(10)]
        waiting = start(stepped, **QUICK)
        pending = run(stepped, made(stepped, build=QUICK, approval_config={"approval_required": True}))
        stepped.kill()
        stepped.start()
        assert ended(stepped, waiting).status == Build.Status.SUCCESS
        assert {ended(stepped, one).status.name for one in running} == {"INTERNAL_ERROR"}
        again = build_client(stepped).get_build(project_id=PROJECT, id=pending.id)
        assert again.status == Build.Status.PENDING
