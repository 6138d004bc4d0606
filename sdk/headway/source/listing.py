"""Which files of a project are its code: what git knows, without junk, data and what .headwayignore names."""

from __future__ import annotations

import os
import re
import stat
import subprocess
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import TypeAlias

from headway.errors import InputError, MachineError

IGNORE_FILE = ".headwayignore"

_GIT_SECONDS = 60
_JUNK_NAMES = frozenset(
    {
        *(".git", ".hg", ".svn", ".DS_Store", "Thumbs.db", ".idea", ".vscode"),
        *("__pycache__", ".venv", "node_modules", ".tox", ".nox", ".eggs", ".terraform"),
        *(".mypy_cache", ".ruff_cache", ".pytest_cache", ".hypothesis", ".ipynb_checkpoints"),
        *("lightning_logs", "mlruns", "mlartifacts"),
    }
)
"""Never code, at any depth."""
_JUNK_AT_TOP = frozenset({"venv", "wandb", "mlflow.db"})
"""Junk beside config.yaml; deeper, a package may well be named so."""
_JUNK_PATHS = (".dvc/cache/", ".dvc/tmp/", ".dvc/config.local", ".dvc/plots/")
_JUNK_SUFFIXES = (".pyc", ".pyo", ".swp")
_ENV_FILE = re.compile(r"\.env(rc|\..+)?")
_ENV_EXAMPLES = (".example", ".sample", ".template", ".dist")

_Seen: TypeAlias = os.stat_result | PermissionError | None
"""A path as lstat has it, the reason why it may not be looked at, or None where it is gone from the disk."""


def list_code(root: Path, exclude: Sequence[str] = ()) -> dict[str, os.stat_result]:
    """Paths below `root`, with /, sorted, each as lstat has it now; what is a link or no file at all, too.

    `exclude` are paths that are no code: DVC's data, the wheelhouse.
    Raises InputError where git refuses, MachineError where the project is git's and git is not installed.
    """
    found = dict(_git_listing(root)) if _in_git(root) else {}
    found = found or dict(_walk(root))
    paths = sorted(found)  # with what git still knows and the disk does not: a deleted X.dvc still names data
    data = (*(_clean(path) for path in exclude), *(path[:-4] for path in paths if path.endswith(".dvc")))
    data = tuple(path for path in data if path)
    venvs = tuple(path[: -len("pyvenv.cfg")] for path in paths if path.endswith("/pyvenv.cfg"))
    below = (*venvs, *(f"{path}/" for path in data))
    own = set(data)
    kept = [p for p in paths if p not in own and not p.startswith(below) and not _is_junk(p)]
    code: dict[str, os.stat_result] = {}
    for path in _without_ignored(root, kept):
        seen = found[path]
        if isinstance(seen, PermissionError):
            raise unreadable(path, seen)
        if seen is not None:
            code[path] = seen
    return code


def _clean(path: str) -> str:
    return os.path.normpath(path).replace(os.sep, "/").removeprefix("./")


def _is_junk(path: str) -> bool:
    parts = path.split("/")
    name = parts[-1]
    return (
        parts[0] in _JUNK_AT_TOP
        or not _JUNK_NAMES.isdisjoint(parts)
        or name.endswith(_JUNK_SUFFIXES)
        or (_ENV_FILE.fullmatch(name) is not None and not name.endswith(_ENV_EXAMPLES))
        or (".dvc" in parts and any(path.startswith(junk) or f"/{junk}" in path for junk in _JUNK_PATHS))
    )


def _in_git(root: Path) -> bool:
    here = root.absolute()
    return any((folder / ".git").exists() for folder in (here, *here.parents))


def _lstat(path: str) -> _Seen:
    try:
        return os.lstat(path)
    except (FileNotFoundError, NotADirectoryError):
        return None
    except PermissionError as error:
        return error


def _git_listing(root: Path) -> Iterator[tuple[str, _Seen]]:
    """Tracked files, and untracked ones that are not ignored, also those of nested repositories."""
    base = os.fspath(root)
    for path in _git_ls(root):
        found = _lstat(f"{base}/{path}")
        if isinstance(found, os.stat_result) and stat.S_ISDIR(found.st_mode):
            inner, prefix = root / path, path.rstrip("/")
            below = _git_listing(inner) if (inner / ".git").exists() else _walk(inner)
            yield from ((f"{prefix}/{name}", of) for name, of in below)
        else:
            yield path, found


def _git_ls(root: Path) -> Iterable[str]:
    command = ["git", "ls-files", "--cached", "--others", "--exclude-standard", "-z"]
    environment = {name: value for name, value in os.environ.items() if not name.startswith("GIT_")}
    try:
        listing = subprocess.run(
            command,
            cwd=root,
            env={**environment, "GIT_OPTIONAL_LOCKS": "0", "LC_ALL": "C"},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=_GIT_SECONDS,
            check=False,
        )
    except FileNotFoundError:
        raise MachineError(
            f"{root.absolute()} is in a git repository, but git is not installed",
            hint="install git: it says which files are code",
        ) from None
    except subprocess.TimeoutExpired:
        raise MachineError(f"git did not list the files of {root.absolute()} in {_GIT_SECONDS} s") from None
    if listing.returncode != 0:
        raise InputError(
            f"git cannot list the files of {root.absolute()}",
            details=listing.stderr.decode(errors="replace").splitlines()[-5:],
            hint="make `git status` work there first",
        )
    return (os.fsdecode(path) for path in listing.stdout.split(b"\0") if path)


def _walk(root: Path) -> Iterator[tuple[str, _Seen]]:
    """Every file below `root` that is no junk, when there is no git to ask."""
    folders = [""]
    while folders:
        prefix = folders.pop()
        for entry in _entries(root / prefix):
            path = prefix + entry.name
            if not entry.is_dir(follow_symlinks=False):
                yield path, _lstat(entry.path)
            elif not _is_junk(f"{path}/") and not _ignores_itself(root / path):
                folders.append(f"{path}/")


def _ignores_itself(folder: Path) -> bool:
    """Whether its own .gitignore ignores all in it: so are pulled files no code, without git too."""
    try:
        return (folder / ".gitignore").read_bytes().strip() == b"*"
    except OSError:
        return False


def _entries(folder: Path) -> list[os.DirEntry[str]]:
    try:
        with os.scandir(folder) as entries:
            return list(entries)
    except PermissionError as error:
        raise InputError(f"{folder} cannot be read: {error.strerror}", hint="make it readable") from error


def unreadable(path: str, error: OSError) -> InputError:
    """What is said of a file of the project that this user may not read, or that is gone."""
    return InputError(
        f"{path} cannot be read: {error.strerror}", hint=f"make it readable, or name it in {IGNORE_FILE}"
    )


def _without_ignored(root: Path, paths: list[str]) -> list[str]:
    file = root / IGNORE_FILE
    if not file.is_file():
        return paths
    from pathspec import GitIgnoreSpec

    lines = os.fsdecode(file.read_bytes()).splitlines()  # as the paths are, whatever their encoding
    try:
        # pathspec's own matcher: the faster ones, taken where they are installed, know UTF-8 only
        spec = GitIgnoreSpec.from_lines(lines, backend="simple")
    except ValueError as error:
        raise InputError(f"{file}: {error}", hint="it is written as .gitignore is") from error
    return [path for path in paths if not spec.match_file(path)]
