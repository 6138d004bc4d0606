"""The pieces of a build that need neither engine nor server."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from headway_emulator.engine import substitutions
from headway_emulator.engine.build_processes import NotedSteps
from headway_emulator.engine.build_steps import Command, EngineSteps, Step, StepError
from headway_emulator.engine.builds import Builds
from headway_emulator.engine.clock import SystemClock
from headway_emulator.engine.faults import Faults
from headway_emulator.engine.images import NotedImages
from headway_emulator.engine.objects import ObjectError
from headway_emulator.engine.store import Store
from headway_emulator.errors import ApiError
from tests.unit.emulator.test_job_parts import settings

DOCKER = "gcr.io/cloud-builders/docker"
BUILT_IN = substitutions.built_in("headway-local", "123", "b-1", "global")


def filled(**build: Any) -> dict[str, Any]:
    return substitutions.apply({"steps": [{"name": DOCKER}], **build}, BUILT_IN)


class TestSubstitutions:
    def test_names_are_filled_in_wherever_a_build_has_text(self) -> None:
        build = filled(
            steps=[{"name": "img:$_TAG", "args": ["a$_TAG", "${_TAG}b", "$$_TAG"], "env": ["P=$PROJECT_ID"]}],
            images=["gcr.io/$PROJECT_ID/x:${BUILD_ID}"],
            logsBucket="gs://logs-$PROJECT_NUMBER",
            substitutions={"_TAG": "v1"},
        )
        assert build["steps"][0]["name"] == "img:v1"
        assert build["steps"][0]["args"] == ["av1", "v1b", "$_TAG"]
        assert build["steps"][0]["env"] == ["P=headway-local"]
        assert build["images"] == ["gcr.io/headway-local/x:b-1"]
        assert build["logsBucket"] == "gs://logs-123"

    def test_a_trigger_s_values_are_empty_without_a_trigger(self) -> None:
        assert filled(tags=["$BRANCH_NAME."])["tags"] == ["."]

    def test_a_script_keeps_its_dollars(self) -> None:
        assert filled(steps=[{"name": "x", "script": "echo $HOME"}])["steps"][0]["script"] == "echo $HOME"

    def test_loose_matching_lets_unknown_and_unused_names_pass(self) -> None:
        loose = {"substitutionOption": "ALLOW_LOOSE"}
        assert filled(tags=["x$_NONE"], substitutions={"_A": "1"}, options=loose)["tags"] == ["x"]

    @pytest.mark.parametrize("name", ["lower", "TAG", "_lower", "_A-B"])
    def test_a_users_name_begins_with_an_underscore(self, name: str) -> None:
        with pytest.raises(ApiError, match="does not respect format"):
            filled(substitutions={name: "x"})


class TestSteps:
    def step(self, tmp_path: Path, **spec: Any) -> Step:
        (tmp_path / "workspace" / "sub").mkdir(parents=True, exist_ok=True)
        (tmp_path / "home").mkdir(exist_ok=True)
        return Step("b-1", 0, {"name": DOCKER, **spec}, ["A=1"], tmp_path)

    def engine(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> EngineSteps:
        client = tmp_path / "docker"
        client.write_text("#!/bin/sh\n")
        client.chmod(0o755)
        monkeypatch.setenv("PATH", str(tmp_path))
        store = Store(tmp_path / "s.sqlite3")
        return EngineSteps(NotedImages(store), "jobs")

    def test_the_docker_builder_is_the_hosts_client_in_the_workspace(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        step = self.step(tmp_path, args=["build", "-f", "/workspace/D", "."], dir="sub")
        plan = self.engine(tmp_path, monkeypatch).plan(step)
        assert isinstance(plan, Command)
        workspace = tmp_path / "workspace"
        assert plan.words == [str(tmp_path / "docker"), "build", "--force-rm", "-f", f"{workspace}/D", "."]
        assert plan.folder == workspace / "sub"
        assert (plan.env["DOCKER_BUILDKIT"], plan.env["A"]) == ("0", "1")

    def test_another_image_is_a_container_that_can_be_stopped(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        step = self.step(tmp_path, name="ubuntu", args=["ls"], entrypoint="sh")
        plan = self.engine(tmp_path, monkeypatch).plan(step)
        assert isinstance(plan, Command)
        assert plan.words[-4:] == ["--entrypoint", "sh", "ubuntu", "ls"]
        assert "jobs" in plan.words
        assert list(plan.stop[-3:]) == ["rm", "-f", "headway-build-b-1-0"]

    def test_gclouds_build_network_becomes_the_engines_own(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        step = self.step(tmp_path, args=["build", "--network", "cloudbuild", "."])
        plan = self.engine(tmp_path, monkeypatch).plan(step)
        assert isinstance(plan, Command)
        assert plan.words[1:] == ["build", "--force-rm", "--network", "default", "."]

    def test_a_push_stays_on_the_engine(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        plan = self.engine(tmp_path, monkeypatch).plan(self.step(tmp_path, args=["push", "x:1"]))
        assert plan == ["Kept on the local engine, which is the registry here: x:1"]

    def test_a_folder_that_is_not_in_the_source_is_named(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        with pytest.raises(StepError, match='dir "none" is not in the source'):
            self.engine(tmp_path, monkeypatch).plan(self.step(tmp_path, args=["build", "."], dir="none"))

    def test_without_a_client_the_step_says_what_to_install(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        steps = self.engine(tmp_path, monkeypatch)
        monkeypatch.setenv("PATH", "/nowhere")
        with pytest.raises(StepError, match="install Docker's command-line client"):
            steps.plan(self.step(tmp_path, args=["build", "."]))

    def test_without_an_engine_every_tag_of_a_build_is_noted(self, tmp_path: Path) -> None:
        images = NotedImages(Store(tmp_path / "s.sqlite3"))
        step = self.step(tmp_path, args=["build", "-t", "a:1", "--tag", "b:1", "--tag=c:1", "."])
        (step.workspace / "Dockerfile").write_text("FROM x")
        lines = NotedSteps(images).plan(step)
        assert isinstance(lines, list)
        assert len(lines) == 3
        assert all(images.digest(name).startswith("sha256:") for name in ("a:1", "b:1", "c:1"))
        assert images.digest("d:1") == ""


class Shell:
    """Runs a step's script by the shell of this machine."""

    def __init__(self, store: Store) -> None:
        self.images = NotedImages(store)

    def fetch(self, step: Step) -> Command | None: ...

    def plan(self, step: Step) -> Command:
        return Command(["/bin/sh", "-c", step.spec["script"]], {}, step.workspace)

    def sweep(self, build: str) -> None: ...


class NoStorage:
    """A storage server that does not answer."""

    def bucket_exists(self, bucket: str) -> bool:
        raise ObjectError(f"could not ask for the bucket {bucket}: connection refused")

    def close(self) -> None: ...


class TestLives:
    @pytest.fixture
    def builds(self, tmp_path: Path) -> Iterator[Builds]:
        store, clock = Store(tmp_path / "s.sqlite3"), SystemClock()
        objects, runner, faults = NoStorage(), Shell(store), Faults(store, clock)
        made = Builds(settings(tmp_path), store, clock, objects, runner, faults)  # type: ignore[arg-type]
        yield made
        made.close()
        store.close()

    def test_a_build_ends_though_its_command_left_a_child_that_holds_its_output(self, builds: Builds) -> None:
        steps = [{"name": "sh", "script": "sleep 60 &"}]
        made = builds.create("global", {"steps": steps, "timeout": "0.5s", "options": {"logging": "NONE"}})
        deadline = time.monotonic() + 10
        while (status := builds.get("global", made["id"])["status"]) != "TIMEOUT" and time.monotonic() < deadline:
            time.sleep(0.05)
        assert status == "TIMEOUT"

    def test_storage_that_does_not_answer_is_unavailable_and_no_fault_of_the_emulator(
        self, builds: Builds
    ) -> None:
        with pytest.raises(ApiError, match="could not ask for the bucket logs") as caught:
            builds.create("global", {"steps": [{"name": "sh"}], "logsBucket": "gs://logs"})
        assert caught.value.status == "UNAVAILABLE"

    def test_what_a_killed_emulator_left_of_its_builds_is_removed(
        self, builds: Builds, tmp_path: Path
    ) -> None:
        (tmp_path / "builds/b-1/workspace").mkdir(parents=True)
        builds.recover()
        assert not (tmp_path / "builds").exists()
