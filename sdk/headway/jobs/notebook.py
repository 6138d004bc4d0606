"""The Python way in, as notebooks and pipelines call it: `headway.submit`, `sweep`, `plan`, `runs`, ..."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from headway.config.profile import default_state, find_place
from headway.errors import InputError
from headway.jobs import listing, planning, preparing, run, submission, sweep_submission
from headway.jobs import sweep as sweeping
from headway.jobs.doctor import Report, examine
from headway.jobs.planning import Preview
from headway.jobs.run import Run, RunView
from headway.jobs.sweep import Sweep
from headway.spec.place import Place


class Printed:
    """Progress as plain lines on standard error; a build's log is left out."""

    def step(self, name: str, detail: str) -> None:
        sys.stderr.write(f"{name}: {detail}\n")

    def line(self, text: str) -> None:
        pass


def submit(
    config: str | Path,
    *,
    gpu: str | None = None,
    spot: bool | None = None,
    local: bool = False,
    profile: str | None = None,
    overrides: Sequence[str] = (),
    again: bool = False,
) -> Run:
    """Submit a job and return its run at once. `overrides` are `key=value` words as on the command line.

    `local=True` uses the local stack and starts it where it is not up. Raises HeadwayError.
    """
    path, flags, overrides = Path(config), _flags(gpu, spot), _words(overrides)
    preparing.check(path, overrides, flags)
    return submission.submit(
        path,
        overrides=overrides,
        flags=flags,
        place=_place(path, local, profile),
        again=again,
        progress=Printed(),
    )


def sweep(
    config: str | Path,
    *,
    metric: str | None = None,
    trials: int | None = None,
    parallel: int | None = None,
    gpu: str | None = None,
    spot: bool | None = None,
    local: bool = False,
    profile: str | None = None,
    overrides: Sequence[str] = (),
    resume: bool = False,
    again: bool = False,
) -> Sweep:
    """Start a sweep and return at once. `overrides` are words, ranges too: `args.lr=1e-4..1e-2:log`.

    The same sweep started twice is one, unless `again`; with `resume`, one that was cancelled or failed goes
    on. Raises HeadwayError.
    """
    given = {"sweep.metric": metric, "sweep.trials": trials, "sweep.parallel": parallel}
    flags = {key: value for key, value in given.items() if value is not None} | _flags(gpu, spot)
    path, words = Path(config), _words(overrides)
    preparing.check(path, words, flags, sweep=True)
    return sweep_submission.start_sweep(
        path,
        overrides=words,
        flags=flags,
        place=_place(path, local, profile),
        resume=resume,
        again=again,
        progress=Printed(),
    )


def plan(
    config: str | Path,
    *,
    gpu: str | None = None,
    spot: bool | None = None,
    local: bool = False,
    profile: str | None = None,
    overrides: Sequence[str] = (),
) -> Preview:
    """What a submit would do, and why. Changes and starts nothing, the local stack neither."""
    path = Path(config)
    return planning.preview(
        path,
        overrides=_words(overrides),
        flags=_flags(gpu, spot),
        local=local,
        profile=profile,
        state=default_state(),
    )


def doctor(
    config: str | Path | None = None,
    *,
    local: bool = False,
    profile: str | None = None,
    online: bool = False,
    overrides: Sequence[str] = (),
) -> Report:
    """Whether all that a submit needs is there, and what mends it; printed, it is a table. Changes nothing.

    `online=True` asks Google too; a local stack is asked where it is up.
    """
    return examine(
        Path(config) if config is not None else None,
        overrides=_words(overrides),
        profile=profile,
        local=local,
        online=online,
        state=default_state(),
    )


def runs(*, local: bool = False, profile: str | None = None, limit: int = 20) -> list[RunView]:
    """The newest runs."""
    return listing.runs(_place(Path.cwd(), local, profile), limit=limit)


def attach(run_id: str, *, local: bool = False, profile: str | None = None) -> Run:
    """The run of that id, submitted from anywhere. Raises NotFound."""
    return run.attach(run_id, _place(Path.cwd(), local, profile))


def attach_sweep(sweep_id: str, *, local: bool = False, profile: str | None = None) -> Sweep:
    """The sweep of that id, started from anywhere. Raises NotFound."""
    return sweeping.attach_sweep(sweep_id, _place(Path.cwd(), local, profile))


def _words(overrides: Sequence[str]) -> Sequence[str]:
    """A lone text is a sequence of letters, and a mapping one of keys: both are told, not taken apart."""
    if isinstance(overrides, str | Mapping):
        raise InputError(
            f"overrides is a list of key=value words, not {overrides!r}",
            hint='write for example overrides=["args.lr=0.01"]',
        )
    return overrides


def _flags(gpu: str | None, spot: bool | None) -> dict[str, object]:
    flags = {"resources.gpu": gpu, "resources.spot": spot}
    return {key: value for key, value in flags.items() if value is not None}


def _place(start: Path, local: bool, profile: str | None) -> Place:
    return find_place(profile=profile, local=local, start=start, state=default_state())
