"""The fixture `gcp` and the mark `gcp`, for anybody's tests.

    @pytest.mark.gcp(clock="virtual", faults=[{"kind": "preempt", "job": "*"}])
    def test_mine(gcp): ...

pytest loads this module in every run where the package is installed: it imports nothing but pytest, and
the emulator only when a test asks for it.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import ExitStack
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from headway_emulator.testing import Emulator

MARK = "gcp"
OPTIONS = ("clock", "executor", "project", "faults", "quotas", "grace", "flags")
ENVIRON = "environ"


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line(
        "markers",
        "gcp(clock, executor, project, faults, quotas, grace, flags, environ): what the fixture gcp gives, "
        "see headway_emulator.testing.emulator; environ: transparent, explicit, or False for none",
    )


class Emulators:
    """Those of one test session: one for each set of options, started when a test first asks for it."""

    def __init__(self) -> None:
        self._stack = ExitStack()
        self._running: dict[str, Emulator] = {}

    def fresh(self, options: dict[str, Any]) -> Emulator:
        """With nothing of an earlier test in it."""
        from headway_emulator.asking import Refused
        from headway_emulator.testing import emulator

        key = json.dumps(options, sort_keys=True, default=str)
        if (running := self._running.get(key)) is not None:
            try:
                running.reset()
            except Refused:  # a test has killed it
                del self._running[key]
            else:
                return running
        self._running[key] = self._stack.enter_context(emulator(**options))
        return self._running[key]

    def close(self) -> None:
        self._stack.close()


@pytest.fixture(scope="session")
def _gcp_emulators() -> Iterator[Emulators]:
    emulators = Emulators()
    yield emulators
    emulators.close()


@pytest.fixture
def gcp(request: pytest.FixtureRequest, _gcp_emulators: Emulators) -> Iterator[Emulator]:
    """An emulated Google Cloud project of the test's own: see headway_emulator.testing.Emulator."""
    options: dict[str, Any] = {}
    for mark in reversed(list(request.node.iter_markers(MARK))):  # the nearest counts over module and class
        if mark.args:
            raise pytest.UsageError("the mark gcp takes options by name: @pytest.mark.gcp(clock='virtual')")
        options |= mark.kwargs
    if unknown := set(options) - {*OPTIONS, ENVIRON}:
        raise pytest.UsageError(
            f"the mark gcp has no {', '.join(sorted(unknown))}; it has: {', '.join((*OPTIONS, ENVIRON))}"
        )
    way = options.pop(ENVIRON, "transparent")
    found = _gcp_emulators.fresh(options)
    with ExitStack() as stack:
        if way:
            stack.enter_context(found.environment(way))
        yield found
