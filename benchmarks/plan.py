"""An unchanged `launch plan` on a larger project, against `git status` in the same folder."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

from benchmarks.measure import Figure, in_turns, wall
from benchmarks.place import LAUNCH, ROOT, Stack

ROUNDS = 21
GOAL_S = 0.5
FILES, FOLDERS = 2_000, 40
DATA_FILES, DATA_BYTES = 20, 50_000_000


def figures(stack: Stack, folder: Path) -> list[Figure]:
    """The plan of a project that was submitted before (with an engine: its image is there then, too)."""
    project = _project(folder)
    if stack.has_engine:
        stack.submit(project)
    taken = in_turns(
        {
            "plan": lambda: wall([LAUNCH, "plan", "--local", "."], cwd=project, env=stack.environment),
            "git": lambda: wall(["git", "status", "--porcelain"], cwd=project),
        },
        ROUNDS,
    )
    what = f"launch plan, {FILES:,} files and {DATA_FILES * DATA_BYTES / 1e9:.0f} GB of ignored data"
    goal, met = f"under {GOAL_S} s", taken["plan"] < GOAL_S
    return [Figure(what, "git status", taken["plan"], taken["git"], ROUNDS, goal, met)]


def _project(folder: Path) -> Path:
    """Modules in packages, in git; beside them data that git ignores (sparse files: of the size only)."""
    folder.mkdir()
    for number in range(FILES - 4):
        package = folder / "package" / f"part{number % FOLDERS}"
        package.mkdir(parents=True, exist_ok=True)
        (package / f"module{number}.py").write_text(f"VALUE = {number}\n" * 100, encoding="utf-8")
    shutil.copy(ROOT / "examples" / "digits" / "requirements.txt", folder)
    (folder / "train.py").write_text("print('hello')\n", encoding="utf-8")
    (folder / "config.yaml").write_text("name: large\nentrypoint: train.py\n", encoding="utf-8")
    (folder / ".gitignore").write_text("/data/\n", encoding="utf-8")
    (folder / "data").mkdir()
    for number in range(DATA_FILES):
        with (folder / "data" / f"{number}.bin").open("wb") as file:
            file.truncate(DATA_BYTES)
    for words in (["init", "--quiet"], ["add", "."]):
        subprocess.run(["git", *words], cwd=folder, timeout=60, check=True)
    return folder
