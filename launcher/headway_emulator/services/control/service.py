"""The emulator's own API, which Google does not have: its clock and its faults, below /emulator."""

from __future__ import annotations

import re
from collections.abc import Callable
from functools import partial
from typing import Any

from headway_emulator.api.rest import Call, Rule, Service
from headway_emulator.engine.clock import SECOND, Unsettled, VirtualClock, parse_timestamp, timestamp
from headway_emulator.errors import ApiError, invalid, precondition
from headway_emulator.services.control import records, wiring, work
from headway_emulator.world import World

NAME = "emulator"
DURATION = re.compile(r"(\d+(?:\.\d+)?)(ms|s|m|h|d)")
LAST = parse_timestamp("9000-01-01T00:00:00Z")
"""The furthest step: deadlines are later than that, and none may be after the year 9999."""
UNIT_SECONDS = {"ms": 0.001, "s": 1, "m": 60, "h": 3600, "d": 86400}


def service(world: World) -> Service:
    """No client of Google's calls these; tests do."""
    control = Control(world)
    rules = [
        Rule("clock.get", "GET", "/emulator/clock", control.clock),
        Rule("clock.step", "POST", "/emulator/clock", control.step),
        Rule("faults.list", "GET", "/emulator/faults", control.faults),
        Rule("faults.add", "POST", "/emulator/faults", control.add_fault),
        Rule("faults.clear", "DELETE", "/emulator/faults", control.clear_faults),
        Rule("faults.remove", "DELETE", "/emulator/faults/{fault}", control.remove_fault),
    ]
    rules += records.rules(world)
    rules += wiring.rules(world)
    rules += work.rules(world)
    text = "the clock, the faults and the work of this emulator; not an API of Google's"
    return Service(NAME, text, rules)


class Control:
    """What a test does to the world."""

    def __init__(self, world: World) -> None:
        self._world = world

    def clock(self, call: Call) -> Any:  # noqa: ARG002
        kind = "virtual" if isinstance(self._world.clock, VirtualClock) else "real"
        return {"kind": kind, "now": timestamp(self._world.clock.now_ns())}

    def step(self, call: Call) -> Any:
        """By {"advance": "36h"} or {"to": "2026-03-29T03:00:00Z"}; answers when what came due has begun."""
        clock = self._world.clock
        if not isinstance(clock, VirtualClock):
            raise precondition(
                "The clock is the machine's own, which nobody steps. Start the emulator with --clock virtual "
                '(in a test: @pytest.mark.gcp(clock="virtual")).'
            )
        step = _step(call.body, clock)
        self._world.trainings.notice_ends()
        try:
            now = step()
        except Unsettled as error:
            raise ApiError(
                "DEADLINE_EXCEEDED", f"The clock stands at {timestamp(clock.now_ns())}: {error}."
            ) from error
        return {"kind": "virtual", "now": timestamp(now)}

    def faults(self, call: Call) -> Any:  # noqa: ARG002
        return {"faults": self._world.faults.all(), "fired": self._world.faults.fired()}

    def add_fault(self, call: Call) -> Any:
        if not isinstance(call.body, dict):
            raise invalid('A fault is a JSON object, such as {"kind": "preempt", "job": "*"}.')
        fault = self._world.faults.add(call.body)
        self._world.trainings.meet_new_fault()
        return fault

    def clear_faults(self, call: Call) -> Any:  # noqa: ARG002
        self._world.faults.clear()
        return {}

    def remove_fault(self, call: Call) -> Any:
        self._world.faults.remove(call.path["fault"])
        return {}


def _step(body: Any, clock: VirtualClock) -> Callable[[], int]:
    """What makes the step."""
    given, now = body if isinstance(body, dict) else {}, clock.now_ns()
    if isinstance(to := given.get("to"), str) and len(given) == 1:
        try:
            moment = parse_timestamp(to)
        except ValueError as error:
            raise invalid(f"{to!r} is no RFC 3339 time.") from error
        step = partial(clock.advance_to, moment)
    elif len(given) == 1 and "advance" in given:
        seconds = duration(given["advance"])
        moment = now + round(min(seconds, LAST / SECOND) * SECOND)
        step = partial(clock.advance, seconds)
    else:
        raise invalid('Give {"advance": "36h"} or {"to": "2026-03-29T03:00:00Z"}.')
    if moment < now:
        raise invalid("Time does not go backward.")
    if moment > LAST:
        raise invalid(f"Time does not go beyond {timestamp(LAST)}.")
    return step


def duration(given: Any) -> float:
    """Seconds of a number, or of text such as 1h30m, 90s, 250ms or 7d."""
    if isinstance(given, int | float) and not isinstance(given, bool):
        return float(given)
    parts = DURATION.findall(str(given))
    if not parts or "".join(number + unit for number, unit in parts) != str(given):
        raise invalid(f"{given!r} is no duration: use seconds, or text such as 90s, 1h30m or 7d.")
    return sum(float(number) * UNIT_SECONDS[unit] for number, unit in parts)
