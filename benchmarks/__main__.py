"""`make bench`: prints what is measured, each figure beside its goal.

It takes some two minutes, and an image build where there is none. A goal that is missed is said, and is no
failure: the exit code tells only whether it could be measured.
"""

from __future__ import annotations

import os
import platform
import sys
import tempfile
from pathlib import Path

from benchmarks import measure, plan, start, submit
from benchmarks.place import stack


def main() -> int:
    say(
        f"Python {platform.python_version()}, {platform.system()} {platform.machine()}, {os.cpu_count()} CPUs"
    )
    say("starting: the command line ...")
    figures = start.figures()
    parts: dict[str, float] = {}
    with tempfile.TemporaryDirectory(prefix="headway-bench-") as folder, stack() as here:
        if here.has_engine:
            say("submitting: a job that prints a line ...")
            submitted, parts = submit.figures(here, Path(folder) / "small")
            figures += submitted
        else:
            say("submitting: not measured, for no Docker engine answers")
        say("planning: a project of 2,000 files ...")
        figures += plan.figures(here, Path(folder) / "large")
    print(f"\n{measure.rendered(figures)}")
    if parts:
        print("\nwhere a warm submit's time goes (medians):")
        for name, seconds in parts.items():
            print(f"  {seconds:6.3f} s  {name}")
    return 0


def say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main())
