"""Has data changed since DVC last saw it? A cheap look: number and sizes, and contents if there is little."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Protocol

from headway.data.tracked import Output

HASHED_BYTES = 16_000_000
"""Up to so many bytes the contents are compared too, which takes some hundredths of a second."""
COUNTED_FILES = 50_000
"""A folder with more is not looked at: it would take longer than a plan may."""

_IGNORED = (".git", ".hg", ".dvc")


class _Ignore(Protocol):
    def match_file(self, file: str) -> bool: ...


def difference(output: Output, repository: Path | None) -> str | None:
    """In what the data on disk differs from what DVC noted, or None, also where it is not on disk."""
    path = output.path
    if not path.exists():
        return None
    if path.is_dir() != output.is_folder:
        return "it is a folder" if path.is_dir() else "it is a file"
    return _of_folder(output, repository) if output.is_folder else _of_file(output)


def _of_file(output: Output) -> str | None:
    size = output.path.stat().st_size
    if size != output.size:
        return f"it has {size:,} bytes, not {output.size:,}"
    if size <= HASHED_BYTES and not output.legacy and _md5(output.path) != output.md5:
        return "its content is another"
    return None


def _of_folder(output: Output, repository: Path | None) -> str | None:
    if output.files > COUNTED_FILES:
        return None
    found: dict[str, int] = {}
    for name, size in _files(output.path, _ignores(output.path, repository)):
        found[name] = size
        if len(found) > COUNTED_FILES:
            break
    if output.files and len(found) != output.files:
        return f"it has {len(found):,} files, not {output.files:,}"
    if sum(found.values()) != output.size:
        return f"it has {sum(found.values()):,} bytes, not {output.size:,}"
    if output.size <= HASHED_BYTES and not output.legacy and _manifest_md5(output.path, found) != output.md5:
        return "its content is another"
    return None


def _manifest_md5(folder: Path, names: dict[str, int]) -> str:
    """The md5 of a folder as DVC 3 makes it: that of its manifest's JSON text, sorted by path."""
    manifest = [{"md5": _md5(folder / name), "relpath": name} for name in sorted(names)]
    text = json.dumps(manifest, sort_keys=True)
    return hashlib.md5(text.encode(), usedforsecurity=False).hexdigest() + ".dir"


def _md5(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, lambda: hashlib.md5(usedforsecurity=False)).hexdigest()


def _files(folder: Path, ignores: list[tuple[Path, _Ignore]]) -> Iterator[tuple[str, int]]:
    """Files below a folder with their sizes in bytes, as DVC counts them; its links are followed."""
    for here, folders, names in os.walk(folder, followlinks=True):
        folders[:] = [f for f in folders if f not in _IGNORED and not _is_ignored(ignores, f"{here}/{f}/")]
        for name in names:
            full = f"{here}/{name}"
            if name not in _IGNORED and not _is_ignored(ignores, full):
                with suppress(FileNotFoundError):  # a link into a cache that has lost the file
                    yield os.path.relpath(full, folder), os.stat(full).st_size  # noqa: PTH116  (many files)


def _ignores(path: Path, repository: Path | None) -> list[tuple[Path, _Ignore]]:
    """The .dvcignore files from DVC's root down to the data that say anything."""
    if repository is None:
        return []
    folders = [
        folder for folder in (path, *path.parents) if folder == repository or repository in folder.parents
    ]
    found: list[tuple[Path, _Ignore]] = []
    for folder in folders:
        file = folder / ".dvcignore"
        lines = os.fsdecode(file.read_bytes()).splitlines() if file.is_file() else []
        if any(line.strip() and not line.startswith("#") for line in lines):
            from pathspec import GitIgnoreSpec

            found.append((folder, GitIgnoreSpec.from_lines(lines, backend="simple")))
    return found


def _is_ignored(ignores: list[tuple[Path, _Ignore]], full: str) -> bool:
    slash = "/" if full.endswith("/") else ""
    return any(spec.match_file(os.path.relpath(full, folder) + slash) for folder, spec in ignores)
