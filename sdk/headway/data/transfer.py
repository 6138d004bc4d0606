"""Data between the bucket and a folder, content-addressed as DVC 3 keeps it; every byte is checked."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import FIRST_EXCEPTION, CancelledError, ThreadPoolExecutor, wait
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import TypeVar

from headway.cloud.storage import split_uri
from headway.data.disk import full_disk_told, require_space
from headway.data.remote import Objects, object_name
from headway.errors import DataNotReady, MachineError, NotFound, RemoteError
from headway.spec.place import Place
from headway.spec.plan import DataPin

T = TypeVar("T")
R = TypeVar("R")

_PAUSES_S = (0.2, 0.8, 2.0)
PUSH_DEADLINE_S = 3600.0


@dataclass(frozen=True)
class Pulled:
    """What a pull brought, in files, bytes and seconds; `kept` files were there already."""

    files: int
    bytes: int
    seconds: float
    kept: int = 0


@dataclass(frozen=True)
class _Wanted:
    """One file to have: its md5, the object that holds it, where it goes, and the pinned path it is of."""

    md5: str
    object: str
    path: Path
    pinned: str


def pull(
    pins: Sequence[DataPin],
    remote: str,
    into: Path,
    stores: Callable[[str], Objects],
    *,
    jobs: int = 16,
) -> Pulled:
    """Bring the pinned paths into a folder, `jobs` files at a time. A file that is right is kept.

    Raises DataNotReady where an object is not in the remote, RemoteError where one does not have its md5 or
    storage does not answer, MachineError where the disk is full.
    """
    started = time.monotonic()
    bucket, prefix = split_uri(remote)
    store = stores(bucket)
    # a path that is there from an earlier start may be right: it is judged file by file
    needed = sum(pin.size for pin in pins if not (into / pin.path).exists())
    require_space(into, needed)
    with full_disk_told(into, needed):
        wanted = [file for pin in pins for file in _files(store, prefix, pin, into)]
        for folder in {file.path.parent for file in wanted}:
            folder.mkdir(parents=True, exist_ok=True)
        over = threading.Event()
        sizes = _parallel(lambda file: _bring(store, file, over), wanted, jobs, over)
    brought = [size for size in sizes if size is not None]
    return Pulled(len(brought), sum(brought), time.monotonic() - started, len(sizes) - len(brought))


def push(root: Path, paths: Sequence[str], place: Place) -> None:
    """Send DVC-tracked paths from DVC's cache to the place's remote, by DVC itself.

    DVC runs in a process of its own: it and gcsfs take seconds to import and read their environment then.
    Raises DataNotReady (no DVC repository, path not tracked, not in the cache), RemoteError, MachineError.
    """
    request = {
        "root": str(root),
        "paths": list(paths),
        "url": place.dvc_remote,
        "endpoint": place.endpoints.get("storage"),
    }
    try:
        done = subprocess.run(
            [sys.executable, "-m", "headway.data.dvc_push"],
            input=json.dumps(request),
            env=_push_environment(place),
            capture_output=True,
            text=True,
            timeout=PUSH_DEADLINE_S,
            check=False,
        )
    except subprocess.TimeoutExpired as error:
        raise RemoteError(
            f"dvc push of {', '.join(paths)} was not done after {PUSH_DEADLINE_S:.0f} s",
            hint="what was sent is kept: run the command again, or `dvc push` by hand",
        ) from error
    _raise_answer(done, paths)


def _push_environment(place: Place) -> dict[str, str]:
    environment = dict(os.environ)
    if endpoint := place.endpoints.get("storage"):
        environment["STORAGE_EMULATOR_HOST"] = endpoint
        # gcsfs asks Storage Control over gRPC otherwise, which no emulator speaks, and waits for minutes
        environment["GCSFS_EXPERIMENTAL_ZB_HNS_SUPPORT"] = "false"
    return environment


def _raise_answer(done: subprocess.CompletedProcess[str], paths: Sequence[str]) -> None:
    kinds = {"data": DataNotReady, "machine": MachineError, "remote": RemoteError}
    try:
        answer = json.loads(done.stdout.splitlines()[-1])
    except (IndexError, ValueError):
        raise RemoteError(
            f"dvc push of {', '.join(paths)} ended with code {done.returncode}",
            details=done.stderr.splitlines()[-8:],
            hint="run `dvc push` by hand to see more",
        ) from None
    if "error" in answer:
        raise kinds[answer["kind"]](answer["error"], hint=answer["hint"])


def _files(store: Objects, prefix: str, pin: DataPin, into: Path) -> list[_Wanted]:
    target = into / pin.path
    name = object_name(prefix, pin.md5, pin.legacy)
    if not pin.md5.endswith(".dir"):
        return [_Wanted(pin.md5, name, target, pin.path)]
    manifest = _Wanted(pin.md5, name, target, pin.path)
    entries = json.loads(_attempts(lambda: _read_checked(store, manifest)))
    files = []
    for entry in entries:
        relpath = PurePosixPath(entry["relpath"])
        if relpath.is_absolute() or ".." in relpath.parts:
            raise RemoteError(f"the manifest of {pin.path} names {str(relpath)!r}, which lies outside of it")
        name = object_name(prefix, entry["md5"], pin.legacy)
        files.append(_Wanted(entry["md5"], name, target / relpath, pin.path))
    target.mkdir(parents=True, exist_ok=True)
    return files


def _read_checked(store: Objects, file: _Wanted) -> bytes:
    try:
        data = b"".join(store.stream(file.object))
    except NotFound as error:
        raise _not_pushed(file) from error
    _check_md5(file, hashlib.md5(data, usedforsecurity=False).hexdigest())
    return data


def _bring(store: Objects, file: _Wanted, over: threading.Event) -> int | None:
    """Bytes brought, or None where the right file is there already."""
    if _is_right(file):
        return None
    return _attempts(lambda: _download(store, file, over))


def _download(store: Objects, file: _Wanted, over: threading.Event) -> int:
    """Bytes brought; left off at the next piece once the pull is over."""
    # in its folder, so that the last step is a rename; the name tells a torn one from data
    part = file.path.with_name(f".{file.path.name}.{file.md5[:8]}.part")
    digest, size = hashlib.md5(usedforsecurity=False), 0
    try:
        with part.open("wb") as sink:
            for piece in store.stream(file.object):
                if over.is_set():
                    raise CancelledError
                digest.update(piece)
                size += sink.write(piece)
        _check_md5(file, digest.hexdigest())
        part.replace(file.path)
    except NotFound as error:
        raise _not_pushed(file) from error
    finally:
        part.unlink(missing_ok=True)
    return size


def _is_right(file: _Wanted) -> bool:
    try:
        with file.path.open("rb") as source:
            return hashlib.file_digest(source, _md5).hexdigest() == file.md5
    except OSError:
        return False


def _md5() -> hashlib._Hash:
    return hashlib.md5(usedforsecurity=False)


def _check_md5(file: _Wanted, found: str) -> None:
    if found != file.md5.removesuffix(".dir"):
        raise RemoteError(
            f"{file.path.name} of {file.pinned}: the object {file.object} is damaged "
            f"(md5 {found}, wanted {file.md5})",
            hint=f"remove that object from the remote, then run: dvc push {file.pinned}",
        )


def _not_pushed(file: _Wanted) -> DataNotReady:
    name = file.path.name if not file.md5.endswith(".dir") else "its manifest"
    return DataNotReady(
        f"data {file.pinned} is not in the remote: {name} ({file.object}) is missing",
        hint=f"run: dvc push {file.pinned}",
    )


def _attempts(call: Callable[[], T]) -> T:
    """Call, and again after a pause while storage fails; what is not there is not asked for twice."""
    for pause in _PAUSES_S:
        try:
            return call()
        except RemoteError:
            time.sleep(pause)
    return call()


def _parallel(call: Callable[[T], R], items: Iterable[T], jobs: int, over: threading.Event) -> list[R]:
    """Results in order; the first error, or a signal, ends it: `over` tells the calls that are under way."""
    pool = ThreadPoolExecutor(jobs, thread_name_prefix="pull")
    try:
        futures = [pool.submit(call, item) for item in items]
        done, _ = wait(futures, return_when=FIRST_EXCEPTION)
        for future in done:
            future.result()
        return [future.result() for future in futures]
    finally:
        over.set()
        # one that waits for a server is not waited for: it ends at that request's deadline
        pool.shutdown(wait=False, cancel_futures=True)
