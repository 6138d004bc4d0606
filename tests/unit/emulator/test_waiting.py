"""The line before a quota."""

from __future__ import annotations

from headway_emulator.engine.jobs.waiting import Waiting, Wanted

A100: Wanted = frozenset([("us-central1", "a100")])
T4: Wanted = frozenset([("us-central1", "t4")])
BOTH: Wanted = A100 | T4


def _line(**wanted: Wanted) -> Waiting:
    waiting = Waiting()
    for name, needs in wanted.items():
        waiting.add(name, needs)
    return waiting


def test_turns_come_in_the_order_of_arrival_whatever_is_needed() -> None:
    waiting = _line(first=A100, second=T4, third=A100, fourth=BOTH)

    assert [name for name, _ in waiting.turns(set())] == ["first", "second", "third", "fourth"]


def test_who_cannot_be_served_holds_back_those_behind_with_the_same_needs_alone() -> None:
    waiting = _line(first=A100, second=A100, third=T4, fourth=BOTH, fifth=frozenset())
    taken: set[tuple[str, str]] = set()
    seen = []
    for name, wanted in waiting.turns(taken):
        seen.append(name)
        if name == "first":
            taken.update(wanted)

    assert seen == ["first", "third", "fifth"]


def test_who_comes_later_is_held_back_by_anybody_who_waits_for_the_same() -> None:
    waiting = _line(first=BOTH)

    assert waiting.holds_back(T4)
    waiting.remove("first")
    assert not waiting.holds_back(T4)


def test_one_that_leaves_during_the_turns_gets_none() -> None:
    waiting = _line(first=A100, second=A100, third=A100)
    seen = []
    for name, _ in waiting.turns(set()):
        seen.append(name)
        waiting.remove(name)
        waiting.remove("second")

    assert seen == ["first", "third"]
    assert "third" not in waiting


def test_one_that_needs_nothing_is_never_held_back() -> None:
    waiting = _line(first=BOTH)

    assert not waiting.holds_back(frozenset())
