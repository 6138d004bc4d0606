"""Who waits for quota, in the order they came: names alone, so that ten thousand of them weigh little."""

from __future__ import annotations

from collections.abc import Iterator
from heapq import merge
from itertools import count

Wanted = frozenset[tuple[str, str]]
"""Region and metric of each quota that a training needs; empty for one that needs none."""


class Waiting:
    """One line for each set of needs, for who comes first is served first only among those."""

    def __init__(self) -> None:
        self._lines: dict[Wanted, dict[str, int]] = {}
        self._wanted: dict[str, Wanted] = {}
        self._numbers = count()

    def __contains__(self, name: str) -> bool:
        return name in self._wanted

    def add(self, name: str, wanted: Wanted) -> None:
        """At the end."""
        known = next((line for line in self._lines if line == wanted), wanted)
        self._lines.setdefault(known, {})[name] = next(self._numbers)
        self._wanted[name] = known

    def remove(self, name: str) -> None:
        """Nothing happens where it does not wait."""
        wanted = self._wanted.pop(name, None)
        if wanted is None:
            return
        del self._lines[wanted][name]
        if not self._lines[wanted]:
            del self._lines[wanted]

    def holds_back(self, wanted: Wanted) -> bool:
        """Whether somebody waits for any of the same: who comes later has to wait behind."""
        return any(not line.isdisjoint(wanted) for line in self._lines)

    def turns(self, taken: set[tuple[str, str]]) -> Iterator[tuple[str, Wanted]]:
        """In the order they came, without those that need what is in `taken` by then."""

        def line(wanted: Wanted) -> Iterator[tuple[int, str, Wanted]]:
            for name, number in tuple(self._lines[wanted].items()):
                if not taken.isdisjoint(wanted):
                    return
                yield number, name, wanted

        for _, name, wanted in merge(*[line(wanted) for wanted in tuple(self._lines)]):
            if taken.isdisjoint(wanted) and name in self._wanted:
                yield name, wanted
