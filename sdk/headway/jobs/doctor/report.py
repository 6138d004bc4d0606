"""What a check found: a row of the table, and the whole table."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

State = Literal["ok", "warning", "failure", "not checked"]


@dataclass(frozen=True)
class Found:
    """One check's answer: a state, what was found in words, and what mends it where it is not ok."""

    state: State
    found: str
    fix: str | None = None


@dataclass(frozen=True)
class Row:
    """One row of the table: the check's name and its answer."""

    check: str
    state: State
    found: str
    fix: str | None


@dataclass(frozen=True)
class Report:
    """All rows, in the table's order; `online` says whether servers were asked."""

    profile: str | None
    project: str | None
    online: bool
    rows: tuple[Row, ...]

    @property
    def failed(self) -> bool:
        return any(row.state == "failure" for row in self.rows)

    @property
    def unchecked(self) -> tuple[str, ...]:
        """The names of the rows that could not be checked."""
        return tuple(row.check for row in self.rows if row.state == "not checked")

    def document(self) -> dict[str, Any]:
        """The stable JSON document of `launch doctor --json`."""
        return {
            "profile": self.profile,
            "project": self.project,
            "online": self.online,
            "failed": self.failed,
            "checks": [vars(row) for row in self.rows],
        }

    def __str__(self) -> str:
        lines: list[str] = []
        for row in self.rows:
            lines.append(f"{row.check:<16} {row.state:<11} {row.found}")
            lines += [f"{'':<28} → {row.fix}"] if row.fix else []
        return "\n".join(lines)


def ok(found: str) -> Found:
    return Found("ok", found)


def warning(found: str, fix: str) -> Found:
    return Found("warning", found, fix)


def failure(found: str, fix: str) -> Found:
    return Found("failure", found, fix)


def unchecked(found: str, fix: str | None = None) -> Found:
    return Found("not checked", found, fix)


def worst(found: Sequence[Found]) -> Found:
    """Several answers as one: the worst state, the words and fixes of all that are in it."""
    for state in ("failure", "not checked", "warning", "ok"):
        if same := [one for one in found if one.state == state]:
            fixes = dict.fromkeys(one.fix for one in same if one.fix)
            return Found(same[0].state, "; ".join(one.found for one in same), "; ".join(fixes) or None)
    raise ValueError("there is nothing to choose from")
