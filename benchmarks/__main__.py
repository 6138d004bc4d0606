"""`make bench`: prints what is measured, each figure beside its goal.

It takes some six minutes, and an image build where there is none. A goal that is missed is said, and is no
failure: the exit code tells only whether it could be measured. `python -m benchmarks emulator` measures that
part alone; the parts are start, submit, plan, doctor, emulator and sweep. HEADWAY_BENCH_JOBS=1000 makes fewer
jobs for the emulator.
"""

from __future__ import annotations

import os
import platform
import sys
import tempfile
from pathlib import Path

from benchmarks import doctor, emulator, measure, plan, start, submit, sweep
from benchmarks.place import stack

PARTS = ("start", "submit", "plan", "doctor", "emulator", "sweep")


def main() -> int:
    unknown = set(sys.argv[1:]) - set(PARTS)
    if unknown:
        say(f"no such part: {', '.join(unknown)}; there are {', '.join(PARTS)}")
        return 2
    wanted = set(sys.argv[1:] or PARTS)
    say(
        f"Python {platform.python_version()}, {platform.system()} {platform.machine()}, {os.cpu_count()} CPUs"
    )
    # an installed package has its bytecode; in a checkout the first round, which is not counted, writes it
    os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
    host = measure.Host()
    with tempfile.TemporaryDirectory(prefix="headway-bench-") as folder:
        if wanted - {"emulator", "sweep"}:
            launching(wanted, Path(folder))
        if "emulator" in wanted:
            emulating(Path(folder) / "emulator")
        if "sweep" in wanted:
            sweeping(Path(folder) / "sweep")
    if host.stolen:
        print(f"\n{host.stolen:.0%} of the CPU time that was wanted went to other guests of the host.")
    return 0


def launching(wanted: set[str], folder: Path) -> None:
    """What is measured of the command line."""
    figures: list[measure.Figure] = []
    parts: dict[str, float] = {}
    if "start" in wanted:
        say("starting: the command line ...")
        figures += start.figures()
    if wanted & {"submit", "plan", "doctor"}:
        with stack() as here:
            if "submit" in wanted and here.has_engine:
                say("submitting: a job that prints a line ...")
                submitted, parts = submit.figures(here, folder / "small")
                figures += submitted
            elif "submit" in wanted:
                say("submitting: not measured, for no Docker engine answers")
            if "plan" in wanted:
                say("planning: a project of 2,000 files ...")
                figures += plan.figures(here, folder / "large")
            if "doctor" in wanted:
                say("examining: a healthy stack ...")
                figures += doctor.figures(here, folder / "healthy")
    print(f"\n{measure.rendered(figures)}")
    if parts:
        print("\nwhere a warm submit's time goes (medians):")
        for name, seconds in parts.items():
            print(f"  {seconds:6.3f} s  {name}")


def emulating(folder: Path) -> None:
    """What is measured of the emulator, beside moto's server."""
    say(f"emulating: {emulator.JOBS:,} jobs, beside moto ...")
    figures, notes = emulator.figures(folder, say)
    print(f"\n{measure.rendered(figures)}\n")
    for name, text in notes.items():
        print(f"  {name}: {text}")


def sweeping(folder: Path) -> None:
    """What is measured of the trials that the emulator suggests."""
    say(f"sweeping: {2 * sweep.SEEDS} sweeps over each of {len(sweep.PROBLEMS)} functions ...")
    print(f"\n{measure.rendered(sweep.figures(folder))}\n\n{sweep.NOTE}")


def say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main())
