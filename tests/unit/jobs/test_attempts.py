"""Attempts: candidates are tried in the order of the list, each once, and a run stays one through it."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from headway.cloud import vertex
from headway.cloud.storage import Version
from headway.cloud.vertex import Job
from headway.errors import Exhausted, RemoteError
from headway.jobs import listing, submission
from headway.jobs.claim import Claim, read_plan
from headway.jobs.run import Run, attach
from headway.jobs.tried import read_attempts
from tests.unit.jobs.fakes import PLACE, MemoryJobs, MemoryPlace, MemoryStore, Told

LIST = ("resources.gpu=h100:8,a100-80gb:8", "resources.regions=[us-central1,us-east4]")
ORDER = [
    ("a3-highgpu-8g", "us-central1"),
    ("a3-highgpu-8g", "us-east4"),
    ("a2-ultragpu-8g", "us-central1"),
    ("a2-ultragpu-8g", "us-east4"),
]


class Regions:
    """Vertex AI in several regions: `full` are refused with 429, `out` find no machines afterwards."""

    def __init__(self) -> None:
        self.regions: dict[str, MemoryJobs] = {}
        self.full: set[tuple[str, str]] = set()
        self.out: set[tuple[str, str]] = set()
        self.tried: list[tuple[str, str]] = []
        self.before_answer: Callable[[], None] = lambda: None

    def __call__(self, region: str) -> MemoryJobs:
        if region not in self.regions:
            self.regions[region] = Region(region, self)
        return self.regions[region]

    @property
    def jobs(self) -> list[Job]:
        return [job for region in self.regions.values() for job in region.jobs]

    @property
    def alive(self) -> list[Job]:
        return [job for job in self.jobs if job.state == "running"]


class Region(MemoryJobs):
    def __init__(self, region: str, world: Regions) -> None:
        super().__init__(region)
        self._world = world

    def create(self, body: dict[str, Any]) -> Job:
        here = (body["jobSpec"]["workerPoolSpecs"][0]["machineSpec"]["machineType"], self.region)
        self._world.tried.append(here)
        if here in self._world.full:
            raise Exhausted(f"429 quota of {here[0]}")
        job = super().create(body)
        if here in self._world.out:
            job = replace(job, state="failed", started=None, error="no machines", error_code=8)
            self.jobs[-1] = job
        self._world.before_answer()
        return job


@pytest.fixture
def world(monkeypatch: pytest.MonkeyPatch) -> MemoryPlace:
    monkeypatch.setattr("time.sleep", lambda seconds: None)
    return MemoryPlace()


@pytest.fixture
def regions(world: MemoryPlace, monkeypatch: pytest.MonkeyPatch) -> Regions:
    regions = Regions()
    monkeypatch.setattr(world, "jobs", regions)
    return regions


@pytest.fixture
def submit(tmp_path: Path, world: MemoryPlace, regions: Regions) -> Callable[..., Run]:
    (tmp_path / "train.py").write_text("print('hello')\n")
    (tmp_path / "requirements.txt").write_text("torch==2.13.0\n")
    (tmp_path / "config.yaml").write_text("name: tiny\nentrypoint: train.py\n")

    def call(*words: str, told: Told | None = None) -> Run:
        config = tmp_path / "config.yaml"
        return submission.submit(
            config, overrides=words or LIST, place=PLACE, services=world.services, progress=told
        )

    return call


def lapse(world: MemoryPlace) -> None:
    for name in world.store.written:
        world.store.written[name] = datetime.now(UTC) - timedelta(seconds=200)


def test_the_first_candidate_that_has_room_takes_the_run_and_nothing_more_is_written(
    submit: Callable[..., Run], world: MemoryPlace, regions: Regions
) -> None:
    run = submit()
    assert regions.tried == ORDER[:1]
    assert read_attempts(world.services, run.plan) == ()


def test_candidates_that_are_refused_for_quota_are_tried_in_the_order_of_the_list(
    submit: Callable[..., Run], world: MemoryPlace, regions: Regions
) -> None:
    regions.full = set(ORDER[:3])
    told = Told()
    run = submit(told=told)
    assert regions.tried == ORDER
    assert run.job().region == "us-east4"
    assert run.job().machine == "a2-ultragpu-8g"
    written = read_attempts(world.services, run.plan)
    assert [(a.number, a.machine, a.region, a.state) for a in written] == [
        (1, *ORDER[0], "refused"),
        (2, *ORDER[1], "refused"),
        (3, *ORDER[2], "refused"),
        (4, *ORDER[3], "created"),
    ]
    assert sum("no room for attempt" in detail for _, detail in told.steps) == 3


def test_a_list_with_no_room_anywhere_ends_with_all_that_was_tried_and_leaves_no_claim(
    submit: Callable[..., Run], world: MemoryPlace, regions: Regions
) -> None:
    regions.full = set(ORDER)
    with pytest.raises(Exhausted) as caught:
        submit()
    assert len(caught.value.details) == 4
    assert regions.tried == ORDER
    assert not any(name.endswith("plan.json") for name in world.store.objects)
    regions.full = set()
    assert submit().job().machine == "a3-highgpu-8g"


def test_nothing_is_tried_that_is_not_listed(submit: Callable[..., Run], regions: Regions) -> None:
    regions.full = set(ORDER)
    with pytest.raises(Exhausted, match="quota") as caught:
        submit("resources.gpu=h100:8")
    assert regions.tried == ORDER[:1]
    assert "list more" in str(caught.value.hint)


def test_a_run_that_is_waited_for_goes_on_where_its_job_finds_no_machines(
    submit: Callable[..., Run], world: MemoryPlace, regions: Regions
) -> None:
    regions.out = set(ORDER[:2])
    run = submit()
    told = Told()
    moved: list[str] = []

    def end(job: Job) -> None:
        moved.append(job.region)
        if job.state == "running":
            regions(job.region).end(job.name, "succeeded")

    assert run.wait(on_poll=end, progress=told).state == "succeeded"
    assert regions.tried == ORDER[:3]
    assert [a.state for a in read_attempts(world.services, run.plan)] == ["stockout", "stockout", "created"]
    assert [detail.split(",")[0] for _, detail in told.steps if "no machines" in detail] == [
        "no machines for attempt 1",
        "no machines for attempt 2",
    ]


def test_a_run_that_nobody_followed_goes_on_when_it_is_submitted_again(
    submit: Callable[..., Run], regions: Regions
) -> None:
    regions.out = {ORDER[0]}
    submit()
    again = submit()
    assert regions.tried == ORDER[:2]
    assert again.state == "running"
    assert submit().job().name == again.job().name


def test_the_last_candidate_without_machines_is_a_run_that_failed(
    submit: Callable[..., Run], regions: Regions
) -> None:
    regions.out = set(ORDER)
    run = submit()
    assert run.wait().state == "failed"
    assert regions.tried == ORDER
    assert submit().state == "failed"
    assert regions.tried == ORDER


def test_another_laptop_finds_the_attempt_that_runs(
    submit: Callable[..., Run], world: MemoryPlace, regions: Regions
) -> None:
    regions.full, regions.out = {ORDER[0]}, {ORDER[1]}
    run = submit()
    submit()
    elsewhere = attach(run.run_id, PLACE, services=world.services)
    assert elsewhere.view().region == "us-central1"
    assert elsewhere.view().machine == "1 x a2-ultragpu-8g with 8 x NVIDIA_A100_80GB"
    assert [attempt.state for attempt in elsewhere.view().attempts] == ["refused", "stockout", "created"]
    assert elsewhere.cancel()
    assert regions.alive == []


@pytest.mark.parametrize("dies_at", range(8))
def test_a_submit_that_dies_between_two_attempts_and_is_repeated_leaves_one_job_running(
    submit: Callable[..., Run], world: MemoryPlace, regions: Regions, dies_at: int
) -> None:
    regions.full = set(ORDER[:2])
    moments = iter(range(100))

    def die(_name: str = "") -> None:
        if next(moments) == dies_at:
            raise Killed

    class Killed(BaseException):
        pass

    submit("name=other", *LIST)  # the image and the bundle are there
    regions.tried.clear()
    world.store.before_write = die
    regions.before_answer = die
    try:
        submit()
    except Killed:
        lapse(world)
    run = submit()
    mine = [job for job in regions.alive if job.labels["headway-run"] == run.run_id]
    assert [job.name for job in mine] == [run.job().name]
    assert run.job().machine == "a2-ultragpu-8g"


def test_of_two_that_follow_a_run_one_goes_on_with_it(submit: Callable[..., Run], regions: Regions) -> None:
    regions.out = {ORDER[0]}
    first, second = submit(), None
    regions.before_answer = lambda: None

    def other_is_faster() -> None:
        nonlocal second
        regions.before_answer = lambda: None
        second = submit()

    regions.before_answer = other_is_faster
    polled = first._polls(None, Told())
    job = next(polled)
    assert second is not None
    assert second.job().name == job.name
    assert len(regions.alive) == 1


def test_a_creation_that_outlived_its_claim_gives_way_to_the_job_of_who_took_it_over(
    submit: Callable[..., Run], world: MemoryPlace, regions: Regions, monkeypatch: pytest.MonkeyPatch
) -> None:
    region, second, told = regions("us-central1"), None, Told()

    def stalled() -> None:
        nonlocal second
        region.before_create = lambda: None
        lapse(world)
        second = submit()
        later = time.time() + 200
        monkeypatch.setattr("headway.jobs.claim.time.time", lambda: later)

    region.before_create = stalled
    first = submit(told=told)
    assert second is not None
    assert [job.name for job in regions.alive] == [second.job().name]
    assert first.job().name == second.job().name
    assert len(regions.jobs) == 2
    assert any("is cancelled" in text for _, text in told.steps)


def test_a_creation_that_outlived_its_claim_stays_where_who_took_it_over_found_it(
    submit: Callable[..., Run], world: MemoryPlace, regions: Regions, monkeypatch: pytest.MonkeyPatch
) -> None:
    second, clock = None, iter(range(0, 10_000, 10))

    def late() -> None:
        nonlocal second
        regions.before_answer = lambda: None
        lapse(world)
        second = submit()
        later = time.time() + 200
        monkeypatch.setattr("headway.jobs.claim.time.time", lambda: later)
        monkeypatch.setattr("headway.jobs.attempts.time.monotonic", lambda: float(next(clock)))

    regions.before_answer = late
    first = submit()
    assert second is not None
    assert [job.name for job in regions.jobs] == [first.job().name] == [second.job().name]


def test_of_two_jobs_of_a_run_the_next_submit_cancels_the_one_of_the_earlier_holder(
    submit: Callable[..., Run], world: MemoryPlace, regions: Regions
) -> None:
    """The first submit died, and its request arrived after the second one had made a job."""
    region = regions("us-central1")

    class Killed(BaseException):
        pass

    def die() -> None:
        region.before_create = lambda: None
        raise Killed

    region.before_create = die
    with pytest.raises(Killed):
        submit()
    lapse(world)
    second = submit()
    assert second.job().labels["headway-holder"] == "2"
    region.create({**region.bodies[-1], "labels": without_holder(region.bodies[-1])})
    assert len(regions.alive) == 2

    third = submit()
    assert third.job().name == second.job().name
    assert [job.name for job in regions.alive] == [second.job().name]


def without_holder(body: dict[str, Any]) -> dict[str, str]:
    return {key: value for key, value in body["labels"].items() if key != "headway-holder"}


def test_a_job_whose_creation_was_not_answered_is_found(submit: Callable[..., Run], regions: Regions) -> None:
    def cut() -> None:
        raise RemoteError("the line was cut")

    regions.before_answer = cut
    run = submit()
    assert run.state == "running"
    assert len(regions.jobs) == 1


def test_a_machine_that_was_not_asked_for_stops_the_run_and_says_the_difference(
    submit: Callable[..., Run], regions: Regions, monkeypatch: pytest.MonkeyPatch
) -> None:
    get = MemoryJobs.get

    def other(self: MemoryJobs, name: str) -> Job:
        return replace(get(self, name), strategy="STANDARD", nodes=1)

    monkeypatch.setattr(MemoryJobs, "get", other)
    with pytest.raises(RemoteError) as caught:
        submit(*LIST, "resources.spot=true", "resources.nodes=2")
    assert "strategy: asked for SPOT, got STANDARD" in caught.value.details
    assert "replicas: asked for 2, got 1" in caught.value.details
    assert [job.state for job in regions.jobs] == ["cancelled"]


def test_a_run_of_several_attempts_is_listed_once_as_the_one_that_runs(
    submit: Callable[..., Run], world: MemoryPlace, regions: Regions
) -> None:
    regions.out = {ORDER[0]}
    submit()
    submit()
    (view,) = listing.runs(PLACE, services=world.services)
    assert (view.region, view.state) == ("us-east4", "running")


def test_a_region_that_cannot_be_asked_hides_no_run_of_another(
    submit: Callable[..., Run], world: MemoryPlace, regions: Regions, monkeypatch: pytest.MonkeyPatch
) -> None:
    submit("resources.regions=[europe-west4]")
    here, told = submit(), Told()

    def down(*_: object) -> Iterator[Job]:
        raise RemoteError("europe-west4-aiplatform.googleapis.com does not answer")

    monkeypatch.setattr(regions("europe-west4"), "labelled", down)
    listed = listing.runs(PLACE, services=world.services, progress=told)
    assert [view.run_id for view in listed] == [here.run_id]
    assert told.steps[-1][0] == "europe-west4"
    assert "what ran there is left out: europe-west4-aiplatform" in told.steps[-1][1]
    monkeypatch.setattr(regions("us-central1"), "labelled", down)
    with pytest.raises(RemoteError, match="does not answer"):
        listing.runs(PLACE, services=world.services)


def test_a_run_that_went_to_another_region_than_the_places_is_listed(
    submit: Callable[..., Run], world: MemoryPlace
) -> None:
    there = submit("resources.regions=[europe-west4]")
    here = submit()
    listed = listing.runs(PLACE, services=world.services)
    assert {view.run_id: view.region for view in listed} == {
        there.run_id: "europe-west4",
        here.run_id: "us-central1",
    }


def test_a_cancel_of_a_run_that_found_no_machines_keeps_the_waiting_submit_from_the_next_candidate(
    submit: Callable[..., Run], world: MemoryPlace, regions: Regions
) -> None:
    regions.out = {ORDER[0]}
    waiting = submit()
    elsewhere = attach(waiting.run_id, PLACE, services=world.services)
    assert elsewhere.cancel()
    assert elsewhere.state == "cancelled"
    assert waiting.wait().state == "cancelled"
    assert attach(waiting.run_id, PLACE, services=world.services).view().state == "cancelled"
    assert [view.state for view in listing.runs(PLACE, services=world.services)] == ["cancelled"]
    told = Told()
    assert submit(told=told).state == "cancelled"
    assert any("was submitted before: cancelled" in text for _, text in told.steps)
    assert not attach(waiting.run_id, PLACE, services=world.services).cancel(), "it has ended"
    assert regions.tried == ORDER[:1]


def test_a_cancel_while_a_submit_pauses_after_a_refusal_is_its_end(
    submit: Callable[..., Run], world: MemoryPlace, regions: Regions, monkeypatch: pytest.MonkeyPatch
) -> None:
    regions.full = {ORDER[0]}
    pauses: list[float] = []

    def pause(seconds: float) -> None:
        for name in [name for name in world.store.objects if name.endswith("plan.json")]:
            pauses.append(seconds)
            assert attach(name.split("/")[-2], PLACE, services=world.services).cancel()

    monkeypatch.setattr("time.sleep", pause)
    told = Told()
    run = submit(told=told)
    assert len(pauses) == 1, "what was refused is not waited for"
    assert regions.tried == ORDER[:1]
    assert any("was cancelled meanwhile" in text for _, text in told.steps)
    view = attach(run.run_id, PLACE, services=world.services).view()
    assert (run.state, view.state, view.job, view.created) == ("cancelled", "cancelled", "", None)
    assert run.wait().state == "cancelled"
    assert list(run.logs()) == []
    assert submit().state == "cancelled"
    assert regions.tried == ORDER[:1]


def test_a_cancel_between_a_claim_and_its_creation_ends_the_job_that_comes_of_it(
    submit: Callable[..., Run], world: MemoryPlace, regions: Regions
) -> None:
    regions.full = {ORDER[0]}

    def mark() -> None:
        regions.before_answer = lambda: None
        (name,) = (name for name in world.store.objects if name.endswith("plan.json"))
        Claim(read_plan(name.split("/")[-2], world.services), world.services.store).cancel()

    regions.before_answer = mark
    run = submit()
    assert regions.tried == ORDER[:2]
    assert [job.state for job in regions.jobs] == ["cancelled"]
    assert run.state == "cancelled"


def test_a_look_that_fails_after_a_creation_is_no_failure_of_the_submit(
    submit: Callable[..., Run], regions: Regions, monkeypatch: pytest.MonkeyPatch
) -> None:
    regions.full = {ORDER[0]}

    def unanswered(self: Claim) -> None:
        raise RemoteError("503")

    monkeypatch.setattr(Claim, "look", unanswered)
    assert submit().state == "running"


def test_a_cancel_waits_for_the_job_that_is_being_created(
    submit: Callable[..., Run], world: MemoryPlace, regions: Regions, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its submit has died, and looks no more."""
    plan, come = submit().plan, iter(range(10))
    world.store.objects.pop(plan.name_in_bucket)
    regions.regions.clear()
    assert Claim(plan, world.services.store).take()

    def pause(_seconds: float) -> None:
        if next(come) == 2:
            regions(plan.candidates[0].region).create(vertex.render(plan))

    monkeypatch.setattr("time.sleep", pause)
    told = Told()
    run = attach(plan.run_id, PLACE, services=world.services)
    assert run.cancel(told)
    assert next(come) == 3
    assert [job.state for job in regions.jobs] == ["cancelled"]
    assert sum("is waited for" in text for _, text in told.steps) == 1


def test_a_run_whose_submit_died_is_cancelled_at_once_and_taken_over_by_nobody(
    submit: Callable[..., Run], world: MemoryPlace, regions: Regions
) -> None:
    class Killed(BaseException):
        pass

    def die() -> None:
        raise Killed

    regions("us-central1").before_create = die
    with pytest.raises(Killed):
        submit()
    lapse(world)
    (name,) = (name for name in world.store.objects if name.endswith("plan.json"))
    run = attach(name.split("/")[-2], PLACE, services=world.services)
    assert run.cancel()
    lapse(world)
    regions("us-central1").before_create = lambda: None
    assert submit().state == run.state == "cancelled"
    assert regions.jobs == []


def test_a_job_that_came_after_all_is_ended_by_the_next_submit(
    submit: Callable[..., Run], world: MemoryPlace, regions: Regions
) -> None:
    regions.out = {ORDER[0]}
    run = submit()
    assert run.cancel()
    regions.out = set()
    late = vertex.render(run.plan, run.plan.candidates[1])
    regions("us-east4").create({**late, "labels": {**late["labels"], "headway-attempt": "2"}})
    told = Told()
    assert submit(told=told).state == "cancelled"
    assert regions.alive == []
    assert any("so is its run" in text for _, text in told.steps)


def test_a_submit_whose_first_candidate_takes_it_never_looks_whether_it_was_cancelled(
    submit: Callable[..., Run], monkeypatch: pytest.MonkeyPatch
) -> None:
    def look(self: MemoryStore, name: str) -> Version:
        raise AssertionError(f"one request too many: {name}")

    monkeypatch.setattr(MemoryStore, "version", look)
    assert submit().state == "running"
