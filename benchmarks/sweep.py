"""Sweeps of the emulator beside random choice: how near 24 trials come to the minimum of a function.

The emulator's own engine does it all: it takes the tuning job, suggests the trials, four at a time, starts
them, reads the file of metrics that each leaves, and keeps its state. Only the machines are made up: a
function of the trial's arguments stands for a program that prints it. So a trial takes milliseconds, and two
times ten sweeps of each function half a minute.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from statistics import median
from typing import Any

from tests.unit.emulator.simulated_tuning import TuningBench, Values

from benchmarks.measure import Figure

TRIALS, PARALLEL, SEEDS = 24, 4, 10
DEFAULT, RANDOM = "ALGORITHM_UNSPECIFIED", "RANDOM_SEARCH"
NOTE = f"""\
  {TRIALS} trials, {PARALLEL} at a time: the distance of the best from the minimum, medians of {SEEDS} sweeps.
  A seed is the name of the sweep's metric, from which its draws follow, and the order in which trials end.
  Measured through the emulator's engine of tuning jobs, with made-up machines: no Vertex AI, no training."""
WEIGHTS = (1.0, 1.2, 3.0, 3.2)
SCALES = (
    (10, 3, 17, 3.5, 1.7, 8),
    (0.05, 10, 17, 0.1, 8, 14),
    (3, 3.5, 1.7, 10, 17, 8),
    (17, 8, 0.05, 10, 0.1, 14),
)
CENTRES = (
    (0.1312, 0.1696, 0.5569, 0.0124, 0.8283, 0.5886),
    (0.2329, 0.4135, 0.8307, 0.3736, 0.1004, 0.9991),
    (0.2348, 0.1451, 0.3522, 0.2883, 0.3047, 0.6650),
    (0.4047, 0.8828, 0.8732, 0.5743, 0.1091, 0.0381),
)
"""Of Hartmann's function in six dimensions."""


def branin(x: Sequence[float]) -> float:
    a, b = x
    bend = b - 5.1 / (4 * math.pi**2) * a * a + 5 / math.pi * a - 6
    return bend * bend + 10 * (1 - 1 / (8 * math.pi)) * math.cos(a) + 10


def hartmann(x: Sequence[float]) -> float:
    rows = zip(WEIGHTS, SCALES, CENTRES, strict=True)
    return -sum(
        weight * math.exp(-sum(s * (value - c) ** 2 for s, value, c in zip(scale, x, centre, strict=True)))
        for weight, scale, centre in rows
    )


def rosenbrock(x: Sequence[float]) -> float:
    return sum(100 * (b - a * a) ** 2 + (1 - a) ** 2 for a, b in pairwise(x))


@dataclass(frozen=True)
class Problem:
    """A standard test function, the range of each of its arguments, and its least value."""

    name: str
    function: Callable[[Sequence[float]], float]
    ranges: Sequence[tuple[float, float]]
    minimum: float

    def study(self, algorithm: str, seed: int) -> Mapping[str, Any]:
        parameters = [
            {"parameterId": f"x{number}", "doubleValueSpec": {"minValue": low, "maxValue": high}}
            for number, (low, high) in enumerate(self.ranges)
        ]
        metrics = [{"metricId": metric(seed), "goal": "MINIMIZE"}]
        return {"metrics": metrics, "parameters": parameters, "algorithm": algorithm}

    def loss(self, given: Values) -> float:
        return self.function([float(given[f"x{number}"]) for number in range(len(self.ranges))])


PROBLEMS = (
    Problem("Branin", branin, [(-5, 10), (0, 15)], 0.397887),
    Problem("Rosenbrock, 4 arguments", rosenbrock, [(-2, 2)] * 4, 0.0),
    Problem("Hartmann, 6 arguments", hartmann, [(0, 1)] * 6, -3.32237),
)


def metric(seed: int) -> str:
    return f"loss-{seed}"


def figures(folder: Path) -> list[Figure]:
    """For each function, the default beside random choice of the same size."""
    found = []
    for number, problem in enumerate(PROBLEMS):
        ours, theirs = (
            median(
                best(problem, algorithm, seed, folder / f"{number}-{seed}-{algorithm}")
                for seed in range(SEEDS)
            )
            for algorithm in (DEFAULT, RANDOM)
        )
        goal, what = "less than random", f"sweep over {problem.name}: distance from the minimum"
        found.append(Figure(what, "random choice", ours, theirs, SEEDS, goal, ours < theirs, unit=""))
    return found


def best(problem: Problem, algorithm: str, seed: int, folder: Path) -> float:
    """How far the best trial of one sweep is from the minimum."""
    bench = TuningBench(folder)
    try:
        name = bench.tune(problem.study(algorithm, seed), TRIALS, PARALLEL)
        bench.drain(name, metric(seed), problem.loss, seed)
        trials = bench.tuned(name)["trials"]
        losses = [float(trial["finalMeasurement"]["metrics"][0]["value"]) for trial in trials]
    finally:
        bench.close()
    if len(losses) != TRIALS:
        raise RuntimeError(f"{len(losses)} of {TRIALS} trials were measured")
    return min(losses) - problem.minimum
