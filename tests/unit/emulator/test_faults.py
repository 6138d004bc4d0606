"""The list of faults that fired."""

from __future__ import annotations

from pathlib import Path

import pytest

from headway_emulator.engine import faults
from headway_emulator.engine.clock import VirtualClock
from headway_emulator.engine.store import Store


def test_the_newest_that_fired_are_kept_and_those_before_forgotten(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One without end fires at each request of a long-lived emulator."""
    monkeypatch.setattr(faults, "FIRED_KEPT", 7)
    monkeypatch.setattr(faults, "TRIMMED_EVERY", 5)
    store, clock = Store(tmp_path / "state.sqlite3"), VirtualClock(0)
    found = faults.Faults(store, clock)
    found.add({"kind": "response", "status": 503, "times": 0})
    for number in range(20):
        assert found.take("response", method=f"m{number}") is not None
    assert [one["on"]["method"] for one in found.fired()] == [f"m{number}" for number in range(13, 20)]
    assert found.all()[0]["fired"] == 20
    clock.close()
    store.close()
