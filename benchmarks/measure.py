"""Taking turns, medians, and a figure beside its goal."""

from __future__ import annotations

import subprocess
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Literal


@dataclass(frozen=True)
class Figure:
    """What was measured: `ours` and `theirs` in `unit` (medians of `n`), and the goal in words.

    `theirs` is None where the other has nothing like it, `met` where there is no goal.
    """

    what: str
    against: str
    ours: float
    theirs: float | None
    n: int
    goal: str = ""
    met: bool | None = None
    unit: Literal["s", "ms", "MB", ""] = "s"

    @property
    def ratio(self) -> str:
        return f"{self.ours / self.theirs:.2f}" if self.theirs else ""

    @property
    def more(self) -> str:
        return "" if self.theirs is None else self.shown(self.ours - self.theirs, "+")

    def shown(self, value: float | None, sign: str = "") -> str:
        digits = {"s": 3, "ms": 1, "MB": 0, "": 3}[self.unit]
        return "" if value is None else f"{value:{sign}.{digits}f} {self.unit}".rstrip()


def in_turns(cases: Mapping[str, Callable[[], float]], rounds: int) -> dict[str, float]:
    """Medians in seconds, the cases taking turns. A first round, which warms caches, is not counted."""
    taken: dict[str, list[float]] = {name: [] for name in cases}
    for number in range(rounds + 1):
        for name, case in cases.items():
            seconds = case()
            if number:
                taken[name].append(seconds)
    return {name: median(seconds) for name, seconds in taken.items()}


def wall(
    words: Sequence[str],
    *,
    cwd: Path | None = None,
    env: Mapping[str, str] | None = None,
    out: int = subprocess.DEVNULL,
    deadline: float = 60,
) -> float:
    """Seconds that a command takes; it must succeed.

    A timer ends it at the deadline: with a timeout, Python's own wait looks only every 50 ms.
    """
    quiet = subprocess.DEVNULL
    began = time.perf_counter()
    with subprocess.Popen(words, cwd=cwd, env=env, stdin=quiet, stdout=out, stderr=out) as process:
        killer = threading.Timer(deadline, process.kill)
        killer.start()
        try:
            code = process.wait()
        finally:
            killer.cancel()
        took = time.perf_counter() - began
    if code:
        raise subprocess.CalledProcessError(code, words)
    return took


class Host:
    """What the host of a virtual machine gave to its other guests, since this was made: CPU time stolen."""

    def __init__(self) -> None:
        self._begin = _ticks()

    @property
    def stolen(self) -> float:
        """As a share of the time in which a CPU was wanted; 0 where the machine does not tell."""
        wanted, stolen = (now - then for now, then in zip(_ticks(), self._begin, strict=True))
        return stolen / wanted if wanted else 0.0


def _ticks() -> tuple[int, int]:
    """Of all CPUs since the start: all but idle ones, and stolen ones (proc(5))."""
    stat = Path("/proc/stat")
    if not stat.exists():
        return 0, 0
    user, nice, system, _idle, _iowait, irq, softirq, steal = map(int, stat.read_text().split()[1:9])
    return user + nice + system + irq + softirq + steal, steal


def rendered(figures: Sequence[Figure]) -> str:
    """A table in plain text."""
    head = ("what", "median", "against", "median", "ratio", "more", "n", "goal", "")
    body = [
        (
            figure.what,
            figure.shown(figure.ours),
            figure.against,
            figure.shown(figure.theirs),
            figure.ratio,
            figure.more,
            str(figure.n),
            figure.goal,
            {True: "ok", False: "MISSED", None: ""}[figure.met],
        )
        for figure in figures
    ]
    widths = [max(len(row[column]) for row in (head, *body)) for column in range(len(head))]
    lines = ["  ".join(f"{cell:<{w}}" for cell, w in zip(row, widths, strict=True)) for row in (head, *body)]
    return "\n".join(line.rstrip() for line in lines)
