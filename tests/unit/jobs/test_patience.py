"""How long it is until the next look."""

from __future__ import annotations

import itertools

from headway.jobs.patience import pause_after


def looks(seconds: float) -> list[float]:
    """When a wait of so long looks, the last time after its end."""
    times = itertools.accumulate(itertools.repeat(0.0), lambda now, _: now + pause_after(now))
    return [*itertools.takewhile(lambda time: time < seconds, times), next(times)]


def test_an_end_is_seen_soon_for_what_it_took() -> None:
    for seconds in (1, 5, 20, 40, 60, 120, 600, 3600):
        late = max(pause_after(moment) for moment in (0.0, seconds / 2, seconds))
        assert late <= max(0.3, min(5, seconds * 0.03))


def test_looks_grow_rarer() -> None:
    assert len(looks(60)) < 100
    assert len(looks(3600)) < 900
    pauses = [pause_after(moment) for moment in looks(600)]
    assert pauses == sorted(pauses)
    assert (pauses[0], pauses[-1]) == (0.3, 5)
