"""The code as one deterministic archive: a plain tar, named by its sha256."""

from __future__ import annotations

import hashlib
import os
import stat
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import IO, NamedTuple

from headway.errors import CredentialFound, InputError
from headway.source import archive
from headway.source.credentials import credential_in
from headway.source.listing import IGNORE_FILE, list_code, unreadable
from headway.source.stat_cache import StatCache

LIMIT_BYTES = 500_000_000
"""More is not code: it would be kept once a version, and travel at each start."""
_IN_MEMORY = 32_000_000
_MORE = 1 << 20


class BundleFile(NamedTuple):
    """A packed file: its path below the root, with /, and its size in bytes; a link has none."""

    path: str
    size: int
    executable: bool = False
    link_to: str | None = None


@dataclass(frozen=True)
class Bundle:
    """The code of a project at one moment. `digest` is the sha256 of the tar, `size` its length in bytes."""

    digest: str
    files: tuple[BundleFile, ...]
    size: int
    root: Path = field(repr=False)

    def __contains__(self, path: str) -> bool:
        """Whether a file is in it; `./train.py` is `train.py`."""
        wanted = PurePosixPath(path).as_posix()
        return any(file.path == wanted for file in self.files)

    def write(self, path: Path) -> None:
        """Write the tar. Raises InputError where a file changed since it was packed; nothing is left then."""
        try:
            with path.open("wb") as out:
                self._write(out)
        except BaseException:
            path.unlink(missing_ok=True)
            raise

    @contextmanager
    def open(self) -> Iterator[IO[bytes]]:
        """The tar as a file to be read, at its beginning; gone afterwards."""
        with tempfile.SpooledTemporaryFile(_IN_MEMORY) as out:
            self._write(out)
            out.seek(0)
            yield out

    def _write(self, out: IO[bytes]) -> None:
        digest = hashlib.sha256()
        for block in _blocks(self.root, self.files):
            digest.update(block)
            out.write(block)
        if digest.hexdigest() != self.digest:
            raise InputError(
                f"the code in {self.root.absolute()} changed while it was being packed", hint="submit again"
            )


def pack(root: Path, *, exclude: Sequence[str] = (), cache: StatCache | None = None) -> Bundle:
    """Pack the project in `root`; `exclude` are paths that are no code. Nothing is written but the cache.

    With a `cache`, files that are as they were when they were packed last are not read.
    Raises CredentialFound where a file looks like a credential, and InputError where a file cannot be read,
    a link leads out of the project, or the whole is too large to be code.
    """
    listed = list_code(root, exclude)
    files = tuple(_files(root, listed))
    _check_size(files)

    def read() -> tuple[str, int]:
        digest, size = hashlib.sha256(), 0
        for block in _blocks(root, files):
            digest.update(block)
            size += len(block)
        return digest.hexdigest(), size

    links = [file.link_to for file in files if file.link_to is not None]
    digest, size = cache.get(root, listed, read, links=links) if cache else read()
    return Bundle(digest, files, size, root)


def _files(root: Path, listed: Mapping[str, os.stat_result]) -> Iterator[BundleFile]:
    base = os.path.realpath(root)
    for path, found in listed.items():
        if stat.S_ISLNK(found.st_mode):
            yield BundleFile(path, 0, link_to=_link(base, path))
        elif stat.S_ISREG(found.st_mode):
            yield BundleFile(path, found.st_size, executable=bool(found.st_mode & stat.S_IXUSR))


def _link(base: str, path: str) -> str:
    """Where a link leads, relative to itself; it must stay inside, for nothing else is in the container."""
    link = Path(base, path)
    try:
        target = link.readlink()
    except OSError as error:
        raise unreadable(path, error) from error
    real = os.path.realpath(link)
    if os.path.commonpath([base, real]) != base:
        raise InputError(
            f"{path} is a link to {target}, outside of the project",
            hint=f"copy the file here, track it with DVC, or name it in {IGNORE_FILE}",
        )
    return os.path.relpath(real, link.parent) if target.is_absolute() else str(target)


def _check_size(files: Sequence[BundleFile]) -> None:
    total = sum(file.size for file in files)
    if total <= LIMIT_BYTES:
        return
    largest = sorted(files, key=lambda file: -file.size)[:5]
    raise InputError(
        f"the code is {total / 1e6:,.0f} MB, more than {LIMIT_BYTES / 1e6:,.0f} MB: there is data in it",
        details=[f"{file.size / 1e6:10,.1f} MB  {file.path}" for file in largest],
        hint=f"track data with DVC (dvc add), or name it in .gitignore or {IGNORE_FILE}",
    )


def _blocks(root: Path, files: Sequence[BundleFile]) -> Iterator[bytes]:
    """The tar, piece by piece."""
    for file in files:
        if file.link_to is not None:
            yield archive.header(file.path, link_to=file.link_to)
            continue
        data = _read(root, file)
        if reason := credential_in(file.path, data):
            raise CredentialFound(
                f"{file.path} looks like a credential: {reason}. Nothing was sent.",
                hint=f"name it in .gitignore or {IGNORE_FILE}; a job gets secrets by environment.secrets",
            )
        yield b"".join(archive.member(file.path, data, executable=file.executable))
    yield archive.END


def _read(root: Path, file: BundleFile) -> bytes:
    """The whole file. There are thousands, and a file object costs as much again as what it reads."""
    try:
        descriptor = os.open(f"{root}/{file.path}", os.O_RDONLY | os.O_CLOEXEC)
        try:
            data = os.read(descriptor, file.size + 1)  # by one more: it may have grown
            while len(data) != file.size and (more := os.read(descriptor, _MORE)):
                data += more
        finally:
            os.close(descriptor)
    except OSError as error:
        raise unreadable(file.path, error) from error
    return data
