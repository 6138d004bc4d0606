"""The claim: of several who want a run one has it, and knows so."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta

import pytest

from headway.errors import NotFound
from headway.jobs.claim import Cancelled, Claim, read_plan
from headway.spec.job import JobSpec
from headway.spec.plan import CodePin, ImagePin, Plan, make_plan
from tests.unit.jobs.fakes import PLACE, MemoryPlace, MemoryStore


@pytest.fixture
def plan() -> Plan:
    spec = JobSpec.model_validate(
        {"name": "tiny", "entrypoint": "train.py", "resources": {"gpu": "l4,t4"}},
    )
    code, image = CodePin(digest="c" * 64, files=1, size=1), ImagePin(digest="i" * 64, base="b", uri="u")
    return make_plan(spec, PLACE, code=code, image=image, data=())


@pytest.fixture
def world() -> MemoryPlace:
    return MemoryPlace()


def claim(plan: Plan, world: MemoryPlace) -> Claim:
    return Claim(plan, world.services.store)


def age(world: MemoryPlace, seconds: float) -> None:
    for name in world.store.written:
        world.store.written[name] = datetime.now(UTC) - timedelta(seconds=seconds)


def test_one_of_two_has_it(plan: Plan, world: MemoryPlace) -> None:
    assert claim(plan, world).take()
    assert not claim(plan, world).take()


def test_one_whose_write_was_answered_only_by_its_repeat_has_it_too(
    plan: Plan, world: MemoryPlace, monkeypatch: pytest.MonkeyPatch
) -> None:
    replace = MemoryStore.replace

    def twice(
        self: MemoryStore, name: str, data: bytes, *, generation: int, metadata: Mapping[str, str]
    ) -> bool:
        replace(self, name, data, generation=generation, metadata=metadata)
        return replace(self, name, data, generation=generation, metadata=metadata)

    monkeypatch.setattr(MemoryStore, "replace", twice)
    mine = claim(plan, world)
    assert mine.take()
    assert mine.next()
    assert mine.attempt == 2
    assert not claim(plan, world).take()


def test_it_is_taken_over_once_it_has_lapsed_and_not_before(plan: Plan, world: MemoryPlace) -> None:
    claim(plan, world).take()
    age(world, 149)
    assert not claim(plan, world).take_over(PLACE.claim_lapses_s)
    age(world, 151)
    first, second = claim(plan, world), claim(plan, world)
    assert first.take_over(PLACE.claim_lapses_s)
    assert not second.take_over(PLACE.claim_lapses_s)


def test_who_takes_over_goes_on_with_the_same_candidate(plan: Plan, world: MemoryPlace) -> None:
    dead = claim(plan, world)
    assert dead.take()
    assert dead.next()
    age(world, 151)
    heir = claim(plan, world)
    assert heir.take_over(PLACE.claim_lapses_s)
    assert heir.attempt == 2


def test_a_laptop_that_slept_holds_it_no_longer_where_another_took_it_over(
    plan: Plan, world: MemoryPlace
) -> None:
    slept = claim(plan, world)
    assert slept.take()
    assert slept.holds(for_s=30)
    age(world, 151)
    assert slept.holds(for_s=0), "nobody else wanted it: it is written anew"
    age(world, 151)
    assert claim(plan, world).take_over(PLACE.claim_lapses_s)
    assert not slept.holds(for_s=0)
    assert not slept.next()


def test_of_two_that_move_on_one_does_and_nobody_moves_on_twice(plan: Plan, world: MemoryPlace) -> None:
    claim(plan, world).take()
    assert claim(plan, world).move_on(after=1)
    assert not claim(plan, world).move_on(after=1)


def test_giving_up_leaves_the_claim_of_another_alone(plan: Plan, world: MemoryPlace) -> None:
    slow = claim(plan, world)
    slow.take()
    age(world, 151)
    claim(plan, world).take_over(PLACE.claim_lapses_s)
    slow.give_up()
    assert not claim(plan, world).take()


def test_what_was_cancelled_is_nobodys_any_more_and_stays_so(plan: Plan, world: MemoryPlace) -> None:
    mine = claim(plan, world)
    assert mine.take()
    assert mine.next()
    age(world, 40)
    by = claim(plan, world)
    assert 40 <= by.cancel() < 60
    assert by.attempt == 2
    age(world, 500)
    assert not claim(plan, world).take()
    for want in (
        mine.next,
        mine.look,
        lambda: mine.holds(for_s=0),
        lambda: claim(plan, world).take_over(PLACE.claim_lapses_s),
        lambda: claim(plan, world).move_on(after=2),
    ):
        with pytest.raises(Cancelled):
            want()
    assert mine.plan.cancelled is not None
    mine.give_up()
    found = read_plan(plan.run_id, world.services)
    assert found.cancelled == mine.plan.cancelled == by.plan.cancelled
    assert found.model_copy(update={"cancelled": None}) == plan
    written = world.store.generations[plan.name_in_bucket]
    assert claim(plan, world).cancel() > 400, "a second cancel finds the first"
    assert world.store.generations[plan.name_in_bucket] == written


def test_a_cancel_outruns_a_submit_that_goes_on_meanwhile(
    plan: Plan, world: MemoryPlace, monkeypatch: pytest.MonkeyPatch
) -> None:
    mine, read = claim(plan, world), MemoryStore.read
    assert mine.take()

    def goes_on(self: MemoryStore, name: str) -> bytes:
        monkeypatch.setattr(MemoryStore, "read", read)
        assert mine.next()
        return read(self, name)

    by = claim(plan, world)
    monkeypatch.setattr(MemoryStore, "read", goes_on)
    by.cancel()
    assert by.attempt == 2
    with pytest.raises(Cancelled):
        mine.look()


def test_a_run_that_was_given_up_cannot_be_cancelled(plan: Plan, world: MemoryPlace) -> None:
    mine = claim(plan, world)
    mine.take()
    mine.give_up()
    with pytest.raises(NotFound):
        claim(plan, world).cancel()
