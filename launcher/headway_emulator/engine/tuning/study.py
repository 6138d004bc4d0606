"""What a tuning job tries next: the points of a grid, or what Optuna suggests in Vizier's place.

All draws follow from the study, the trial's number and the trials before it, so that the same study with the
same results gets the same trials, in an emulator that was killed in between too.
"""

from __future__ import annotations

import hashlib
import json
import random
from collections.abc import Iterator, Mapping, Sequence

from headway_emulator.engine.tuning import grid
from headway_emulator.engine.tuning.space import Spec, Tried, Value

DRAWS = 10
"""Tries of each kind to find values that no other trial has."""
FEW = 5000
"""Combinations that are gone through, where drawing found none that is new."""


def prepare(study: Spec) -> None:
    """Load what `suggest` needs for this study, which takes about a second, so that it need not."""
    if study.get("algorithm") != "GRID_SEARCH":
        import headway_emulator.engine.tuning.sampling  # noqa: F401


def suggest(study: Spec, number: int, tried: Sequence[Tried], *, name: str = "") -> dict[str, Value] | None:
    """What trial `number` (from 1) tries, after `tried`; None where the grid has no more points.

    A job's display `name` counts as well: one that goes on with another's study under a name of its own gets
    trials of its own. Values that another trial has come again only where all combinations were tried.
    """
    parameters: Sequence[Spec] = study["parameters"]
    count = grid.size(parameters)
    if study.get("algorithm") == "GRID_SEARCH":
        return grid.point(parameters, number - 1) if number <= count else None
    drawn = f"{json.dumps(study, sort_keys=True)} {number}" + (f" {name}" if name else "")
    digest = hashlib.sha256(drawn.encode()).digest()
    seed = int.from_bytes(digest[:4])
    known = {_key(trial.values) for trial in tried}
    draws = _draws(study, seed, tried, listed=count <= FEW)
    first = next(draws)
    if len(known) >= count or _key(first) not in known:
        return first
    new = next((values for values in draws if _key(values) not in known), None)
    if new is not None or count > FEW:
        return new or first
    points = (grid.point(parameters, index) for index in range(int(count)))
    left = [values for values in points if _key(values) not in known]
    return random.Random(seed).choice(left) if left else first  # none, where a word is listed twice


def _draws(study: Spec, seed: int, tried: Sequence[Tried], *, listed: bool) -> Iterator[dict[str, Value]]:
    """What the algorithm draws, and after that, where the points cannot be listed, what chance does."""
    from headway_emulator.engine.tuning.sampling import Sampling  # it loads Optuna

    uniform = Sampling.uniform(study["parameters"], seed)
    chance = study.get("algorithm") == "RANDOM_SEARCH"
    model = uniform if chance else Sampling.tpe(study["parameters"], seed, tried)
    for _ in range(DRAWS):
        yield model.draw()
    for _ in range(0 if listed else DRAWS):
        yield uniform.draw()


def _key(values: Mapping[str, Value]) -> tuple[tuple[str, Value], ...]:
    return tuple(sorted(values.items()))
