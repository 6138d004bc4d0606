"""Schedules from the laptop: what is sent where, what is sent again, and what is told."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Literal

import pytest

from headway.cloud.scheduler import ClockJob
from headway.errors import ConfigError, DataNotReady, InputError, NotFound, RemoteError
from headway.jobs import schedules, ticks
from headway.jobs.schedules import ScheduleView
from headway.spec.layout import BucketLayout
from headway.spec.plan import DataPin
from headway.spec.promotion import Promoted, Promotion
from headway.spec.scheduled import DataVersion, Scheduled, Tick
from headway.spec.status import RunStatus
from tests.unit.jobs.fakes import PLACE, MemoryPlace, Told

LAYOUT = BucketLayout(PLACE.bucket)


@pytest.fixture
def world(monkeypatch: pytest.MonkeyPatch) -> MemoryPlace:
    monkeypatch.setattr("time.sleep", lambda seconds: None)
    return MemoryPlace()


@pytest.fixture
def config(tmp_path: Path) -> Path:
    (tmp_path / "train.py").write_text("print('hello')\n")
    (tmp_path / "requirements.txt").write_text("torch==2.13.0\n")
    path = tmp_path / "config.yaml"
    path.write_text('name: tiny\nentrypoint: train.py\nschedule: {cron: "0 3 * * 1", tz: Europe/Zurich}\n')
    return path


@pytest.fixture
def create(config: Path, world: MemoryPlace) -> Callable[..., ScheduleView]:
    def call(*words: str, told: Told | None = None) -> ScheduleView:
        return schedules.create(
            config, overrides=words, place=world.place, services=world.services, progress=told
        )

    return call


def test_a_schedule_is_image_code_function_document_and_clock(
    create: Callable[..., ScheduleView], world: MemoryPlace
) -> None:
    told = Told()
    view = create(told=told)
    assert [name for name, _ in told.steps] == ["image", "image", "bundle", "function", "clock"]
    scheduled = Scheduled.model_validate_json(world.store.objects[LAYOUT.schedule("tiny")])
    assert scheduled.plan.schedule == "tiny"
    assert LAYOUT.bundle(scheduled.plan.code.digest) in world.store.objects
    (job,) = world.clock_jobs.bodies.values()
    assert (job["schedule"], job["timeZone"]) == ("0 3 * * 1", "Europe/Zurich")
    assert job["httpTarget"]["oidcToken"]["serviceAccountEmail"] == "scheduler@acme"
    assert (view.state, view.clock_jobs, view.last) == ("enabled", ("headway-tiny",), None)
    assert world.vertex.jobs == [], "nothing runs before its time"


def test_the_function_is_deployed_once_for_each_version_of_it(
    create: Callable[..., ScheduleView], world: MemoryPlace
) -> None:
    create()
    told = Told()
    create("args.lr=0.1", told=told)
    assert len(world.functions.deployed) == 1
    assert ("function", f"reuse {schedules.function_id(PLACE)}") in told.steps
    world.place = world.place.model_copy(update={"tracking_uri": "http://127.0.0.1:2"})
    create()
    assert len(world.functions.deployed) == 2


def test_what_is_created_again_takes_the_place_of_what_was_there_and_stays_paused(
    create: Callable[..., ScheduleView], world: MemoryPlace
) -> None:
    create()
    schedules.pause("tiny", PLACE, services=world.services)
    view = create("schedule.cron=0 4 * * 1")
    assert (view.cron, view.state) == ("0 4 * * 1", "paused")


def test_triggers_and_age_are_looked_at_by_a_job_of_their_own_which_goes_with_them(
    create: Callable[..., ScheduleView], world: MemoryPlace
) -> None:
    assert create("schedule.max_age=30d").clock_jobs == ("headway-tiny", "headway-tiny-watch")
    assert world.clock_jobs.bodies["headway-tiny-watch"]["schedule"] == "*/5 * * * *"
    assert create().clock_jobs == ("headway-tiny",)
    assert create("schedule={max_age: 30d}").clock_jobs == ("headway-tiny-watch",)


def test_a_job_whose_clock_would_be_another_s_watch_cannot_be_scheduled(
    create: Callable[..., ScheduleView], config: Path, world: MemoryPlace
) -> None:
    """Else the clock of tiny-watch goes when tiny has no triggers, or is deleted."""
    config.write_text(config.read_text().replace("tiny", "tiny-watch"))
    with pytest.raises(ConfigError, match="headway-tiny-watch is the one that watches for the schedule tiny"):
        create()
    assert world.clock_jobs.bodies == {}


def test_a_queue_asks_cloud_scheduler_to_call_for_a_day(
    create: Callable[..., ScheduleView], world: MemoryPlace
) -> None:
    create("schedule.overlap=queue")
    assert world.clock_jobs.bodies["headway-tiny"]["retryConfig"]["maxRetryDuration"] == "86400s"


def test_a_config_without_a_schedule_is_told_what_to_write(config: Path, world: MemoryPlace) -> None:
    config.write_text("name: tiny\nentrypoint: train.py\n")
    with pytest.raises(ConfigError, match="there is no schedule in it") as caught:
        schedules.create(config, place=PLACE, services=world.services)
    assert '--cron "0 3 * * 1"' in str(caught.value)
    schedules.create(config, flags={"schedule.cron": "0 3 * * 1"}, place=world.place, services=world.services)


def test_a_profile_without_the_account_of_ticks_is_told_where_to_get_it(
    create: Callable[..., ScheduleView], world: MemoryPlace
) -> None:
    world.place = world.place.model_copy(update={"scheduler_service_account": None})
    with pytest.raises(InputError, match="has no scheduler_service_account"):
        create()
    assert world.store.objects == {}


def test_data_that_was_never_pushed_stops_the_creation(
    create: Callable[..., ScheduleView], world: MemoryPlace, config: Path
) -> None:
    (config.parent / "data.dvc").write_text(
        "outs:\n- md5: 0123456789abcdef0123456789abcdef\n  size: 3\n  hash: md5\n  path: data\n"
    )
    with pytest.raises(DataNotReady):
        create("data=[data]")
    assert world.clock_jobs.bodies == {}


def test_a_path_that_was_pushed_in_any_version_does_and_one_that_never_was_does_not(
    create: Callable[..., ScheduleView], world: MemoryPlace, config: Path
) -> None:
    for name in ("data", "labels"):
        (config.parent / f"{name}.dvc").write_text(
            f"outs:\n- md5: 0123456789abcdef0123456789abcdef\n  size: 3\n  hash: md5\n  path: {name}\n"
        )
    pin = DataPin(path="data", md5="f" * 32, size=3, files=1)
    version = DataVersion(time=datetime.now(UTC), pins=(pin,))
    world.store.write(LAYOUT.data_version("tiny"), version.model_dump_json().encode())
    assert create("data=[data]").state == "enabled"
    with pytest.raises(DataNotReady, match=r"^labels: "):
        create("data=[data,labels]")


def test_a_job_of_that_name_that_calls_something_else_is_left_alone(
    create: Callable[..., ScheduleView], world: MemoryPlace
) -> None:
    create()
    world.clock_jobs.bodies["headway-tiny"]["httpTarget"]["uri"] = "https://elsewhere.example.com/"
    with pytest.raises(InputError, match="calls https://elsewhere"):
        create()


def test_a_function_that_got_another_address_is_called_there(
    create: Callable[..., ScheduleView], world: MemoryPlace
) -> None:
    create()
    moved = f"http://127.0.0.1:1/run/{schedules.function_id(PLACE)}"
    world.clock_jobs.bodies["headway-tiny"]["httpTarget"]["uri"] = moved
    assert create().function == f"https://{schedules.function_id(PLACE)}.run.app"


def test_a_schedule_is_run_now_by_the_code_of_the_function(
    create: Callable[..., ScheduleView], world: MemoryPlace, monkeypatch: pytest.MonkeyPatch
) -> None:
    create()
    first = schedules.run("tiny", PLACE, services=world.services)
    assert (first.state, first.source) == ("started", "run")
    world.vertex.end(world.vertex.jobs[0].name, "succeeded")
    assert schedules.show("tiny", PLACE, services=world.services).last == first
    (row,) = schedules.history("tiny", PLACE, services=world.services)
    assert (row.tick.run_id, row.run_state) == (first.run_id, "succeeded")
    assert row.promotion is None
    assert "plan" not in row.document()


def test_the_history_tells_what_became_of_a_runs_model(
    create: Callable[..., ScheduleView], world: MemoryPlace, monkeypatch: pytest.MonkeyPatch
) -> None:
    create()
    run_id = schedules.run("tiny", PLACE, services=world.services).run_id or ""
    scheduled = ticks.read_schedule("tiny", world.services)
    pin = Promotion(metric="acc", min=0.5, on="data/holdout", evaluate="train:evaluate").pin()
    promoting = scheduled.model_copy(update={"plan": scheduled.plan.model_copy(update={"promote": pin})})
    monkeypatch.setattr(ticks, "read_schedule", lambda *_: promoting)
    (row,) = schedules.history("tiny", PLACE, services=world.services)
    assert row.promotion is None  # it has not said anything yet
    told = Promoted(
        outcome="refused", reason="min of acc: 0.1", alias="champion", model="tiny", on="data/holdout"
    )
    now = datetime(2026, 3, 1, tzinfo=UTC)
    status = RunStatus(run_id=run_id, phase="done", started=now, updated=now, promotion=told)
    world.store.write(LAYOUT.status(run_id), status.model_dump_json().encode())
    (row,) = schedules.history("tiny", PLACE, services=world.services)
    assert row.promotion == "refused: min of acc: 0.1"


def test_a_tick_of_another_version_is_an_error_that_names_it(
    create: Callable[..., ScheduleView], world: MemoryPlace
) -> None:
    create()
    name = f"{LAYOUT.ticks('tiny')}20260301T000000Z-cron.json"
    world.store.write(name, b'{"version": 2}')
    with pytest.raises(RemoteError, match=r"20260301T000000Z-cron\.json cannot be read"):
        schedules.history("tiny", PLACE, services=world.services)


def test_a_tick_that_still_waited_when_the_next_one_came_is_told_so(
    create: Callable[..., ScheduleView], world: MemoryPlace
) -> None:
    create()
    for hours in (1, 2):
        waits(world, "cron", datetime.now(UTC) - timedelta(hours=hours))
    assert told(world) == [("waiting", "x runs"), ("skipped", "x runs; the next one came first")]


def waits(world: MemoryPlace, source: Literal["cron", "watch"], time: datetime) -> None:
    tick = Tick(schedule="tiny", source=source, time=time, state="waiting", reason="x runs", updated=time)
    world.store.write(LAYOUT.tick("tiny", time, source), tick.model_dump_json().encode())


def told(world: MemoryPlace) -> list[tuple[str, str]]:
    rows = schedules.history("tiny", PLACE, services=world.services)
    return [(row.tick.state, row.tick.reason) for row in rows if row.tick.source != "run"]


def test_a_tick_of_the_clock_waits_for_a_day_and_then_it_is_over(
    create: Callable[..., ScheduleView], world: MemoryPlace
) -> None:
    create("schedule.overlap=queue")
    waits(world, "cron", datetime.now(UTC) - timedelta(hours=23))
    assert told(world) == [("waiting", "x runs")]
    world.store.objects = {name: data for name, data in world.store.objects.items() if "/ticks/" not in name}
    waits(world, "cron", datetime.now(UTC) - timedelta(hours=25))
    assert told(world) == [("skipped", "x runs; it waited for a day")]


def test_a_tick_of_a_trigger_that_another_run_overtook_is_told_so(
    create: Callable[..., ScheduleView], world: MemoryPlace
) -> None:
    """What set it off is no longer new to the watch: nobody brings the tick back."""
    create("schedule.triggers={data: {}}")
    now = datetime.now(UTC)
    old = ticks.read_schedule("tiny", world.services)
    document = old.model_copy(update={"created": now - timedelta(days=9)})
    world.store.write(LAYOUT.schedule("tiny"), document.model_dump_json(by_alias=True).encode())
    pushed = now.replace(microsecond=0) - timedelta(days=1)
    version = DataVersion(time=pushed, pins=())
    world.store.write(LAYOUT.data_version("tiny"), version.model_dump_json().encode())
    waits(world, "watch", pushed - timedelta(days=1))  # of a version before that one
    waits(world, "watch", pushed)
    assert told(world) == [
        ("waiting", "x runs"),  # it is looked at every five minutes, for ever
        ("skipped", "x runs; what set it off is no longer new"),
    ]
    run_id = schedules.run("tiny", PLACE, services=world.services).run_id
    assert told(world) == [("skipped", f"x runs; {run_id} began meanwhile")] * 2


@pytest.mark.parametrize("document", [b'{"version": 2}', b'{"version": 1, "sched', b"[]", b"\xff"])
def test_one_schedule_that_cannot_be_read_hides_no_other_and_is_told_with_the_reason(
    create: Callable[..., ScheduleView], world: MemoryPlace, document: bytes
) -> None:
    create()
    create("name=other")
    world.store.write(LAYOUT.schedule("other"), document)
    other, tiny = schedules.schedules(PLACE, services=world.services)
    assert (tiny.name, tiny.unreadable) == ("tiny", None)
    assert other.unreadable is not None
    assert "the schedule other cannot be read: it was written by another version" in other.unreadable
    assert (other.name, other.state, other.cron, other.tz) == (
        "other",
        "enabled",
        "0 3 * * 1",
        "Europe/Zurich",
    )
    assert other.document()["created"] is None


def test_a_newest_tick_that_cannot_be_read_hides_no_schedule_and_is_in_nobodys_way(
    create: Callable[..., ScheduleView], world: MemoryPlace
) -> None:
    create()
    world.store.write(f"{LAYOUT.ticks('tiny')}20260301T000000Z-cron.json", b'{"version": 2}')
    (view,) = schedules.schedules(PLACE, services=world.services)
    assert view.last is None
    assert view.unreadable is not None
    assert "20260301T000000Z-cron.json cannot be read" in view.unreadable
    assert schedules.pause("tiny", PLACE, services=world.services).state == "paused"
    assert create().state == "paused"


def test_a_schedule_that_cannot_be_read_can_be_deleted(
    create: Callable[..., ScheduleView], world: MemoryPlace
) -> None:
    create()
    world.store.write(LAYOUT.schedule("tiny"), b'{"version": 2}')
    schedules.delete("tiny", PLACE, services=world.services)
    assert world.clock_jobs.bodies == {}
    assert schedules.schedules(PLACE, services=world.services) == []


def test_a_schedule_that_is_deleted_while_they_are_listed_is_left_out(
    create: Callable[..., ScheduleView], world: MemoryPlace, monkeypatch: pytest.MonkeyPatch
) -> None:
    create()
    listed = world.clock_jobs.list

    def list_then_delete() -> list[ClockJob]:
        found = listed()
        schedules.delete("tiny", PLACE, services=world.services)
        return found

    monkeypatch.setattr(world.clock_jobs, "list", list_then_delete)
    assert schedules.schedules(PLACE, services=world.services) == []


def test_pause_and_resume_may_be_said_twice(create: Callable[..., ScheduleView], world: MemoryPlace) -> None:
    create("schedule.max_age=30d")
    for verb, state in ((schedules.pause, "paused"), (schedules.resume, "enabled")):
        for _ in range(2):
            assert verb("tiny", PLACE, services=world.services).state == state
        assert {job.state for job in world.clock_jobs.list()} == {state}


def test_a_deleted_schedule_is_gone_and_its_ticks_stay(
    create: Callable[..., ScheduleView], world: MemoryPlace
) -> None:
    create()
    schedules.run("tiny", PLACE, services=world.services)
    schedules.delete("tiny", PLACE, services=world.services)
    assert world.clock_jobs.bodies == {}
    assert schedules.schedules(PLACE, services=world.services) == []
    assert [name for name in world.store.objects if "/ticks/" in name]
    with pytest.raises(NotFound, match="there is no schedule tiny"):
        schedules.show("tiny", PLACE, services=world.services)


def test_a_schedule_whose_clock_is_gone_says_so(
    create: Callable[..., ScheduleView], world: MemoryPlace
) -> None:
    create()
    world.clock_jobs.delete("headway-tiny")
    (view,) = schedules.schedules(PLACE, services=world.services)
    assert view.state == "missing"
    with pytest.raises(NotFound, match="no job of the schedule tiny any more"):
        schedules.pause("tiny", PLACE, services=world.services)
