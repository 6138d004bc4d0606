"""`launch doctor` on a healthy local stack: seventeen checks at once, every server asked."""

from __future__ import annotations

import shutil
from pathlib import Path

from benchmarks.measure import Figure, in_turns, wall
from benchmarks.place import LAUNCH, ROOT, Stack

ROUNDS = 7
GOAL_S = 5.0


def figures(stack: Stack, folder: Path) -> list[Figure]:
    """The whole command; it must find no failure."""
    folder.mkdir()
    shutil.copy(ROOT / "examples" / "digits" / "requirements.txt", folder)
    (folder / "train.py").write_text("print('hello')\n", encoding="utf-8")
    config = "name: healthy\nentrypoint: train.py\nresources: {gpu: a100}\n"
    (folder / "config.yaml").write_text(config, encoding="utf-8")
    words = [LAUNCH, "doctor", "--local", "."]
    taken = in_turns({"doctor": lambda: wall(words, cwd=folder, env=stack.environment)}, ROUNDS)
    what = "launch doctor, local stack, all well"
    return [
        Figure(what, "", taken["doctor"], None, ROUNDS, f"under {GOAL_S:.0f} s", taken["doctor"] < GOAL_S)
    ]
