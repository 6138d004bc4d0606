"""Sweeps: equal content is one sweep, one that ended early goes on, and the best trial becomes a run."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import requests

from headway.cloud.logs import LogLine
from headway.cloud.tuning import Trial
from headway.errors import ConfigError, DeadlinePassed, InputError, Interrupted, NotFound
from headway.jobs import notebook, planning, preparing, sweep_submission, sweep_tracking
from headway.jobs.listing import sweeps
from headway.jobs.sweep import Sweep, attach_sweep
from headway.jobs.sweep_submission import overrides_of, submit_best
from headway.spec.parameter import digest
from headway.spec.plan import Plan
from tests.unit.jobs.fakes import PLACE, MemoryPlace, MemoryTuning, Told

WORDS = ("args.lr=1e-4..1e-2:log", "args.width=64,128")
FLAGS = {"sweep.metric": "val_loss:min", "sweep.trials": 4, "sweep.parallel": 2}
BEGAN = datetime(2026, 11, 27, 12, tzinfo=UTC)


@pytest.fixture
def closed(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, sweep_tracking.Told]]:
    """What the tracking server was told at the end; no server is asked."""
    told: list[tuple[str, sweep_tracking.Told]] = []
    monkeypatch.setattr(sweep_tracking, "open_parent", lambda plan, services: "http://mlflow/runs/1")
    monkeypatch.setattr(sweep_tracking, "url", lambda plan, services: "http://mlflow/runs/1")
    monkeypatch.setattr(
        sweep_tracking, "close", lambda plan, services, state, what: told.append((state, what))
    )
    return told


@pytest.fixture
def world(monkeypatch: pytest.MonkeyPatch, closed: object) -> MemoryPlace:
    monkeypatch.setattr("time.sleep", lambda seconds: None)
    return MemoryPlace()


@pytest.fixture
def config(tmp_path: Path) -> Path:
    (tmp_path / "train.py").write_text("print('hello')\n")
    (tmp_path / "requirements.txt").write_text("torch==2.13.0\n")
    path = tmp_path / "config.yaml"
    path.write_text("name: tiny\nentrypoint: train.py\nargs: {lr: 0.1, epochs: 3}\n")
    return path


@pytest.fixture
def start(config: Path, world: MemoryPlace) -> Callable[..., Sweep]:
    def call(
        *words: str,
        resume: bool = False,
        again: bool = False,
        told: Told | None = None,
        flags: dict[str, Any] | None = None,
    ) -> Sweep:
        return sweep_submission.start_sweep(
            config,
            overrides=words or WORDS,
            flags={**FLAGS, **(flags or {})},
            place=PLACE,
            resume=resume,
            again=again,
            progress=told,
            services=world.services,
        )

    return call


def trial(number: int, value: float | None, state: str = "succeeded", **given: object) -> Trial:
    return Trial(
        id=str(number),
        state=state,
        given={"lr": number / 1000, "width": 64.0, **given},
        measured={} if value is None else {"val_loss": value},
        step=None if value is None else 10,
        started=BEGAN,
        ended=BEGAN + timedelta(minutes=6),
        infeasible="it failed" if state == "infeasible" else None,
        custom_job="projects/1/locations/us-central1/customJobs/9",
    )


def record(world: MemoryPlace, sweep: Sweep, *numbers: int) -> None:
    """What the containers of these trials leave when they have ended well."""
    for number in numbers:
        values = sweep.pin.values({"lr": number / 1000, "width": 64})
        name = sweep.plan.layout.sweep_result(sweep.sweep_id, digest(values))
        world.store.write(name, json.dumps({"value": 0.5}).encode())


def test_a_sweep_is_a_tuning_job_of_the_jobs_image_and_code(
    start: Callable[..., Sweep], world: MemoryPlace
) -> None:
    told = Told()
    sweep = start(told=told)
    assert [name for name, _ in told.steps] == ["image", "image", "bundle", "job", "track"]
    (body,) = world.sweeps.bodies
    assert body["displayName"] == sweep.sweep_id
    assert (body["maxTrialCount"], body["parallelTrialCount"]) == (4, 2)
    assert [each["parameterId"] for each in body["studySpec"]["parameters"]] == ["lr", "width"]
    assert world.vertex.jobs == []
    plan = Plan.model_validate_json(world.store.objects[f"headway/sweeps/{sweep.sweep_id}/plan.json"])
    assert plan.config["args"] == {"lr": 0.1, "epochs": 3}
    assert sweep.state == "running"


def test_the_same_sweep_started_twice_is_one_and_sends_nothing(
    start: Callable[..., Sweep], world: MemoryPlace
) -> None:
    first, told = start(), Told()
    sent = list(world.store.uploads)
    second = start(told=told)
    assert second.sweep_id == first.sweep_id
    assert len(world.sweeps.all) == 1
    assert world.store.uploads == sent
    assert told.steps == [("job", f"{first.sweep_id} was started before: running (--again for another)")]


def test_a_sweep_whose_launcher_was_killed_is_repaired_by_the_same_command(
    start: Callable[..., Sweep], world: MemoryPlace
) -> None:
    class Killed(BaseException):
        pass

    def die() -> None:
        world.sweeps.before_create = lambda: None
        raise Killed

    world.sweeps.before_create = die
    with pytest.raises(Killed):
        start()
    assert world.sweeps.all == []
    (name,) = (name for name in world.store.objects if name.endswith("plan.json"))
    world.store.written[name] -= timedelta(hours=1)
    sweep = start()
    assert [job.name for job in world.sweeps.all] == [sweep.job().name]


def test_a_plain_value_takes_an_argument_out_of_the_sweep(
    start: Callable[..., Sweep], config: Path, world: MemoryPlace
) -> None:
    config.write_text(config.read_text() + "sweep: {parameters: {lr: 1e-4..1e-2, width: '64,128'}}\n")
    start("args.lr=0.5")
    (body,) = world.sweeps.bodies
    assert [each["parameterId"] for each in body["studySpec"]["parameters"]] == ["width"]


@pytest.mark.parametrize(
    ("section", "words", "message"),
    [
        ("", ("args.lr=0.5",), "there is nothing to vary"),
        (
            "sweep: {parameters: {lr: '1..0'}}",
            (),
            "config.yaml:4:26: sweep.parameters.lr: 1 is not less than 0",
        ),
        ("sweep: {parameters: {lr: 5}}", (), "config.yaml:4:26: sweep.parameters.lr: '5' is no range"),
        (
            "sweep: {parameters: {lr: 0..1 if depth=3}}",
            (),
            "config.yaml:4:26: it depends on depth, which the sweep does not vary",
        ),
        ("sweep: {trails: 3}", (), "config.yaml:4:9: there is no key 'trails' in sweep"),
        ("sweep: {algorithm: bayes}", (), "config.yaml:4:20: sweep.algorithm: it should be 'default'"),
        (
            "sweep: {parameters: {lr: 0..1.0}, algorithm: grid}",
            (),
            "config.yaml:4:26: a grid has no end over the continuous range 0.0..1.0",
        ),
        ("", ("args.lr=1..x",), "command line: args.lr=1..x: sweep.parameters.lr: '1..x' is no range"),
        (
            "",
            ("args.lr=1e-2..1e-4",),
            "command line: args.lr=1e-2..1e-4: sweep.parameters.lr: 0.01 is not less",
        ),
    ],
)
def test_what_cannot_be_swept_is_told_with_its_place(
    start: Callable[..., Sweep], config: Path, world: MemoryPlace, section: str, words: Any, message: str
) -> None:
    config.write_text(config.read_text() + section + "\n")
    with pytest.raises(ConfigError) as error:
        start(*(words or ("args.other=1",)))
    assert message in str(error.value)
    assert world.store.objects == {}


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        ({"sweep.metric": None}, "the sweep has no metric"),
        ({"sweep.metric": "val_loss"}, "--metric: sweep.metric: 'val_loss' does not say min or max"),
        ({"sweep.trials": None}, "the sweep does not say how many trials"),
        ({"sweep.trials": 0}, "--trials: sweep.trials must be at least 1, not 0"),
        ({"sweep.parallel": 0}, "--parallel: sweep.parallel must be at least 1, not 0"),
        ({"limits.budget": 0.0001}, "--budget: $0.00 pays for"),
    ],
)
def test_flags_that_are_missing_or_wrong_are_told(
    start: Callable[..., Sweep], flags: dict[str, Any], message: str
) -> None:
    with pytest.raises(ConfigError) as error:
        start(flags=flags)
    assert message in str(error.value)


def test_bad_input_is_found_before_a_stack_is_started(config: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(notebook, "find_place", lambda **_: pytest.fail("a place was looked for"))
    with pytest.raises(ConfigError, match="no metric"):
        notebook.sweep(config, trials=3, local=True, overrides=["args.lr=1..2"])


def test_a_view_tells_trials_the_best_and_what_they_cost(
    start: Callable[..., Sweep], world: MemoryPlace
) -> None:
    sweep = start()
    world.sweeps.add(trial(1, 0.5), trial(2, 0.25), trial(3, None, "infeasible"), trial(4, None, "active"))
    status = f"headway/sweeps/{sweep.sweep_id}/1/3/status.json"
    said = {
        "run_id": "x",
        "phase": "done",
        "error": "out of memory",
        "updated": str(BEGAN),
        "started": str(BEGAN),
    }
    world.store.write(status, json.dumps(said).encode())
    view = sweep.view()
    assert [each.run_id for each in view.trials] == [f"{sweep.sweep_id}-t{n}" for n in (1, 2, 3, 4)]
    assert view.best is not None
    assert (view.best.trial, view.best.value) == ("2", 0.25)
    assert view.trials[2].error == "out of memory"
    assert (view.finished, view.trials_wanted) == (2, 4)
    assert view.cost is not None
    hour = sweep.plan.candidates[0].usd_hour or 0
    assert view.cost.spent_usd == pytest.approx(4 * 0.1 * hour, rel=1e-3)
    assert view.document()["trials"][0]["values"] == {"lr": 0.001, "width": 64}


def test_the_best_of_a_sweep_that_wants_more_is_the_highest(
    start: Callable[..., Sweep], world: MemoryPlace
) -> None:
    sweep = start(flags={"sweep.metric": "val_loss:max"})
    world.sweeps.add(trial(1, 0.5), trial(2, 0.25))
    assert sweep.best is not None
    assert sweep.best.trial == "1"


def test_waiting_goes_on_to_the_end_and_tells_the_tracking_server(
    start: Callable[..., Sweep], world: MemoryPlace, closed: list[tuple[str, sweep_tracking.Told]]
) -> None:
    sweep, looks = start(), []

    def look(job: Any) -> None:
        looks.append(len(job.trials))
        world.sweeps.add(trial(len(looks), 1 / len(looks)))
        if len(looks) == 3:
            world.sweeps.end("succeeded")

    view = sweep.wait(on_poll=look)
    assert view.state == "succeeded"
    assert looks == [0, 1, 2, 3]
    ((state, told),) = closed
    assert (state, told.value, told.trial) == ("succeeded", 1 / 3, f"{sweep.sweep_id}-t3")


def test_a_wait_with_a_deadline_leaves_the_sweep_running(start: Callable[..., Sweep]) -> None:
    with pytest.raises(DeadlinePassed, match="still reads running"):
        start().wait(timeout=0.01)


def test_a_sweep_that_found_no_machines_and_is_cancelled_tries_no_other_candidate_until_it_is_resumed(
    start: Callable[..., Sweep], world: MemoryPlace
) -> None:
    words = (*WORDS, "resources.gpu=l4,t4")
    waiting = start(*words)
    world.sweeps.end("failed", error="no machines")
    world.sweeps.all[-1] = replace(world.sweeps.all[-1], started=None, error_code=8)
    assert attach_sweep(waiting.sweep_id, PLACE, services=world.services).cancel()
    assert waiting.wait().state == "cancelled"
    assert start(*words).state == "cancelled"
    assert [view.state for view in sweeps(PLACE, services=world.services)] == ["cancelled"]
    assert len(world.sweeps.all) == 1
    resumed = start(*words, resume=True)
    assert (resumed.state, resumed.pin.attempt, resumed.pin.trials) == ("running", 2, 4)
    assert resumed.plan.cancelled is None


def test_a_sweep_that_is_cancelled_before_its_tuning_job_reads_so(
    start: Callable[..., Sweep], world: MemoryPlace
) -> None:
    plan = start().plan
    world.sweeps.all.clear()
    for name in world.store.written:
        world.store.written[name] = datetime.now(UTC) - timedelta(seconds=200)
    sweep = attach_sweep(plan.run_id, PLACE, services=world.services)
    assert sweep.cancel()
    view = sweep.view()
    assert (view.state, view.job, view.trials) == ("cancelled", "", ())
    assert start().state == "cancelled"
    assert start(resume=True).pin.attempt == 2


def test_a_cancelled_sweep_goes_on_with_the_trials_that_are_left(
    start: Callable[..., Sweep], world: MemoryPlace
) -> None:
    first = start()
    world.sweeps.add(trial(1, 0.5), trial(2, None, "active"))
    record(world, first, 1)
    assert first.cancel()
    assert not first.cancel()
    assert start().state == "cancelled", "without --resume it is looked at"
    told = Told()
    second = start(resume=True, told=told)
    assert (second.sweep_id, second.pin.attempt, second.pin.trials) == (first.sweep_id, 2, 3)
    assert "1 of 4 trials are done, 3 are left" in str(told.steps)
    assert world.sweeps.bodies[1]["displayName"] == f"{first.sweep_id}-2"
    assert f"headway/sweeps/{first.sweep_id}/plan-2.json" in world.store.objects
    world.sweeps.add(trial(1, 0.1))
    view = attach_sweep(first.sweep_id, PLACE, services=world.services).view()
    assert [each.run_id for each in view.trials] == [
        *(f"{first.sweep_id}-t{n}" for n in (1, 2)),
        f"{first.sweep_id}-2-t1",
    ]
    assert view.best is not None
    assert (view.best.attempt, view.trials_wanted, view.attempts) == (2, 4, 2)


def test_a_resumed_sweep_started_again_is_attached_to(
    start: Callable[..., Sweep], world: MemoryPlace
) -> None:
    start()
    world.sweeps.end("failed")
    second = start(resume=True)
    assert start(resume=True).job().name == second.job().name
    assert start().job().name == second.job().name
    assert len(world.sweeps.all) == 2


def test_a_sweep_that_is_wanted_again_is_another_and_nothing_of_the_first_is_in_it(
    start: Callable[..., Sweep], world: MemoryPlace
) -> None:
    first = start()
    world.sweeps.end("succeeded")
    record(world, first, 1, 2, 3, 4)
    second, third = start(again=True), start(again=True)
    ids = [first.sweep_id, f"{first.sweep_id}-again2", f"{first.sweep_id}-again3"]
    assert [sweep.sweep_id for sweep in (first, second, third)] == ids
    assert [body["maxTrialCount"] for body in world.sweeps.bodies] == [4, 4, 4]
    assert [body["labels"]["headway-run"] for body in world.sweeps.bodies] == ids
    assert second.plan.claim == first.plan.claim
    assert start().sweep_id == first.sweep_id, "without it, the first one is meant"
    assert attach_sweep(ids[1], PLACE, services=world.services).plan == second.plan
    assert len(world.sweeps.bodies) == 3


def test_no_trial_of_a_repeated_sweep_has_the_name_of_another_sweeps(
    start: Callable[..., Sweep], world: MemoryPlace
) -> None:
    start()
    world.sweeps.end("cancelled")
    resumed, repeated = start(resume=True), start(again=True)
    assert resumed.pin.attempt == 2
    assert resumed.pin.run_id("1") != repeated.pin.run_id("1")
    names = [body["displayName"] for body in world.sweeps.bodies]
    assert len(set(names)) == len(names) == 3


def test_of_a_repeated_sweep_the_last_one_is_resumed(start: Callable[..., Sweep], world: MemoryPlace) -> None:
    start()
    world.sweeps.end("succeeded")
    again = start(again=True)
    world.sweeps.end("cancelled")
    resumed = start(resume=True)
    assert (resumed.sweep_id, resumed.pin.attempt) == (again.sweep_id, 2)


def test_a_sweep_cannot_go_on_and_begin_again(start: Callable[..., Sweep], world: MemoryPlace) -> None:
    with pytest.raises(InputError, match="either goes on or begins again"):
        start(resume=True, again=True)
    assert world.store.objects == {}


def test_a_repeated_sweep_whose_launcher_was_killed_is_repaired_by_a_resume(
    start: Callable[..., Sweep], world: MemoryPlace
) -> None:
    start()
    world.sweeps.end("succeeded")

    def killed() -> None:
        raise KeyboardInterrupt

    world.sweeps.before_create = killed
    with pytest.raises(Interrupted):
        start(again=True)
    world.sweeps.before_create = lambda: None
    for name in world.store.written:
        world.store.written[name] -= timedelta(hours=1)
    assert start(resume=True).sweep_id.endswith("-again2")


def test_a_plan_of_a_sweep_says_what_it_can_cost_and_starts_nothing(
    config: Path, world: MemoryPlace, start: Callable[..., Sweep]
) -> None:
    def look() -> planning.Preview:
        flags = {**FLAGS, "resources.gpu": "l4", "limits.timeout": "1h"}
        return planning.plan(
            config, overrides=WORDS, flags=flags, place=PLACE, sweep=True, services=world.services
        )

    seen = look()
    assert [(step.what, step.action) for step in seen.steps] == [
        ("image", "build"),
        ("bundle", "upload"),
        ("job", "create"),
    ]
    assert seen.steps[-1].detail.startswith("4 trials, 2 at once: 1 x g2-standard-")
    assert seen.steps[-1].why == "no sweep has this content"
    cap = seen.document()["cap"]
    assert (cap["timeout_s"], cap["trials"]) == (3600, 4)
    assert cap["most_usd"] == pytest.approx(4 * (seen.plan.candidates[0].usd_hour or 0), abs=0.01)
    assert str(seen).startswith(f"sweep {seen.plan.run_id}\n")
    assert world.store.objects == {}
    assert world.sweeps.bodies == []
    started = start(flags={"resources.gpu": "l4", "limits.timeout": "1h"})
    assert started.sweep_id == seen.plan.run_id
    assert (look().steps[-1].action, look().steps[0].action) == ("attach", "reuse")
    assert "--again makes another" in look().steps[-1].why


def test_nothing_is_left_of_a_sweep_that_succeeded_or_has_all_its_trials(
    start: Callable[..., Sweep], world: MemoryPlace
) -> None:
    first = start()
    world.sweeps.end("succeeded")
    start(resume=True)
    record(world, first, 1, 2, 3, 4)
    world.sweeps.end("cancelled")
    start(resume=True)
    assert len(world.sweeps.all) == 1


def test_a_grid_goes_on_whole_for_known_points_are_answered(
    start: Callable[..., Sweep], world: MemoryPlace
) -> None:
    words = ("args.lr=0.001,0.002,0.003", "args.width=64,128")
    grid = {"sweep.algorithm": "grid", "sweep.trials": None}
    first = start(*words, flags=grid)
    record(world, first, 1)
    world.sweeps.end("cancelled")
    assert start(*words, flags=grid, resume=True).pin.trials == 6


def test_a_sweep_that_none_of_its_trials_can_be_judged_by_does_not_go_on(
    start: Callable[..., Sweep], world: MemoryPlace
) -> None:
    sweep = start()
    name = sweep.plan.layout.sweep_broken(sweep.sweep_id)
    world.store.write(name, json.dumps({"error": "training never logged val_loss"}).encode())
    world.sweeps.end("cancelled")
    assert sweep.view().error == "training never logged val_loss"
    with pytest.raises(InputError, match="cannot go on: training never logged val_loss"):
        start(resume=True)


def test_a_budget_is_for_all_trials_and_what_is_spent_is_gone(
    start: Callable[..., Sweep], world: MemoryPlace
) -> None:
    budget = {"limits.budget": 1.0}
    first = start(flags=budget)
    hour = first.plan.candidates[0].usd_hour or 0
    assert first.plan.timeout_s == pytest.approx(1.0 / 4 / hour * 3600, abs=1)
    world.sweeps.add(trial(1, 0.5))
    record(world, first, 1)
    world.sweeps.end("cancelled")
    second = start(flags=budget, resume=True)
    left = 1.0 - 0.1 * hour
    assert second.plan.timeout_s == pytest.approx(min(left / 3 / hour * 3600, first.plan.timeout_s), abs=2)
    days = Trial(**{**vars(trial(2, 0.5)), "ended": BEGAN + timedelta(days=9)})
    world.sweeps.add(days)
    world.sweeps.end("failed")
    with pytest.raises(InputError, match="has spent its budget"):
        start(flags=budget, resume=True)


def test_the_best_trial_becomes_a_full_run_of_the_sweeps_own_code(
    start: Callable[..., Sweep], world: MemoryPlace, config: Path, tmp_path: Path
) -> None:
    sweep = start()
    world.sweeps.add(trial(1, 0.5), trial(2, 0.25, width=128.0))
    config.write_text("name: other\n")
    run = submit_best(sweep, overrides=["args.epochs=30"], start=tmp_path)
    assert run.plan.sweep is None
    assert run.plan.config["args"] == {"lr": 0.002, "epochs": 30, "width": 128}
    assert run.plan.code == sweep.plan.code
    assert len(world.vertex.jobs) == 1


def test_the_printed_overrides_submit_the_very_same_run(
    start: Callable[..., Sweep], world: MemoryPlace, config: Path, tmp_path: Path
) -> None:
    sweep = start()
    world.sweeps.add(trial(1, 0.5))
    assert sweep.best is not None
    words = overrides_of(sweep.best)
    assert words == ["args.lr=0.001", "args.width=64"]
    by_hand = preparing.prepare(config, overrides=words, place=PLACE).plan
    assert submit_best(sweep, start=tmp_path).run_id == by_hand.run_id


def test_the_best_is_not_submitted_in_a_way_that_vertex_forbids(
    start: Callable[..., Sweep], world: MemoryPlace, tmp_path: Path
) -> None:
    sweep = start()
    world.sweeps.add(trial(1, 0.5))
    with pytest.raises(ConfigError, match="flex_start is not offered for a machine without a GPU"):
        submit_best(sweep, overrides=["resources.flex_start={}"], start=tmp_path)
    assert world.vertex.jobs == []


def test_before_a_trial_ended_well_there_is_no_best(
    start: Callable[..., Sweep], world: MemoryPlace, tmp_path: Path
) -> None:
    sweep = start()
    world.sweeps.add(trial(1, None, "infeasible"))
    with pytest.raises(InputError, match=r"no trial of .* has ended well yet"):
        submit_best(sweep, start=tmp_path)


def test_a_best_whose_code_is_gone_says_so(
    start: Callable[..., Sweep], world: MemoryPlace, tmp_path: Path
) -> None:
    sweep = start()
    world.sweeps.add(trial(1, 0.5))
    world.store.delete(sweep.plan.layout.bundle(sweep.plan.code.digest))
    with pytest.raises(NotFound, match=r"the code .* that the sweep ran with is no longer there"):
        submit_best(sweep, start=tmp_path)


def test_the_trials_are_a_table(start: Callable[..., Sweep], world: MemoryPlace) -> None:
    sweep = start()
    assert list(sweep.trials().columns) == ["state", "lr", "width", "val_loss", "step", "seconds", "run_id"]
    world.sweeps.add(trial(1, 0.5), trial(2, None, "infeasible"))
    table = sweep.trials()
    assert table.loc["1", "val_loss"] == 0.5
    assert table.loc["1", "seconds"] == 360
    assert table["val_loss"].isna().tolist() == [False, True]


@pytest.mark.parametrize("trials", [(), (trial(1, 0.5), trial(2, None, "infeasible"), trial(3, 0.4))])
def test_a_plot_is_a_png_whatever_there_is_to_draw(
    start: Callable[..., Sweep], world: MemoryPlace, tmp_path: Path, trials: tuple[Trial, ...]
) -> None:
    sweep = start(*WORDS, "args.momentum=0.5..0.9:reverse_log", "args.fast=true,false", "args.n=1..5")
    world.sweeps.add(*trials)
    drawn = sweep.plot(tmp_path / "sweep.png")
    assert (tmp_path / "sweep.png").read_bytes().startswith(b"\x89PNG")
    assert len([axis for axis in drawn.figure.axes if axis.get_visible()]) == 6
    with pytest.raises(InputError, match="cannot be written"):
        sweep.plot(tmp_path / "none" / "sweep.png")


def test_sweeps_are_listed_newest_first_each_once(start: Callable[..., Sweep], world: MemoryPlace) -> None:
    first = start()
    world.sweeps.end("cancelled")
    start(resume=True)
    second = start(flags={"sweep.trials": 5})
    listed = sweeps(PLACE, services=world.services)
    assert [view.sweep_id for view in listed] == [second.sweep_id, first.sweep_id]


def test_a_sweep_in_another_region_than_the_places_is_listed_too(
    start: Callable[..., Sweep], world: MemoryPlace
) -> None:
    world.other_sweeps["europe-west4"] = MemoryTuning("europe-west4")
    here, there = start(), start(*WORDS, "resources.regions=[europe-west4]")
    assert len(world.sweeps.all) == len(world.other_sweeps["europe-west4"].all) == 1
    listed = sweeps(PLACE, services=world.services)
    assert {view.sweep_id for view in listed} == {here.sweep_id, there.sweep_id}


def test_one_sweep_that_cannot_be_read_hides_no_other_and_is_told_with_the_reason(
    start: Callable[..., Sweep], world: MemoryPlace
) -> None:
    first, second = start(), start(flags={"sweep.trials": 5})
    world.store.write(first.plan.layout.sweep_plan(first.sweep_id), b'{"version": 2}')
    newer, older = sweeps(PLACE, services=world.services)
    assert (newer.sweep_id, newer.unreadable) == (second.sweep_id, None)
    assert (older.sweep_id, older.name, older.state) == (first.sweep_id, "tiny", "running")
    assert older.unreadable is not None
    assert "it was written by another version of headway" in older.unreadable


def test_an_unknown_sweep_and_one_that_is_no_id_are_told(world: MemoryPlace) -> None:
    with pytest.raises(NotFound, match=r"there is no sweep x in gs://acme"):
        attach_sweep("x", PLACE, services=world.services)
    with pytest.raises(InputError, match="is no sweep id"):
        attach_sweep("a/b", PLACE, services=world.services)


def test_a_sweep_whose_tuning_job_never_came_says_what_repairs_it(
    start: Callable[..., Sweep], world: MemoryPlace
) -> None:
    sweep = start()
    world.sweeps.all.clear()
    with pytest.raises(NotFound, match="no tuning job of it") as error:
        attach_sweep(sweep.sweep_id, PLACE, services=world.services).view()
    assert "repairs it" in str(error.value)


@pytest.mark.parametrize(
    "reply", [None, (200, b"{}"), (200, b'{"run": 3, "experiment": [], "runs": {"a": 1}}'), (401, b"sign in")]
)
def test_a_tracking_server_that_is_down_or_answers_oddly_fails_nothing(
    monkeypatch: pytest.MonkeyPatch, config: Path, reply: tuple[int, bytes] | None
) -> None:
    def answer(*_: object, **__: object) -> requests.Response:
        if reply is None:
            raise requests.ConnectionError("nobody is there")
        response = requests.Response()
        response.status_code, response._content = reply
        return response

    monkeypatch.setattr(requests, "request", answer)
    plan = preparing.prepare(config, overrides=WORDS, flags=FLAGS, place=PLACE, sweep=True).plan
    services = MemoryPlace().services
    assert sweep_tracking.open_parent(plan, services) is None
    assert sweep_tracking.url(plan, services) is None
    best = sweep_tracking.Told("val_loss", 0.5, {"lr": 0.1}, "x-t1")
    sweep_tracking.close(plan, services, "succeeded", best)


def test_a_trials_log_is_that_of_its_tuning_job(start: Callable[..., Sweep], world: MemoryPlace) -> None:
    first = start()
    world.sweeps.add(trial(1, 0.5))
    world.sweeps.end("cancelled")
    second = start(resume=True)
    world.sweeps.add(trial(1, None, "infeasible"))
    world.lines = [LogLine(BEGAN, "INFO", "workerpool0-0", "hello")]
    assert [line.text for line in second.logs("2-1")] == ["hello"]
    list(second.logs("1"))
    list(second.logs(f"{first.sweep_id}-2-t1"))
    assert world.logs_asked == [("2", "1"), ("1", "1"), ("2", "1")]
    with pytest.raises(NotFound, match="has no trial 9"):
        second.logs("9")
