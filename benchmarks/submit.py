"""From `launch submit` to the first line of the user's code, against a bare `docker run` of its image."""

from __future__ import annotations

import json
import shutil
import subprocess
import time
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from statistics import median

from benchmarks.measure import Figure
from benchmarks.place import LAUNCH, ROOT, Stack

ROUNDS = 5
GOAL_S = 2.5
MARK = "the first line of my code"
TRAIN = f"""\
import time

print("{MARK}", time.time(), flush=True)
"""


@dataclass(frozen=True)
class Submit:
    """One submit's moments, in seconds since the epoch; the container has the host's clock."""

    began: float
    created: float
    running: float
    code: float
    printed: float
    seen: float

    def parts(self) -> dict[str, float]:
        """Where the time goes."""
        return {
            "submit process until the job exists": self.created - self.began,
            "job created until its container runs": self.running - self.created,
            "container runs until the code is there": self.code - self.running,
            "code is there until its first line": self.printed - self.code,
            "first line until it is on the terminal": self.seen - self.printed,
        }


def figures(stack: Stack, folder: Path) -> tuple[list[Figure], dict[str, float]]:
    """The figures, and the medians of the parts. Submits and plain runs take turns."""
    project = _project(folder)
    image = str(stack.submit(project)["image"])
    submits, plain = [], []
    for _ in range(ROUNDS):
        plain.append(_plain(image))
        submits.append(_submit(stack, project))
    against = "docker run of the same image"

    def figure(what: str, ours: float, theirs: float) -> Figure:
        met = ours - theirs <= GOAL_S
        return Figure(what, against, ours, theirs, ROUNDS, f"at most {GOAL_S} s more", met)

    parts = {name: median(s.parts()[name] for s in submits) for name in submits[0].parts()}
    return [
        figure(
            "warm submit, to the first line as printed",
            median(submit.printed - submit.began for submit in submits),
            median(printed for printed, _ in plain),
        ),
        figure(
            "warm submit, to the first line as seen",
            median(submit.seen - submit.began for submit in submits),
            median(seen for _, seen in plain),
        ),
    ], parts


def _project(folder: Path) -> Path:
    """With the example's lockfile, so that its image serves."""
    folder.mkdir()
    shutil.copy(ROOT / "examples" / "digits" / "requirements.txt", folder)
    (folder / "train.py").write_text(TRAIN, encoding="utf-8")
    (folder / "config.yaml").write_text("name: bench\nentrypoint: train.py\n", encoding="utf-8")
    return folder


def _submit(stack: Stack, project: Path) -> Submit:
    words = [LAUNCH, "submit", "--local", "--json", "--again", "."]
    began = time.time()
    process = subprocess.Popen(
        words,
        cwd=project,
        env=stack.environment,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    with process:
        printed, seen = _marked(process)
        document, _ = process.communicate(timeout=120)
    run = json.loads(document)
    return Submit(
        began=began,
        created=_epoch(run["created"]),
        running=_epoch(run["started"]),
        code=_code_is_there(stack, run["run_id"], project),
        printed=printed,
        seen=seen,
    )


def _plain(image: str) -> tuple[float, float]:
    """Seconds until a bare container printed its line, and until it came here."""
    code = f"import time; print('{MARK}', time.time(), flush=True)"
    words = ["docker", "run", "--rm", image, "python3", "-c", code]
    began = time.time()
    with subprocess.Popen(words, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        line, seen = process.stdout.readline(), time.time()
        process.wait(60)
    return float(line.rpartition(" ")[2]) - began, seen - began


def _marked(process: subprocess.Popen[str]) -> tuple[float, float]:
    """When the marker was printed, and when it came here. With --json, logs come on standard error."""
    assert process.stderr is not None
    lines = []
    for line in process.stderr:
        if MARK in line:
            return float(line.rpartition(" ")[2]), time.time()
        lines.append(line)
    raise RuntimeError(f"the run never printed its line:\n{''.join(lines)}")


def _code_is_there(stack: Stack, run_id: str, project: Path) -> float:
    """When the runtime said that it had the code."""
    for text in stack.launch("logs", "--local", "--json", run_id, cwd=project).splitlines():
        line = json.loads(text)
        if line["text"].startswith("headway: code:"):
            return _epoch(line["time"])
    raise RuntimeError("the runtime did not say that it has the code")


def _epoch(text: str) -> float:
    return datetime.fromisoformat(text).timestamp()
