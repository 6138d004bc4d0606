"""Faults that are asked for: what goes wrong, where, how often; each one that fires is kept in a list.

A fault has a kind, fields that say where it applies (glob patterns, all must match), `times` (how often it
fires, 1 unless told; 0 without end), `skip` (how many chances it lets pass first), and `rate` with `seed`.
"""

from __future__ import annotations

import difflib
import itertools
import random
import threading
import uuid
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from typing import Any

from headway_emulator.engine.clock import Clock, timestamp
from headway_emulator.engine.store import Document, Store
from headway_emulator.errors import invalid, not_found

FAULT = "fault"
FIRED = "firedFault"
RESPONSE = "response"
PREEMPT = "preempt"
STOCKOUT = "stockout"
QUOTA = "quota"
QUOTA_EXCEEDED = "quota_exceeded"
LATE = "late"
BUILD = "build"
BREAKS = ("reset", "truncate", "drop", "stall")
"""Of a response: cut before it, in its middle, after the work was done without an answer, or never ended."""
EFFECTS = ("status", "delay", "break")
"""Of a response, one at least: a fault without would count as fired, and nobody would notice it."""
FIRED_KEPT = 10_000
"""Times that are remembered, as many as requests are."""
TRIMMED_EVERY = 100


@dataclass(frozen=True)
class Kind:
    """What a fault of this kind may say: `where` are patterns, `what` the effect with its types."""

    where: Sequence[str]
    what: Mapping[str, type | tuple[type, ...]] = field(default_factory=dict)


KINDS: Mapping[str, Kind] = {
    RESPONSE: Kind(
        ("method", "path", "bucket", "object"),
        {"status": int, "message": str, "delay": (int, float), "break": str, "after_bytes": int},
    ),
    PREEMPT: Kind(("job", "display_name", "task", "region"), {"after": (int, float), "within": (int, float)}),
    STOCKOUT: Kind(("region", "accelerator", "machine", "strategy"), {"after": (int, float)}),
    QUOTA: Kind(("region", "accelerator", "machine", "strategy")),
    QUOTA_EXCEEDED: Kind(("region", "accelerator", "machine", "strategy")),
    LATE: Kind(("job", "display_name", "region"), {"after": (int, float)}),
    BUILD: Kind(("build", "step", "image"), {"exit_code": int, "status": str}),
}
ENDS = ("FAILURE", "INTERNAL_ERROR", "TIMEOUT", "CANCELLED", "EXPIRED")
"""Of Build.Status, those of a build that is over and did not succeed."""
COMMON: Mapping[str, type | tuple[type, ...]] = {
    "times": int,
    "skip": int,
    "rate": (int, float),
    "seed": int,
}


class Faults:
    """Every fault of the project, kept in the state; safe for many threads."""

    def __init__(self, store: Store, clock: Clock) -> None:
        self._store = store
        self._clock = clock
        self._lock = threading.RLock()
        self._chances = itertools.count()
        self._methods: Sequence[str] = ()
        self._random: dict[str, random.Random] = {}
        self._armed: dict[str, Document] = {
            fault["id"]: fault for fault in reversed(store.list(FAULT)) if _armed(fault)
        }

    def know(self, methods: Iterable[str]) -> None:
        """From now on a response's method fits one of these: another one would never fire."""
        self._methods = tuple(methods)

    def check_method(self, wanted: Mapping[str, Any]) -> None:
        """ApiError INVALID_ARGUMENT where it fits none."""
        method = wanted.get("method")
        if method is None or any(fnmatchcase(known, method) for known in self._methods):
            return
        near = difflib.get_close_matches(method, self._methods, n=1)
        hint = f"did you mean {near[0]!r}?" if near else "`headway-emulator methods` lists them."
        raise invalid(f"No method of this emulator fits {method!r}; {hint}")

    def add(self, wanted: Mapping[str, Any]) -> Document:
        """Arm a fault; ApiError INVALID_ARGUMENT where it says something unknown."""
        check(wanted)
        if self._methods:
            self.check_method(wanted)
        fault: Document = {"id": uuid.uuid4().hex[:12], "times": 1, **wanted, "chances": 0, "fired": 0}
        with self._lock:
            self._store.put(FAULT, fault["id"], fault)
            self._armed[fault["id"]] = fault
        return fault

    def all(self) -> list[Document]:
        """In the order they were asked for, the spent ones too."""
        with self._lock:
            return list(reversed(self._store.list(FAULT)))

    def fired(self) -> list[Document]:
        """Each time one fired: when, which, and on what; oldest first."""
        return list(reversed(self._store.list(FIRED)))

    def remove(self, identity: str) -> None:
        with self._lock:
            self._armed.pop(identity, None)
            if not self._store.delete(FAULT, identity):
                raise not_found(f"emulator/faults/{identity}")

    def clear(self) -> None:
        """Disarm all; the list of fired ones stays."""
        for fault in self.all():
            self.remove(fault["id"])

    def armed(self, kind: str) -> bool:
        """Whether `take` could give one: the cheap question of a path that is taken often."""
        return any(fault["kind"] == kind for fault in tuple(self._armed.values()))

    def take(self, kind: str, **facts: str) -> Mapping[str, Any] | None:
        """The first armed fault of the kind that matches and whose turn it is; it counts as fired."""
        if not self._armed:
            return None
        with self._lock:
            for fault in self._armed.values():
                if fault["kind"] == kind and _matches(fault, facts) and self._turn(fault):
                    self._fire(fault, facts)
                    return fault
        return None

    @contextmanager
    def together(self) -> Iterator[None]:
        """What a fault that is taken inside leads to is written with it, or neither is."""
        with self._lock, self._store.transaction():  # in this order, as `take` does
            yield

    def _turn(self, fault: Document) -> bool:
        fault["chances"] += 1
        self._store.put(FAULT, fault["id"], fault)
        if fault["chances"] <= fault.get("skip", 0):
            return False
        if "rate" not in fault:
            return True
        # drawn anew from the seed after a restart, so that the same chances give the same faults
        source = self._random.get(fault["id"])
        if source is None:
            source = self._random[fault["id"]] = random.Random(fault.get("seed", 0))
            for _ in range(fault["chances"] - 1 - fault.get("skip", 0)):
                source.random()
        return bool(source.random() < fault["rate"])

    def _fire(self, fault: Document, facts: Mapping[str, str]) -> None:
        fault["fired"] += 1
        if not _armed(fault):
            del self._armed[fault["id"]]
        now = timestamp(self._clock.now_ns())
        with self._store.transaction():
            self._store.put(FAULT, fault["id"], fault)
            fired = {"fault": fault["id"], "kind": fault["kind"], "time": now, "on": dict(facts)}
            self._store.put(FIRED, uuid.uuid4().hex, fired)
            if fault["fired"] % TRIMMED_EVERY == 0:
                self._store.keep_newest(FIRED, FIRED_KEPT)


def check(wanted: Mapping[str, Any]) -> None:
    """ApiError naming the first thing in it that is not known."""
    kind = KINDS.get(str(wanted.get("kind", "")))
    if kind is None:
        raise invalid(f"A fault's kind is one of {', '.join(KINDS)}, not {wanted.get('kind')!r}.")
    types = {**dict.fromkeys(("kind", *kind.where), str), **kind.what, **COMMON}
    for name, value in wanted.items():
        if name not in types:
            raise invalid(f"A {wanted['kind']} fault has no {name!r}; it has: {', '.join(types)}.")
        wrong_bool = isinstance(value, bool) and types[name] is not bool
        if not isinstance(value, types[name]) or wrong_bool:
            raise invalid(f"The fault's {name} cannot be {value!r}.")
    if wanted["kind"] == RESPONSE and not 400 <= wanted.get("status", 400) <= 599:
        raise invalid(f"A response's status is 400 to 599, not {wanted['status']!r}.")
    if wanted["kind"] == RESPONSE and not wanted.keys() & EFFECTS:
        raise invalid(f"A response fault needs an effect: {', '.join(EFFECTS)}.")
    if wanted["kind"] == BUILD and wanted.get("status", ENDS[0]) not in ENDS:
        raise invalid(f"A build ends with one of {', '.join(ENDS)}, not {wanted['status']!r}.")
    if wanted.get("rate", 0) > 1:
        raise invalid(f"A fault's rate is 1 at most, not {wanted['rate']!r}.")
    for name in ("times", "skip", "after", "within", "delay", "rate", "after_bytes"):
        if wanted.get(name, 0) < 0:
            raise invalid(f"The fault's {name} cannot be below 0, as {wanted[name]!r} is.")
    if wanted.get("break", BREAKS[0]) not in BREAKS:
        raise invalid(f"A response's break is one of {', '.join(BREAKS)}, not {wanted['break']!r}.")


def _armed(fault: Mapping[str, Any]) -> bool:
    times: int = fault["times"]
    return times == 0 or int(fault["fired"]) < times


def _matches(fault: Mapping[str, Any], facts: Mapping[str, str]) -> bool:
    """Every pattern in the fault fits; a fact that was not given fits no pattern but *."""
    where = KINDS[fault["kind"]].where
    return all(fnmatchcase(facts.get(name, ""), str(fault[name])) for name in where if name in fault)
