"""The pieces of a build that need neither engine nor server."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from headway_emulator.engine.builds import rules as build_rules
from headway_emulator.engine.builds import secrets as build_secrets
from headway_emulator.engine.builds import substitutions
from headway_emulator.engine.builds.builds import Builds
from headway_emulator.engine.builds.steps import Command, EngineSteps, Step, StepError
from headway_emulator.engine.builds.without_engine import NotedSteps
from headway_emulator.engine.clock import SystemClock, VirtualClock
from headway_emulator.engine.faults import Faults
from headway_emulator.engine.images.images import NotedImages
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

    def test_what_is_no_substitution_is_left_to_the_step(self) -> None:
        args = ["$(pwd)", "$lower", "${lower}", "${_A:-1}", "cost: 5$"]
        assert filled(steps=[{"name": "x", "args": args}])["steps"][0]["args"] == args

    def test_a_request_may_give_what_a_repository_would(self) -> None:
        assert filled(tags=["$TAG_NAME"], substitutions={"TAG_NAME": "v1"})["tags"] == ["v1"]

    def test_values_may_name_others_where_the_build_asks_for_it(self) -> None:
        given = {"_A": "${_B}-$PROJECT_ID", "_B": "b"}
        dynamic = filled(tags=["$_A", "$_B"], substitutions=given, options={"dynamicSubstitutions": True})
        assert dynamic["tags"] == ["b-headway-local", "b"]
        assert dynamic["substitutions"]["_A"] == "b-headway-local"
        assert filled(tags=["$_A", "$_B"], substitutions=given)["tags"] == ["${_B}-$PROJECT_ID", "b"]

    def test_values_that_name_each_other_are_refused(self) -> None:
        given = {"_A": "$_B", "_B": "$_A"}
        with pytest.raises(ApiError, match="_A -> _B -> _A"):
            filled(tags=["$_A"], substitutions=given, options={"dynamicSubstitutions": True})

    def test_a_default_stands_in_for_a_value_that_is_not_given(self) -> None:
        dynamic = {"dynamicSubstitutions": True}
        assert filled(tags=["${_A:-b}", "${BRANCH_NAME:-main}"], options=dynamic)["tags"] == ["b", "main"]
        with pytest.raises(ApiError, match='"_A" is not matched in the substitution data'):
            filled(tags=["${_A^^}"], options=dynamic)

    @pytest.mark.parametrize(
        ("expression", "expected"),
        [
            ("${_V^}", "Feature/a-b-a.tar.gz"),
            ("${_V^^}", "FEATURE/A-B-A.TAR.GZ"),
            ("${_U,}", "aBC"),
            ("${_U,,}", "abc"),
            ("${#_U}", "3"),
            ("${_V:8}", "a-b-a.tar.gz"),
            ("${_V:8:3}", "a-b"),
            ("${_V: -2}", "gz"),
            ("${_V:0:-3}", "feature/a-b-a.tar"),
            ("${_V#*/}", "a-b-a.tar.gz"),
            ("${_V##*.}", "gz"),
            ("${_V%.*}", "feature/a-b-a.tar"),
            ("${_V%%.*}", "feature/a-b-a"),
            ("${_V/-/_}", "feature/a_b-a.tar.gz"),
            ("${_V//-/_}", "feature/a_b_a.tar.gz"),
            ("${_V//[.-]/_}", "feature/a_b_a_tar_gz"),
            ("${_V/#feature/fix}", "fix/a-b-a.tar.gz"),
            ("${_V/%gz/xz}", "feature/a-b-a.tar.xz"),
            ("${_V/#none/x}", "feature/a-b-a.tar.gz"),
            ("${_V//\\//.}", "feature.a-b-a.tar.gz"),
            ("${_V//-}", "feature/aba.tar.gz"),
            ("${_E:-word}", "word"),
            ("${_U:-word}", "ABC"),
            ("${_E:=$_U}", "ABC"),
        ],
    )
    def test_bash_expansions_are_bash_s(self, expression: str, expected: str) -> None:
        given = {"_V": "feature/a-b-a.tar.gz", "_U": "ABC", "_E": ""}
        options = {"dynamicSubstitutions": True, "substitutionOption": "ALLOW_LOOSE"}
        assert filled(tags=[expression], substitutions=given, options=options)["tags"] == [expected]


class TestGraph:
    def test_a_step_waits_for_all_before_it_unless_it_says_for_which(self) -> None:
        steps: list[dict[str, Any]] = [
            {"id": "a"},
            {"waitFor": ["-"]},
            {"waitFor": ["a"]},
            {"waitFor": ["a", "-"]},
            {},
        ]
        found = build_rules.dependencies(steps)
        assert found == [set(), set(), {0}, {0}, {0, 1, 2, 3}]


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

    def test_paths_of_the_container_become_those_of_this_machine(self, tmp_path: Path) -> None:
        """Without an engine; only whole paths, and a volume's as well."""
        spec = {"script": "cat /workspace/a /data/b /workspaces /my/workspace"}
        volumes = [{"name": "vol", "path": "/data"}]
        step = Step("b-1", 0, {"name": "x", **spec}, [], tmp_path, volumes=volumes)
        step.make_folders()
        plan = NotedSteps(NotedImages(Store(tmp_path / "s.sqlite3"))).plan(step)
        assert isinstance(plan, Command)
        assert plan.words[0] == "/bin/sh"
        said = Path(plan.words[-1]).read_text().splitlines()[-1]
        assert said == f"cat {tmp_path}/workspace/a {tmp_path}/volumes/vol/b /workspaces /my/workspace"
        assert "There is no Docker engine" in plan.notes[0]

    @pytest.mark.parametrize(
        ("first", "words"),
        [
            ("echo", ["/bin/sh"]),
            ("#!/usr/bin/env bash", ["/usr/bin/env", "bash"]),
            ("#! /bin/cat", ["/bin/cat"]),
        ],
    )
    def test_a_script_is_started_by_what_its_first_line_names(
        self, tmp_path: Path, first: str, words: list[str]
    ) -> None:
        """Not by itself: a fork of another thread may hold it open for writing (ETXTBSY)."""
        step = self.step(tmp_path, script=f"{first}\n")
        plan = NotedSteps(NotedImages(Store(tmp_path / "s.sqlite3"))).plan(step)
        assert isinstance(plan, Command)
        assert plan.words == [*words, str(tmp_path / "script-0")]

    def test_a_secret_is_in_the_environment_and_in_no_argument(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        step = Step("b-1", 0, {"name": "ubuntu"}, [], tmp_path, secrets={"TOKEN": "hush"})
        plan = self.engine(tmp_path, monkeypatch).plan(step)
        assert isinstance(plan, Command)
        assert plan.env["TOKEN"] == "hush"
        assert ("TOKEN" in plan.words, any("hush" in word for word in plan.words)) == (True, False)

    def test_docker_run_mounts_a_volume_of_the_build_by_its_name(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """As on Google's machines: cloud-builders#372."""
        args = ["run", "-v", "vol:/data", "--volume=/workspace:/w", "-v", "/etc:/e", "x"]
        spec = {"name": DOCKER, "args": args}
        step = Step("b-1", 0, spec, [], tmp_path, volumes=[{"name": "vol", "path": "/v"}])
        step.make_folders()
        plan = self.engine(tmp_path, monkeypatch).plan(step)
        assert isinstance(plan, Command)
        mounts = [f"{tmp_path}/volumes/vol:/data", f"--volume={tmp_path}/workspace:/w", "/etc:/e"]
        assert [plan.words[3], plan.words[4], plan.words[6]] == mounts


class TestSecrets:
    def test_a_version_is_found_by_number_alias_and_latest(self, tmp_path: Path) -> None:
        store = Store(tmp_path / "s.sqlite3")
        parent = "projects/123/secrets/s"
        store.put("secret", parent, {"name": parent, "versionAliases": {"stable": "1"}})
        for number, value in (("1", "b25l"), ("2", "dHdv")):
            name = f"{parent}/versions/{number}"
            store.put("secretVersion", name, {"name": name, "state": "ENABLED"})
            store.put("secretPayload", name, {"data": value})
        wanted = [
            {"env": env, "versionName": f"projects/p/secrets/s/versions/{env}"}
            for env in ("1", "stable", "latest")
        ]
        found = build_secrets.values(store, wanted, "p", "123", "2026-11-22T00:00:00Z")
        assert found == {"1": "one", "stable": "one", "latest": "two"}
        store.close()


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
        made = builds.create("global", {"steps": steps, "options": {"logging": "NONE"}})
        deadline = time.monotonic() + 10
        while (
            status := builds.get("global", made["id"])["status"]
        ) != "SUCCESS" and time.monotonic() < deadline:
            time.sleep(0.05)
        assert status == "SUCCESS"

    def test_a_quota_says_how_many_builds_run_at_once_and_the_rest_wait(self, tmp_path: Path) -> None:
        store, clock = Store(tmp_path / "s.sqlite3"), VirtualClock(0)
        quota = {"region": "europe-*", "metric": "concurrent_builds", "limit": 1}
        told = replace(settings(tmp_path), quotas=(quota,))
        parts = (store, clock, NoStorage(), Shell(store), Faults(store, clock))
        builds = Builds(told, *parts)  # type: ignore[arg-type]
        body = {"steps": [{"name": "sh", "script": "sleep 60"}], "options": {"logging": "NONE"}}
        body |= {"queueTtl": "1800s"}
        made = [builds.create(place, body)["id"] for place in ("europe-west1", "europe-west1", "us-central1")]
        clock.advance(0)
        status = [
            builds.get(p, i)["status"]
            for p, i in zip(("europe-west1",) * 2 + ("us-central1",), made, strict=True)
        ]
        assert status == ["WORKING", "QUEUED", "WORKING"]
        clock.advance(1800)
        assert builds.get("europe-west1", made[1])["status"] == "EXPIRED"
        builds.close()
        store.close()

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
