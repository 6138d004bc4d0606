"""Data paths of a config become pins: which version DVC tracks, and whether the files here are that one."""

from __future__ import annotations

import difflib
import os
import shlex
import subprocess
from collections.abc import Sequence
from pathlib import Path, PurePosixPath

from headway.data.changes import difference
from headway.data.tracked import Output, Tracked
from headway.errors import DataNotReady
from headway.spec.plan import DataPin

_GIT_SECONDS = 10


def read_pins(root: Path, paths: Sequence[str]) -> tuple[DataPin, ...]:
    """The version of each path below config.yaml's folder `root`. DVC's files are read, DVC is not run.

    Data that is not on this machine is no error: the version that was pinned is used. Raises DataNotReady
    where a path is not tracked, or differs from what is tracked; it names the command that mends it.
    """
    tracked = Tracked(root)
    names = dict.fromkeys(_normal(path) for path in paths)
    return tuple(_pin(tracked, name) for name in names)


def _normal(path: str) -> str:
    normal = os.path.normpath(path)
    if PurePosixPath(normal).is_absolute() or normal.startswith("..") or normal == ".":
        raise DataNotReady(
            f"data: {path} is not below config.yaml",
            hint="give a path inside of the project, such as data/train: code finds it there in the job too",
        )
    return normal


def _pin(tracked: Tracked, name: str) -> DataPin:
    output = tracked.find(tracked.root / name)
    if output is None:
        raise _not_tracked(tracked, name)
    if not output.cached:
        raise DataNotReady(
            f"data: {name} is an output that {_shown(output.file)} keeps in git (cache: false)",
            hint="it travels with the code: take it out of data",
        )
    if output.md5 is None:
        raise DataNotReady(
            f"data: {_shown(output.file)} has no md5 for {name}: it was never brought into DVC's cache",
            hint=f"run: {_make(output)}",
        )
    if changed := difference(output, tracked.repository):
        raise DataNotReady(
            f"data: {name} differs from what {_shown(output.file)} says: {changed}",
            hint=f"to use it so, run: {_accept(output)}; to go back: dvc checkout {_shown(output.path)}",
        )
    return DataPin(path=name, md5=output.md5, size=output.size, files=output.files, legacy=output.legacy)


def _not_tracked(tracked: Tracked, name: str) -> DataNotReady:
    path = tracked.root / name
    if whole := tracked.around(path):
        inside = os.path.relpath(whole.path, tracked.root)
        return DataNotReady(
            f"data: {name} lies inside of {inside}, which DVC tracks as a whole",
            hint=f"name the whole: data: [{inside}]",
        )
    if parts := [os.path.relpath(output.path, tracked.root) for output in tracked.below(path)]:
        return DataNotReady(
            f"data: {name} is not tracked itself, but there is tracked data in it",
            hint=f"name that: data: [{', '.join(parts)}]",
        )
    if not path.exists():
        near = difflib.get_close_matches(name, tracked.names(), n=2, cutoff=0.5)
        known = tracked.names()[:5]
        hint = (
            f"did you mean {' or '.join(near)}?"
            if near
            else f"DVC tracks {', '.join(known) or 'nothing here'}"
        )
        return DataNotReady(f"data: there is no {name}, and DVC tracks none", hint=hint)
    shown = _shown(path)
    if _in_git(path):
        return DataNotReady(
            f"data: {name} is tracked by git, not by DVC: it travels with the code already",
            hint=f"take it out of data, or run: git rm -r --cached {shown} && dvc add {shown}",
        )
    first = "" if tracked.repository else "dvc init && "
    return DataNotReady(f"data: {name} is not tracked by DVC", hint=f"run: {first}dvc add {shown}")


def _make(output: Output) -> str:
    pipeline = output.file.with_name("dvc.yaml")
    return f"dvc repro {_shown(pipeline)}" if output.of_pipeline else f"dvc add {_shown(output.path)}"


def _accept(output: Output) -> str:
    """`dvc add` refuses the outputs of a pipeline; `dvc commit` takes them as they are."""
    return f"dvc commit {_shown(output.path)}" if output.of_pipeline else _make(output)


def _shown(path: Path) -> str:
    """As one would type it here."""
    relative = os.path.relpath(path)
    return shlex.quote(str(path) if relative.startswith("..") else relative)


def _in_git(path: Path) -> bool:
    command = ["git", "ls-files", "--error-unmatch", "--", str(path)]
    try:
        asked = subprocess.run(
            command,
            cwd=path.parent,
            capture_output=True,
            timeout=_GIT_SECONDS,
            check=False,
            stdin=subprocess.DEVNULL,
        )
    except (OSError, subprocess.TimeoutExpired):
        return False  # it only chooses between two hints
    return asked.returncode == 0
