"""The virtual clock: what is due is made at its own time, by its own thread, and its work is waited for."""

from __future__ import annotations

import threading
from collections.abc import Iterator

import pytest

from headway_emulator.engine.clock import SECOND, Unsettled, VirtualClock


@pytest.fixture
def clock() -> Iterator[VirtualClock]:
    made = VirtualClock(0)
    yield made
    made.close()


def test_each_call_is_made_at_its_own_time_in_order(clock: VirtualClock) -> None:
    made: list[tuple[str, float]] = []

    def note(name: str) -> None:
        made.append((name, clock.monotonic()))
        if name == "second":
            clock.after(0, lambda: note("at once"))
            clock.after(5, lambda: note("between"))

    clock.after(30, lambda: note("third"))
    clock.after(20, lambda: note("second"))
    clock.after(10, lambda: note("cancelled")).cancel()
    clock.after(99, lambda: note("later"))
    clock.after(10, lambda: note("first"))
    assert clock.advance(60) == 60 * SECOND
    assert made == [("first", 10), ("second", 20), ("at once", 20), ("between", 25), ("third", 30)]


def test_a_call_that_is_due_at_once_is_made_without_a_step_and_under_nobodys_lock(
    clock: VirtualClock,
) -> None:
    """Who sets an alarm may hold the state's lock, which the call may need."""
    lock, made = threading.Lock(), threading.Event()

    def needs_the_lock() -> None:
        with lock:
            made.set()

    with lock:
        clock.after(0, needs_the_lock)
        clock.after(-5, lambda: None)
        assert not made.is_set()
    assert made.wait(5)


@pytest.mark.parametrize("far", [5 * 31_536_000 * SECOND + 1, 123_456_789_012_345_678])
def test_a_moment_years_away_is_met_to_the_nanosecond(far: int) -> None:
    """What is due at the moment to which the clock is stepped is due then, and not a nanosecond later."""
    start = 1_795_836_839_123_456_789
    clock = VirtualClock(start)
    made: list[int] = []
    for moment in range(start + far, start + far + 50):
        clock.at(moment, lambda: made.append(clock.now_ns()))
        assert clock.advance_to(moment) == moment
        assert made[-1] == moment
    assert clock.advance_to(start) == start + far + 49  # which has passed
    clock.close()


def test_time_stands_while_work_is_in_flight(clock: VirtualClock) -> None:
    seen: list[float] = []

    def work() -> None:
        hold = clock.working()

        def end() -> None:
            seen.append(clock.monotonic())
            hold.release()

        threading.Timer(0.05, end).start()

    clock.after(10, work)
    clock.after(11, work)
    clock.advance(3600)
    assert seen == [10, 11]


def test_work_that_never_ends_is_said(clock: VirtualClock) -> None:
    hold = clock.working()
    with pytest.raises(Unsettled, match=r"1 pieces of work have not ended within 0.05 s"):
        clock.advance(60, patience=0.05)
    assert clock.now_ns() == 0
    hold.release()
    assert clock.advance(60) == 60 * SECOND


def test_a_call_that_goes_wrong_stops_nothing(
    clock: VirtualClock, capsys: pytest.CaptureFixture[str]
) -> None:
    made: list[int] = []
    clock.after(1, lambda: made.append(1 // 0))
    clock.after(2, lambda: made.append(2))
    clock.advance(3)
    assert made == [2]
    assert "ZeroDivisionError" in capsys.readouterr().err


def test_a_week_of_thousands_of_alarms_is_a_step(clock: VirtualClock) -> None:
    week = 7 * 24 * 3600
    made: list[float] = []
    for hour in range(10_000):
        clock.after(hour % week, lambda: made.append(clock.monotonic()))
    clock.advance(week)
    assert len(made) == 10_000
    assert made == sorted(made)


def test_a_closed_clock_makes_no_call_and_holds_nobody_up(clock: VirtualClock) -> None:
    made: list[int] = []
    clock.after(1, lambda: made.append(1))
    clock.working()
    clock.close()
    clock.advance(10)
    assert made == []
