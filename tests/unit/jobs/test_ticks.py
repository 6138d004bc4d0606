"""Ticks: exactly one run each, whatever is killed and delivered again; and each says in words what it did."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from headway.errors import Exhausted, InputError, NotFound, Refused, RemoteError
from headway.jobs import attempts
from headway.jobs.claim import Claim
from headway.jobs.progress import Silent
from headway.jobs.ticks import answer, tick, watch
from headway.spec.layout import BucketLayout
from headway.spec.plan import DataPin, Plan
from headway.spec.schedule import Schedule
from headway.spec.scheduled import DataVersion, Scheduled, Tick
from tests.unit.jobs.fakes import PLACE, MemoryJobs, MemoryPlace
from tests.unit.spec.test_plan import plan

LAYOUT = BucketLayout(PLACE.bucket)
NOW = datetime.now(UTC).replace(microsecond=0)
"""When the tests were collected; the jobs of the fake are made later, by as long as the suite runs."""
TIME = NOW + timedelta(days=1)
PIN = DataPin(path="data/x", md5="abc.dir", size=10, files=2)


class Killed(BaseException):
    """The process is gone: nothing of it runs any more."""


@pytest.fixture
def world(monkeypatch: pytest.MonkeyPatch) -> MemoryPlace:
    """Sleeping takes no time, but all that was written is older then, and the clock is put on."""
    found = MemoryPlace()
    slept, real = 0.0, time.time

    def sleep(seconds: float) -> None:
        nonlocal slept
        slept += seconds
        for name in found.store.written:
            found.store.written[name] -= timedelta(seconds=seconds)

    monkeypatch.setattr("time.sleep", sleep)
    monkeypatch.setattr("time.time", lambda: real() + slept)
    return found


def base() -> Plan:
    return plan(place=PLACE, data=(PIN,)).model_copy(update={"schedule": "digits"})


def put(world: MemoryPlace, name: str, document: str) -> None:
    world.store.write(name, document.encode())


def scheduled(world: MemoryPlace, of: Plan | None = None, **section: Any) -> Plan:
    made = of or base()
    schedule = Schedule.model_validate({"cron": "0 3 * * 1", **section})
    document = Scheduled(created=NOW - timedelta(days=400), schedule=schedule, plan=made)
    put(world, LAYOUT.schedule("digits"), document.model_dump_json(by_alias=True))
    world.images.add(made.image.uri)
    put(world, LAYOUT.bundle(made.code.digest), "")
    return made


def push(world: MemoryPlace, md5: str, at: datetime) -> None:
    version = DataVersion(time=at, pins=(PIN.model_copy(update={"md5": md5}),))
    put(world, LAYOUT.data_version("digits"), version.model_dump_json())


def end(world: MemoryPlace, state: str = "succeeded") -> None:
    world.vertex.end(world.vertex.jobs[-1].name, state)


def do(world: MemoryPlace, at: datetime = TIME) -> Tick:
    return tick("digits", "cron", at, world.services)


def recorded(world: MemoryPlace) -> list[Tick]:
    return [
        Tick.model_validate_json(document)
        for name, document in sorted(world.store.objects.items())
        if name.startswith(LAYOUT.ticks("digits"))
    ]


# one tick, one run


def test_a_tick_starts_one_run_by_the_same_claim_as_a_submit_and_is_written_down(world: MemoryPlace) -> None:
    made = scheduled(world)
    found = do(world)
    assert (found.state, found.run_id, found.job) == ("started", made.run_id, world.vertex.jobs[0].name)
    assert world.vertex.bodies[0]["labels"]["headway-schedule"] == "digits"
    assert world.vertex.bodies[0]["labels"]["headway-run"] == made.run_id
    assert LAYOUT.plan(made.run_id) in world.store.objects
    assert recorded(world) == [found]
    assert LAYOUT.tick("digits", TIME, "cron") in world.store.objects


def test_a_tick_that_is_delivered_again_does_nothing_more(world: MemoryPlace) -> None:
    scheduled(world, always=True)
    first = do(world)
    end(world)
    assert do(world) == first
    assert len(world.vertex.jobs) == 1


@pytest.mark.parametrize("after", [False, True], ids=["before", "after"])
@pytest.mark.parametrize("section", [{}, {"overlap": "replace"}], ids=["first", "replace"])
def test_a_tick_that_is_killed_at_any_call_and_delivered_again_is_one_run(
    world: MemoryPlace, monkeypatch: pytest.MonkeyPatch, after: bool, section: dict[str, Any]
) -> None:
    """Killed before, or right after, each of its calls to Google, one after the other."""
    calls = 0
    for kill_at in range(200):
        fresh = MemoryPlace()
        monkeypatch.setattr(world, "store", fresh.store)
        monkeypatch.setattr(world, "vertex", fresh.vertex)
        scheduled(world, **section)
        if section:
            do(world, TIME - timedelta(days=7))
            push(world, "new.dir", NOW)
        before = len(world.vertex.jobs)
        calls = 0

        def mortal(call: Callable[..., Any], at: int = kill_at) -> Callable[..., Any]:
            def one(*words: Any, **named: Any) -> Any:
                nonlocal calls
                calls += 1
                if calls == at + 1 and not after:
                    raise Killed
                answer = call(*words, **named)
                if calls == at + 1:
                    raise Killed
                return answer

            return one

        with monkeypatch.context() as patch:
            for target, names in (
                (world.store, ("read", "replace", "version")),
                (world.vertex, ("create", "labelled", "cancel", "get")),
            ):
                for name in names:
                    patch.setattr(target, name, mortal(getattr(target, name)))
            try:
                do(world)
                survived = True
            except Killed:
                survived = False
        found = do(world)
        assert found.state == "started", kill_at
        assert len(world.vertex.jobs) == before + 1, kill_at
        assert world.vertex.jobs[-1].labels["headway-run"] == found.run_id
        assert do(world) == found
        if section:
            assert [job.state for job in world.vertex.jobs] == ["cancelled", "running"]
        if survived:
            break
    assert survived
    assert calls > 10


def test_of_two_deliveries_at_the_same_time_the_first_decision_holds(world: MemoryPlace) -> None:
    """The second one comes while the first is about to create its job, and finds other data."""
    scheduled(world)
    others: list[Tick] = []

    def other() -> None:
        world.vertex.before_create = lambda: None
        push(world, "new.dir", NOW)
        others.append(do(world))

    world.vertex.before_create = other
    # the claim of the one that stands still lapses: the other one creates the job
    found = do(world)
    assert found.run_id == others[0].run_id == base().run_id
    assert len({job.labels["headway-run"] for job in world.vertex.jobs}) == 1
    assert len([job for job in world.vertex.jobs if job.state == "running"]) == 1


# why


def test_nothing_changed_is_a_skip_that_says_so(world: MemoryPlace) -> None:
    made = scheduled(world)
    do(world)
    end(world)
    found = do(world, TIME + timedelta(days=7))
    assert found.state == "skipped"
    assert found.reason.startswith(f"nothing changed since {made.run_id}, which ended ")
    assert found.equal == ("code", "environment", "data", "config")
    assert len(world.vertex.jobs) == 1


def test_the_data_s_last_version_is_taken_when_the_tick_comes(world: MemoryPlace) -> None:
    scheduled(world)
    do(world)
    end(world)
    push(world, "new.dir", NOW)
    found = do(world, TIME + timedelta(days=7))
    assert found.state == "started"
    assert found.reason.startswith("new data (data/x abc.dir → new.dir) since")
    assert found.changed == ("data",)
    claimed = Plan.model_validate_json(world.store.objects[LAYOUT.plan(str(found.run_id))])
    assert claimed.data[0].md5 == "new.dir"


def test_pinned_data_stays_whatever_is_pushed(world: MemoryPlace) -> None:
    scheduled(world, data="pinned")
    do(world)
    end(world)
    push(world, "new.dir", NOW)
    assert do(world, TIME + timedelta(days=7)).state == "skipped"


def test_always_numbers_the_runs_of_one_content(world: MemoryPlace) -> None:
    made = scheduled(world, always=True)
    ids = []
    for week in range(3):
        ids.append(do(world, TIME + timedelta(days=7 * week)).run_id)
        end(world)
    assert ids == [made.run_id, f"{made.run_id}-2", f"{made.run_id}-3"]


def test_a_run_that_failed_is_run_again_by_the_next_tick_under_the_next_number(world: MemoryPlace) -> None:
    made = scheduled(world)
    do(world)
    end(world, "failed")
    found = do(world, TIME + timedelta(days=7))
    assert (found.state, found.run_id) == ("started", f"{made.run_id}-2")
    assert found.reason == "no run of it has succeeded yet"


def test_a_run_that_was_cancelled_before_it_had_a_job_is_run_again_under_the_next_number(
    world: MemoryPlace,
) -> None:
    made = scheduled(world)
    claim = Claim(made, world.services.store)
    assert claim.take()
    claim.cancel()
    found = do(world)
    assert (found.state, found.run_id) == ("started", f"{made.run_id}-2")


def test_data_that_went_back_to_an_older_version_is_trained_on_again(world: MemoryPlace) -> None:
    made = scheduled(world)
    do(world)
    end(world)
    push(world, "new.dir", NOW)
    do(world, TIME + timedelta(days=7))
    end(world)
    push(world, "abc.dir", NOW)
    found = do(world, TIME + timedelta(days=14))
    assert (found.state, found.run_id) == ("started", f"{made.run_id}-2")


def test_a_model_that_is_too_old_is_trained_again(world: MemoryPlace) -> None:
    scheduled(world, max_age="30d")
    do(world)
    end(world)
    assert do(world, TIME + timedelta(days=7)).state == "skipped"
    assert do(world, TIME + timedelta(days=31)).state == "started"


# what a run needs


@pytest.mark.parametrize("what", ["image", "code"])
def test_a_tick_whose_image_or_code_was_deleted_fails_and_says_what_makes_it_anew(
    world: MemoryPlace, what: str
) -> None:
    made = scheduled(world, overlap="replace")
    do(world)
    push(world, "new.dir", NOW)
    bundle = LAYOUT.bundle(made.code.digest)
    if what == "image":
        world.images.clear()
    else:
        world.store.delete(bundle)
    later = TIME + timedelta(days=7)
    with pytest.raises(RemoteError, match=f"the {what} .* is no longer there"):
        do(world, later)
    last = recorded(world)[-1]
    assert (last.state, last.run_id, last.plan) == ("failed", None, None)
    assert made.image.uri in last.reason if what == "image" else f"gs://acme/{bundle}" in last.reason
    assert last.reason.endswith("create the schedule again, with the same config: that makes it anew")
    assert [job.state for job in world.vertex.jobs] == ["running"], "nothing is cancelled for it"
    world.images.add(made.image.uri)
    put(world, bundle, "")
    assert do(world, later).state == "started"


def test_a_tick_that_starts_nothing_needs_no_image(world: MemoryPlace) -> None:
    scheduled(world)
    do(world)
    end(world)
    world.images.clear()
    assert do(world, TIME + timedelta(days=7)).state == "skipped"


def test_a_tick_that_may_not_look_at_images_goes_on_without(
    world: MemoryPlace, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(uri: str) -> str:
        raise Refused("403 permission denied")

    scheduled(world)
    monkeypatch.setattr(world, "image_digest", refuse)
    assert do(world).state == "started"


# overlap


def test_while_the_run_before_still_runs_a_tick_is_skipped(world: MemoryPlace) -> None:
    made = scheduled(world)
    do(world)
    push(world, "new.dir", NOW)
    found = do(world, TIME + timedelta(days=7))
    assert (found.state, found.reason) == ("skipped", f"{made.run_id} is still running (overlap: skip)")


def test_a_queued_tick_answers_503_until_the_run_before_has_ended(world: MemoryPlace) -> None:
    made = scheduled(world, overlap="queue")
    do(world)
    push(world, "new.dir", NOW)
    later = (TIME + timedelta(days=7)).isoformat()
    document, status = answer(world.services, {"schedule": "digits", "source": "cron"}, later)
    assert status == 503
    assert document["ticks"][0]["state"] == "waiting"
    assert document["ticks"][0]["reason"] == f"{made.run_id} is still running"
    end(world)
    document, status = answer(world.services, {"schedule": "digits", "source": "cron"}, later)
    assert (status, document["ticks"][0]["state"], document["ticks"][0]["deliveries"]) == (200, "started", 2)


def test_what_a_person_starts_now_is_not_queued_as_nobody_would_bring_it_back(world: MemoryPlace) -> None:
    scheduled(world, overlap="queue")
    do(world)
    push(world, "new.dir", NOW)
    assert tick("digits", "run", TIME, world.services).state == "skipped"


def test_replace_cancels_the_run_before_and_says_so(world: MemoryPlace) -> None:
    made = scheduled(world, overlap="replace")
    do(world)
    push(world, "new.dir", NOW)
    found = do(world, TIME + timedelta(days=7))
    assert [job.state for job in world.vertex.jobs] == ["cancelled", "running"]
    assert found.replaced == (made.run_id,)
    assert f"{made.run_id}, which still ran, is cancelled" in found.reason


def test_replace_cancels_a_run_that_began_in_a_region_of_before(
    world: MemoryPlace, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The config named no region when it began, and names another one now."""
    here, there = world.vertex, MemoryJobs("europe-west4")
    monkeypatch.setattr(world, "jobs", lambda region: there if region == "europe-west4" else here)
    scheduled(world, overlap="replace")
    before = do(world)
    moved = plan({"resources": {"regions": ["europe-west4"]}}, place=PLACE, data=(PIN,))
    scheduled(world, moved.model_copy(update={"schedule": "digits"}), overlap="replace")
    found = do(world, TIME + timedelta(days=7))
    assert found.replaced == (before.run_id,)
    assert ([job.state for job in here.jobs], [job.state for job in there.jobs]) == (
        ["cancelled"],
        ["running"],
    )


# failures


def test_a_failure_is_written_down_and_the_tick_tried_again(world: MemoryPlace) -> None:
    made = scheduled(world)

    def refuse() -> None:
        raise Refused("no permission", hint="grant it")

    world.vertex.before_create = refuse
    document, status = answer(world.services, {"schedule": "digits"}, TIME.isoformat())
    assert status == 500
    assert "no permission" in document["error"]
    (failed,) = recorded(world)
    assert (failed.state, failed.reason) == ("failed", "no permission grant it")
    world.vertex.before_create = lambda: None
    assert do(world).run_id == made.run_id
    (found,) = recorded(world)
    assert (found.state, found.deliveries) == ("started", 2)


def test_no_room_is_a_failure_of_the_tick_not_a_lost_tick(world: MemoryPlace) -> None:
    scheduled(world)

    def full() -> None:
        raise Exhausted("quota is used up")

    world.vertex.before_create = full
    with pytest.raises(Exhausted):
        do(world)
    assert recorded(world)[0].state == "failed"
    world.vertex.before_create = lambda: None
    assert do(world).state == "started"


def test_a_schedule_that_is_not_there_leaves_nothing_behind(world: MemoryPlace) -> None:
    with pytest.raises(NotFound, match="there is no schedule digits in gs://acme"):
        do(world)
    assert world.store.objects == {}
    assert answer(world.services, {"schedule": "digits"}, None)[1] == 404
    assert answer(world.services, {}, None)[1] == 400


# what is watched


def looked(world: MemoryPlace, at: datetime) -> list[Tick]:
    return watch("digits", at, world.services)


def test_new_data_starts_a_run_once_it_has_been_still_for_long_enough(world: MemoryPlace) -> None:
    scheduled(world, triggers={"data": {"debounce": "10m"}})
    push(world, "new.dir", TIME)
    assert looked(world, TIME + timedelta(minutes=5)) == []
    (found,) = looked(world, TIME + timedelta(minutes=10))
    assert (found.state, found.source, found.time) == ("started", "watch", TIME)
    assert found.reason == "new data was pushed; no run of it has succeeded yet"
    assert len(world.vertex.jobs) == 1


def test_a_run_on_new_data_that_fails_is_not_begun_again_every_five_minutes(world: MemoryPlace) -> None:
    scheduled(world, triggers={"data": {}})
    push(world, "new.dir", NOW - timedelta(hours=1))
    assert len(looked(world, TIME)) == 1
    end(world, "failed")
    assert looked(world, TIME + timedelta(minutes=5)) == []
    assert len(world.vertex.jobs) == 1


def test_data_that_is_pushed_between_a_ticks_decision_and_its_job_is_not_lost(world: MemoryPlace) -> None:
    """By the clock it is older than the run, which was made of the version before it."""
    scheduled(world, triggers={"data": {}})

    def meanwhile() -> None:
        push(world, "new.dir", datetime.now(UTC) - timedelta(seconds=1))

    world.vertex.before_create = meanwhile
    do(world)
    world.vertex.before_create = lambda: None
    assert [found.state for found in looked(world, TIME)] == ["waiting"]
    end(world)
    (found,) = looked(world, TIME)
    assert found.state == "started"
    assert found.reason.startswith("new data was pushed; new data (data/x abc.dir → new.dir)")
    end(world)
    assert looked(world, TIME) == []


def test_data_of_before_a_run_is_nothing_new_to_it_nor_to_a_schedule_of_one_version(
    world: MemoryPlace,
) -> None:
    push(world, "new.dir", NOW - timedelta(hours=1))
    scheduled(world, triggers={"data": {}}, data="pinned")
    do(world)
    end(world)
    assert looked(world, TIME) == []


def test_new_data_waits_for_the_run_that_still_runs(world: MemoryPlace) -> None:
    scheduled(world, triggers={"data": {}})
    do(world)
    push(world, "new.dir", TIME)
    (found,) = looked(world, TIME + timedelta(minutes=15))
    assert found.state == "waiting"
    end(world)
    (found,) = looked(world, TIME + timedelta(minutes=20))
    assert found.state == "started"
    assert len(world.vertex.jobs) == 2


def test_a_run_that_a_person_began_meanwhile_does_not_hide_new_data(world: MemoryPlace) -> None:
    by_hand = scheduled(world, triggers={"data": {}}).model_copy(update={"schedule": None})
    push(world, "new.dir", NOW - timedelta(minutes=30))
    attempts.obtain(by_hand, world.services, Silent(), take=True)
    end(world)
    (found,) = looked(world, TIME)
    assert found.state == "started"
    assert found.reason.startswith("new data was pushed; new data (data/x abc.dir → new.dir)")


def test_new_objects_below_a_prefix_run_though_no_pin_changed(world: MemoryPlace) -> None:
    scheduled(world, triggers={"data": {"prefix": "raw/"}})
    do(world)
    end(world)
    assert looked(world, TIME) == []
    world.store.write("raw/2026-03.csv", b"1")
    world.store.written["raw/2026-03.csv"] = TIME
    (found,) = looked(world, TIME + timedelta(minutes=10))
    assert found.state == "started"
    assert found.reason.startswith("new objects below raw/, the last one raw/2026-03.csv")


def report(world: MemoryPlace, document: Any, at: datetime) -> None:
    world.store.write("drift/last.json", json.dumps(document).encode())
    world.store.written["drift/last.json"] = at


DRIFT = {"drift": {"report": "drift/last.json", "key": "metrics.0.share", "over": 0.3}}


def test_drift_over_its_threshold_starts_a_run_where_something_changed(world: MemoryPlace) -> None:
    scheduled(world, triggers=DRIFT)
    report(world, {"metrics": [{"share": 0.2}]}, TIME)
    assert looked(world, TIME) == []
    report(world, {"metrics": [{"share": 0.45}]}, TIME)
    (found,) = looked(world, TIME)
    assert found.state == "started"
    assert found.reason == "drift: metrics.0.share is 0.45, over 0.3; no run of it has succeeded yet"


def test_drift_with_nothing_to_train_on_anew_is_a_skip_that_says_both(world: MemoryPlace) -> None:
    scheduled(world, triggers=DRIFT)
    do(world)
    end(world)
    report(world, {"metrics": [{"share": 0.45}]}, TIME)
    (found,) = looked(world, TIME)
    assert found.state == "skipped"
    assert found.reason.startswith("drift: metrics.0.share is 0.45, over 0.3; nothing changed since")


@pytest.mark.parametrize(
    "document",
    [{"metrics": []}, {"metrics": ["0.9"]}, {"metrics": [{"share": "0.9"}]}, {"metrics": [{"share": True}]}],
)
def test_a_report_without_the_number_is_a_failure_with_its_key(world: MemoryPlace, document: Any) -> None:
    scheduled(world, triggers=DRIFT)
    report(world, document, TIME)
    body = {"schedule": "digits", "source": "watch"}
    document, status = answer(world.services, body, TIME.isoformat())
    assert status == 500
    assert "drift/last.json has no number at 'metrics.0.share'" in document["error"]
    assert recorded(world)[0].state == "failed"


def test_a_model_that_grew_old_is_trained_again_once(world: MemoryPlace) -> None:
    scheduled(world, max_age="30d")
    do(world)
    end(world)
    assert looked(world, TIME + timedelta(days=29)) == []
    (found,) = looked(world, TIME + timedelta(days=31))
    assert found.state == "started"
    assert "is too old" in found.reason


def test_a_report_that_cannot_be_judged_keeps_no_other_trigger_from_starting_a_run(
    world: MemoryPlace,
) -> None:
    scheduled(world, max_age="30d", triggers=DRIFT)
    do(world)
    end(world)
    later = TIME + timedelta(days=31)
    report(world, {"metrics": []}, later)
    with pytest.raises(InputError, match="has no number"):
        looked(world, later)
    assert [each.state for each in recorded(world)] == ["started", "started", "failed"]
    assert len(world.vertex.jobs) == 2


def test_a_bucket_that_may_not_be_read_keeps_no_other_trigger_from_starting_a_run(
    world: MemoryPlace, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refused(*_: object) -> None:
        raise Refused("cannot list gs://raw: permission denied")

    scheduled(world, max_age="30d", triggers={"data": {"prefix": "raw/"}})
    do(world)
    end(world)
    monkeypatch.setattr("headway.jobs.triggers._new_data", refused)
    with pytest.raises(Refused, match="gs://raw"):
        looked(world, TIME + timedelta(days=31))
    assert len(world.vertex.jobs) == 2


@pytest.mark.parametrize("body", [["digits"], {"schedule": "digits", "time": 5}, {"time": "now"}, "digits"])
def test_what_is_no_tick_is_refused(world: MemoryPlace, body: Any) -> None:
    document, status = answer(world.services, body, None)
    assert (status, document["error"].startswith("this is no tick")) == (400, True)
