"""What a tick does, decided from values alone: start, skip, wait, or take the place of a run."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal

from headway.spec.plan import Plan
from headway.spec.schedule import Overlap, Schedule
from headway.spec.section import format_duration

Action = Literal["start", "skip", "wait", "replace"]
PARTS = ("code", "environment", "data", "config")
_CLAIM = 40
"""So many characters of a claim fit into a job's label."""


@dataclass(frozen=True)
class Content:
    """What a run is made of. `parts` holds a digest for each of PARTS, `data` each path's version."""

    claim: str
    parts: Mapping[str, str]
    data: Mapping[str, str]


@dataclass(frozen=True)
class Past:
    """The last run that succeeded; `content` is None where the bucket no longer holds its plan."""

    run_id: str
    claim: str
    ended: datetime | None
    content: Content | None = None


@dataclass(frozen=True)
class Active:
    """A run that has not ended; `ours` where the schedule started it."""

    run_id: str
    claim: str
    ours: bool


@dataclass(frozen=True)
class Decision:
    """What a tick does, and why in words; `equal` and `changed` are parts compared with the last success."""

    action: Action
    reason: str
    equal: tuple[str, ...] = ()
    changed: tuple[str, ...] = ()


def content_of(plan: Plan) -> Content:
    """The parts that a plan's claim covers."""
    content = plan.content
    parts = {
        "code": content["code"],
        "environment": content["image"],
        "data": _digest(content["data"]),
        "config": _digest(content["config"]),
    }
    return Content(plan.claim, parts, content["data"])


def decide(
    schedule: Schedule,
    new: Content,
    *,
    now: datetime,
    last: Past | None,
    active: Sequence[Active] = (),
    forced: str | None = None,
    overlap: Overlap | None = None,
) -> Decision:
    """What a tick does that would start `new`. `forced` is what makes it run though nothing changed.

    `overlap` stands for the schedule's own: what is looked at again soon may wait where a tick would skip.
    """
    equal, changed = _compared(new, last)

    def decision(action: Action, reason: str) -> Decision:
        return Decision(action, reason, equal, changed)

    same = next((run for run in active if _same(run.claim, new.claim)), None)
    if same is not None:
        return decision("skip", f"{same.run_id}, of this very content, is still running")
    why = _why(schedule, new, now, last, changed, forced)
    if why is None:
        assert last is not None
        return decision("skip", f"nothing changed since {_told(last)}: {_listed(PARTS)} are equal")
    before = next((run for run in active if run.ours), None)
    if before is None:
        return decision("start", why)
    policy = overlap or schedule.overlap
    if policy == "skip":
        return decision("skip", f"{before.run_id} is still running (overlap: skip)")
    if policy == "queue":
        return decision("wait", f"{before.run_id} is still running")
    return decision("replace", f"{why}; {before.run_id}, which still ran, is cancelled (overlap: replace)")


def _compared(new: Content, last: Past | None) -> tuple[tuple[str, ...], tuple[str, ...]]:
    if last is None or last.content is None:
        return (PARTS, ()) if last and _same(last.claim, new.claim) else ((), ())
    before = last.content.parts
    equal = tuple(part for part in PARTS if before.get(part) == new.parts[part])
    return equal, tuple(part for part in PARTS if part not in equal)


def _why(
    schedule: Schedule,
    new: Content,
    now: datetime,
    last: Past | None,
    changed: tuple[str, ...],
    forced: str | None,
) -> str | None:
    """Why it runs; None where it does not."""
    if last is None:
        return forced or "no run of it has succeeded yet"
    if not _same(last.claim, new.claim):
        told = f"since {_told(last)}"
        if last.content is None:
            return forced or f"another content than {_told(last)}"
        words = [_versions(new, last.content) if part == "data" else f"another {part}" for part in changed]
        return (f"{forced}; " if forced else "") + f"{', '.join(words)} {told}"
    if forced:
        return f"{forced} (nothing else changed since {_told(last)})"
    if schedule.always:
        return f"always: nothing changed since {_told(last)}"
    if schedule.max_age is not None and last.ended is not None and now - last.ended >= schedule.max_age:
        return f"{_told(last)}, is older than {format_duration(schedule.max_age)}"
    return None


def _versions(new: Content, before: Content) -> str:
    paths = sorted(
        path for path in new.data.keys() | before.data.keys() if new.data.get(path) != before.data.get(path)
    )
    told = [
        f"{path} {before.data.get(path, 'none')[:8]} → {new.data.get(path, 'none')[:8]}" for path in paths[:3]
    ]
    return f"new data ({', '.join(told)}{', ...' if len(paths) > 3 else ''})"


def _told(last: Past) -> str:
    return last.run_id + (f", which ended {last.ended:%Y-%m-%d %H:%M} UTC" if last.ended else "")


def _listed(words: Sequence[str]) -> str:
    return f"{', '.join(words[:-1])} and {words[-1]}"


def _same(one: str, other: str) -> bool:
    return one[:_CLAIM] == other[:_CLAIM]


def _digest(value: Any) -> str:
    return hashlib.sha256(json.dumps(value, sort_keys=True, separators=(",", ":")).encode()).hexdigest()
