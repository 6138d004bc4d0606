"""Submitting: what is sent, what is not sent again, and that equal content is one run."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from headway.errors import BuildFailed, DataNotReady, InputError, Interrupted, Refused, RemoteError
from headway.jobs import notebook, submission
from headway.jobs.planning import plan
from headway.jobs.run import Run
from tests.unit.jobs.fakes import PLACE, MemoryJobs, MemoryPlace, Told


@pytest.fixture
def world(monkeypatch: pytest.MonkeyPatch) -> MemoryPlace:
    monkeypatch.setattr("time.sleep", lambda seconds: None)
    return MemoryPlace()


@pytest.fixture
def config(tmp_path: Path) -> Path:
    (tmp_path / "train.py").write_text("print('hello')\n")
    (tmp_path / "requirements.txt").write_text("torch==2.13.0\n")
    path = tmp_path / "config.yaml"
    path.write_text("name: tiny\nentrypoint: train.py\nargs: {lr: 0.1}\n")
    return path


@pytest.fixture
def submit(config: Path, world: MemoryPlace) -> Callable[..., Run]:
    def call(*words: str, again: bool = False, told: Told | None = None) -> Run:
        return submission.submit(
            config, overrides=words, place=PLACE, again=again, services=world.services, progress=told
        )

    return call


def test_a_first_submit_builds_the_image_sends_the_code_and_creates_one_job(
    submit: Callable[..., Run], world: MemoryPlace
) -> None:
    told = Told()
    run = submit(told=told)
    assert run.state == "running"
    assert [name for name, _ in told.steps] == ["image", "image", "bundle", "job"]
    assert len(world.builds.created) == 1
    assert len(world.vertex.jobs) == 1
    assert told.lines == ["Step 1/2 : FROM base"]


def test_the_same_content_submitted_twice_is_one_run_and_sends_nothing(
    submit: Callable[..., Run], world: MemoryPlace
) -> None:
    first = submit()
    sent = list(world.store.uploads)
    told = Told()
    second = submit(told=told)
    assert second.run_id == first.run_id
    assert len(world.vertex.jobs) == 1
    assert world.store.uploads == sent
    assert "was submitted before" in told.steps[-1][1]


def test_a_submit_costs_one_request_for_the_claim(
    submit: Callable[..., Run], world: MemoryPlace, monkeypatch: pytest.MonkeyPatch
) -> None:
    submit()
    asked: list[str] = []

    def counted(name: str) -> Callable[..., Any]:
        call = getattr(world.store, name)

        def ask(*words: Any, **named: Any) -> Any:
            asked.append(name)
            return call(*words, **named)

        return ask

    for name in ("read", "write", "version", "replace", "delete", "upload", "list"):
        monkeypatch.setattr(world.store, name, counted(name))
    submit("args.lr=0.2")
    assert asked == ["replace", "write"], "the claim; the second is how the store in memory writes it"


def test_again_makes_another_run_of_the_same_content(submit: Callable[..., Run], world: MemoryPlace) -> None:
    first, second, third = submit(), submit(again=True), submit(again=True)
    assert [second.run_id, third.run_id] == [f"{first.run_id}-2", f"{first.run_id}-3"]
    assert len(world.builds.created) == 1
    assert len(world.vertex.jobs) == 3


def test_an_edit_to_the_code_sends_one_bundle_and_builds_nothing(
    submit: Callable[..., Run], world: MemoryPlace, config: Path
) -> None:
    submit()
    before = len(world.store.uploads)
    (config.parent / "train.py").write_text("print('edited')\n")
    submit()
    assert len(world.builds.created) == 1
    assert [name.split("/")[1] for name in world.store.uploads[before:]] == ["bundles"]


def test_an_edit_to_the_lockfile_builds_and_the_plan_says_why(
    submit: Callable[..., Run], world: MemoryPlace, config: Path
) -> None:
    submit()
    (config.parent / "requirements.txt").write_text("torch==2.12.0\n")
    preview = plan(config, place=PLACE, services=world.services)
    image = preview.steps[0]
    assert (image.what, image.action) == ("image", "build")
    assert image.why == "changed: requirements"
    submit()
    assert len(world.builds.created) == 2


def test_another_argument_is_another_run_with_the_same_image_and_bundle(
    submit: Callable[..., Run], world: MemoryPlace
) -> None:
    submit()
    sent = list(world.store.uploads)
    submit("args.lr=0.2")
    assert len(world.vertex.jobs) == 2
    assert world.store.uploads == sent


def test_a_failed_build_shows_the_end_of_its_log_and_creates_no_job(
    submit: Callable[..., Run], world: MemoryPlace
) -> None:
    world.builds.ending = "FAILURE"
    world.builds.log = "Step 3/9 : RUN pip install\nERROR: No matching distribution found for nonsense\n"
    with pytest.raises(BuildFailed) as caught:
        submit()
    assert "ERROR: No matching distribution found for nonsense" in str(caught.value)
    assert world.vertex.jobs == []


def test_data_that_was_not_pushed_stops_the_submit_with_the_command_that_fixes_it(
    submit: Callable[..., Run], world: MemoryPlace, config: Path
) -> None:
    (config.parent / "data.dvc").write_text(
        "outs:\n- md5: 0123456789abcdef0123456789abcdef\n  size: 3\n  hash: md5\n  path: data\n"
    )
    with pytest.raises(DataNotReady) as caught:
        submit("data=[data]")
    assert "data" in caught.value.message
    assert caught.value.hint == f"send it with: launch data push --profile test {config}"
    assert world.vertex.jobs == []
    assert world.store.uploads == []


def test_ctrl_c_during_the_build_says_that_it_goes_on_and_how_to_stop_it(
    submit: Callable[..., Run], world: MemoryPlace
) -> None:
    def interrupt() -> None:
        raise KeyboardInterrupt

    world.builds.before_get = interrupt
    with pytest.raises(Interrupted) as caught:
        submit()
    assert "the image build b1 goes on" in caught.value.message
    assert "launch cancel --profile test --build b1" in str(caught.value.hint)


def test_ctrl_c_while_the_job_is_created_says_how_to_look_and_stop(
    submit: Callable[..., Run], world: MemoryPlace
) -> None:
    def interrupt() -> None:
        raise KeyboardInterrupt

    world.vertex.before_create = interrupt
    with pytest.raises(Interrupted) as caught:
        submit()
    assert "launch cancel --profile test tiny-" in str(caught.value.hint)


def test_ctrl_c_while_a_build_is_started_says_that_it_may_have_been(
    submit: Callable[..., Run], world: MemoryPlace
) -> None:
    def interrupt() -> None:
        raise KeyboardInterrupt

    world.builds.before_create = interrupt
    with pytest.raises(Interrupted, match="it may have been"):
        submit()


@pytest.mark.parametrize("part", ["environments", "bundles", "runs"])
def test_ctrl_c_while_something_is_written_says_what_goes_on(
    submit: Callable[..., Run], world: MemoryPlace, part: str
) -> None:
    def interrupt(name: str) -> None:
        if f"/{part}/" in name:
            raise KeyboardInterrupt

    world.store.before_write = interrupt
    with pytest.raises(Interrupted) as caught:
        submit()
    assert caught.value.message.startswith("stopped ")
    assert world.vertex.jobs == []


def test_a_claim_left_by_a_submit_that_died_is_taken_over_once_it_has_lapsed(
    submit: Callable[..., Run], world: MemoryPlace
) -> None:
    def die() -> None:
        raise RemoteError("the line was cut")

    world.vertex.before_create = die
    with pytest.raises(RemoteError):
        submit()
    world.vertex.before_create = lambda: None
    for name in world.store.written:
        world.store.written[name] = datetime.now(UTC) - timedelta(seconds=200)
    submit()
    assert len(world.vertex.jobs) == 1


def test_a_job_that_vertex_ai_refuses_leaves_no_claim_that_the_next_submit_would_wait_for(
    submit: Callable[..., Run], world: MemoryPlace
) -> None:
    def refuse() -> None:
        raise Refused("permission denied")

    world.vertex.before_create = refuse
    with pytest.raises(Refused):
        submit()
    world.vertex.before_create = lambda: None
    told = Told()
    submit(told=told)
    assert len(world.vertex.jobs) == 1
    assert not any("waiting" in detail for _, detail in told.steps)


def test_a_lapsed_claim_is_taken_over_only_when_the_job_can_be_created_at_once(
    submit: Callable[..., Run], world: MemoryPlace
) -> None:
    submit()
    world.vertex.jobs.clear()
    world.builds.created.clear()  # the image is gone, so that the next submit builds, for minutes
    for name in world.store.written:
        world.store.written[name] = datetime.now(UTC) - timedelta(seconds=200)
    during: list[int] = []
    claim = next(name for name in world.store.objects if name.endswith("plan.json"))
    world.builds.before_get = lambda: during.append(world.store.generations[claim])
    submit()
    assert during == [1]
    assert world.store.generations[claim] == 2


def test_a_run_is_found_in_the_region_it_went_to_when_the_profile_names_another_today(
    config: Path, world: MemoryPlace, monkeypatch: pytest.MonkeyPatch
) -> None:
    empty = MemoryPlace().vertex
    monkeypatch.setattr(world, "jobs", lambda region: world.vertex if region == "us-central1" else empty)
    first = submission.submit(config, place=PLACE, services=world.services)
    for name in world.store.written:
        world.store.written[name] = datetime.now(UTC) - timedelta(seconds=200)
    moved = PLACE.model_copy(update={"region": "europe-west4"})
    second = submission.submit(config, place=moved, services=world.services)
    assert second.job().name == first.job().name
    assert empty.jobs == []


def test_an_outage_while_a_build_is_waited_for_does_not_end_the_submit(
    submit: Callable[..., Run], world: MemoryPlace
) -> None:
    failures = iter([RemoteError("503"), RemoteError("503")])

    def fail() -> None:
        if error := next(failures, None):
            raise error

    world.builds.before_get = fail
    assert submit().state == "running"


def test_the_last_line_of_a_build_is_shown_though_it_does_not_end(
    submit: Callable[..., Run], world: MemoryPlace
) -> None:
    world.builds.ending, world.builds.log = "FAILURE", "Step 1/2 : FROM nowhere\nmanifest unknown"
    with pytest.raises(BuildFailed) as caught:
        submit()
    assert caught.value.details[-1] == "manifest unknown"


def test_a_second_submit_waits_for_the_one_that_claimed_the_run_first(
    submit: Callable[..., Run], world: MemoryPlace, monkeypatch: pytest.MonkeyPatch
) -> None:
    body: list[dict[str, object]] = []

    def die() -> None:
        raise RemoteError("slow")

    world.vertex.before_create = die
    with pytest.raises(RemoteError):
        submit()
    world.vertex.before_create = lambda: None
    claimed = next(name for name in world.store.objects if name.endswith("plan.json"))

    def the_other_creates(seconds: float) -> None:
        from headway.cloud.vertex import render
        from headway.spec.plan import Plan

        if not body:
            body.append(render(Plan.model_validate_json(world.store.objects[claimed])))
            world.vertex.create(body[0])

    monkeypatch.setattr("time.sleep", the_other_creates)
    submit()
    assert len(world.vertex.jobs) == 1


def test_bad_input_sends_nothing(submit: Callable[..., Run], world: MemoryPlace) -> None:
    with pytest.raises(InputError):
        submit("resources.gpu=a100:3")
    assert world.store.objects == {}
    assert world.vertex.jobs == []


def test_an_entrypoint_that_git_ignores_is_told_before_anything_is_sent(
    submit: Callable[..., Run], world: MemoryPlace, config: Path
) -> None:
    (config.parent / ".headwayignore").write_text("train.py\n")
    with pytest.raises(InputError, match=r"config\.yaml:2:13: train\.py would not be in the code"):
        submit()
    assert world.store.objects == {}


def test_an_entrypoint_may_be_written_with_its_folder(
    submit: Callable[..., Run], world: MemoryPlace, config: Path
) -> None:
    config.write_text("name: tiny\nentrypoint: ./train.py\n")
    assert submit().state == "running"


def test_a_run_of_other_content_with_the_same_id_is_not_attached_to(
    submit: Callable[..., Run], world: MemoryPlace
) -> None:
    first = submit()
    name = first.plan.layout.plan(first.run_id)
    other = first.plan.model_copy(update={"claim": first.plan.claim[:8] + "0" * 56})
    world.store.objects[name] = other.model_dump_json().encode()
    with pytest.raises(InputError, match="by chance"):
        submit()
    assert submit(again=True).run_id == f"{first.run_id}-2"


def test_wheels_in_the_project_are_no_code(config: Path) -> None:
    without = plan(config, place=PLACE, services=MemoryPlace().services)
    (config.parent / "wheels").mkdir()
    (config.parent / "wheels" / "torch.whl").write_bytes(b"wheel")
    for folder in ("wheels", "./wheels/", str(config.parent / "wheels")):
        words = [f"environment.wheelhouse={folder}"]
        seen = plan(config, overrides=words, place=PLACE, services=MemoryPlace().services)
        assert seen.plan.code == without.plan.code


def test_googles_client_is_loaded_before_the_claim(
    submit: Callable[..., Run], world: MemoryPlace, monkeypatch: pytest.MonkeyPatch
) -> None:
    claims: list[list[str]] = []

    def jobs(_region: str) -> MemoryJobs:
        claims.append([name for name in world.store.objects if name.endswith("plan.json")])
        return world.vertex

    monkeypatch.setattr(world, "jobs", jobs)
    submit()
    assert claims[0] == []


@pytest.mark.parametrize("overrides", ["args.lr=1", {"args.lr": 1}])
def test_overrides_from_python_are_a_list(config: Path, overrides: object) -> None:
    with pytest.raises(InputError, match="list of key=value words"):
        notebook.plan(config, overrides=overrides, local=True)  # type: ignore[arg-type]
