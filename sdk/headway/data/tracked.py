"""What DVC tracks, read from its files: `X.dvc`, and dvc.lock with its dvc.yaml. DVC is not imported."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from headway.errors import DataNotReady

_Loader: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


@dataclass(frozen=True)
class Output:
    """One output as DVC wrote it down in `file`: sizes in bytes, `md5` None where DVC knows none.

    `legacy`: written by DVC 2. `cached` False: kept in git, only its md5 is noted.
    """

    path: Path
    file: Path
    md5: str | None
    size: int
    files: int
    legacy: bool
    cached: bool = True

    @property
    def is_folder(self) -> bool:
        return self.md5 is not None and self.md5.endswith(".dir")

    @property
    def of_pipeline(self) -> bool:
        return self.file.name == "dvc.lock"


class Tracked:
    """The outputs that DVC tracks around a folder; every file is read once. Paths are absolute."""

    def __init__(self, root: Path) -> None:
        self.root = Path(os.path.abspath(root))  # noqa: PTH100  (resolve() would follow links, which DVC makes)
        self.repository = next((p for p in (self.root, *self.root.parents) if (p / ".dvc").is_dir()), None)
        self._read: dict[Path, list[Output]] = {}

    def find(self, path: Path) -> Output | None:
        """The output that is exactly this path."""
        return next((output for output in self._near(path) if output.path == path), None)

    def around(self, path: Path) -> Output | None:
        """The tracked folder that this path lies in."""
        above = (self.find(parent) for parent in path.parents if self._is_below_top(parent))
        return next((output for output in above if output is not None), None)

    def below(self, path: Path) -> list[Output]:
        """The outputs in this folder, down to two levels."""
        files = [*path.glob("*.dvc"), *path.glob("*/*.dvc")]
        found = [output for file in sorted(files) if file.is_file() for output in self._outputs(file)]
        found += [output for output in self._pipelines(path) if path in output.path.parents]
        return found

    def names(self) -> list[str]:
        """Tracked paths beside and one level below the root, relative to it: what a slip may have meant."""
        return [os.path.relpath(output.path, self.root) for output in self.below(self.root)]

    def _near(self, path: Path) -> Iterator[Output]:
        own = path.with_name(f"{path.name}.dvc")
        if own.is_file():
            yield from self._outputs(own)
        for file in sorted(path.parent.glob("*.dvc")):
            if file.is_file():
                yield from self._outputs(file)
        yield from self._pipelines(path)

    def _pipelines(self, path: Path) -> Iterator[Output]:
        for folder in path.parents:
            if not self._is_below_top(folder):
                return
            if (lock := folder / "dvc.lock").is_file():
                yield from self._outputs(lock)

    def _is_below_top(self, folder: Path) -> bool:
        top = self.repository or self.root
        return folder == top or top in folder.parents

    def _outputs(self, file: Path) -> list[Output]:
        if file not in self._read:
            found = _of_lock(file) if file.name == "dvc.lock" else _of_dvc_file(file)
            self._read[file] = list(found)
        return self._read[file]


def _of_dvc_file(file: Path) -> Iterator[Output]:
    document = _load(file)
    yield from _outputs(file, document.get("outs"), file.parent / str(document.get("wdir", ".")))


def _of_lock(file: Path) -> Iterator[Output]:
    """dvc.lock names outputs from their stage's folder, which only dvc.yaml tells."""
    pipeline = file.with_name("dvc.yaml")
    stages = _table(_load(pipeline).get("stages")) if pipeline.is_file() else {}
    for name, stage in _table(_load(file).get("stages")).items():
        described = _table(stages.get(str(name).partition("@")[0]))
        described = _table(described.get("do")) or described
        folder = file.parent / str(described.get("wdir", "."))
        in_git = frozenset(_not_cached(described))
        yield from _outputs(file, _table(stage).get("outs"), folder, in_git)


def _not_cached(stage: Mapping[str, Any]) -> Iterator[str]:
    for kind in ("outs", "metrics", "plots"):
        for row in stage.get(kind) or ():
            if isinstance(row, dict):
                yield from (
                    str(path) for path, options in row.items() if _table(options).get("cache") is False
                )


def _outputs(
    file: Path, rows: object, folder: Path, in_git: frozenset[str] = frozenset()
) -> Iterator[Output]:
    for row in rows if isinstance(rows, list) else ():
        if not isinstance(row, dict) or not isinstance(row.get("path"), str):
            continue
        md5 = row.get("md5") if isinstance(row.get("md5"), str) else None
        yield Output(
            path=Path(os.path.normpath(folder / row["path"])),
            file=file,
            md5=md5,
            size=int(row.get("size") or 0),
            files=int(row.get("nfiles") or (0 if md5 and md5.endswith(".dir") else 1)),
            legacy=row.get("hash") != "md5",
            cached=row.get("cache", True) is not False and row["path"] not in in_git,
        )


def _load(file: Path) -> Mapping[str, Any]:
    try:
        return _table(yaml.load(file.read_bytes(), Loader=_Loader))
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        place = f"{file}:{mark.line + 1}:{mark.column + 1}" if mark else str(file)
        raise DataNotReady(
            f"{place}: is not readable as YAML",
            hint="is a merge unfinished? `git checkout` or `dvc add` writes it anew",
        ) from error


def _table(value: object) -> Mapping[str, Any]:
    return value if isinstance(value, dict) else {}
