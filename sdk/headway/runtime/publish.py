"""What a run makes, brought to its place in the bucket: checkpoints as it goes, the rest at its end."""

from __future__ import annotations

import threading
import zipfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from headway.cloud.storage import split_uri
from headway.runtime.store import Stores
from headway.spec.plan import Plan

T = TypeVar("T")
R = TypeVar("R")

LOOK_S = 2.0
JOBS = 8
_Seen = tuple[int, int]
"""A file's size (bytes) and time of change (ns)."""

LEFT_OUT = frozenset({"__pycache__", ".ipynb_checkpoints", ".git"})


@dataclass(frozen=True)
class Targets:
    """Where things go: gs:// prefixes without a slash at the end. The platform's variables come first, for
    Vertex AI gives each trial of a tuning job prefixes of its own."""

    checkpoints: str
    model: str
    outputs: str

    @classmethod
    def of(cls, plan: Plan, variables: Mapping[str, str]) -> Targets:
        base = plan.base_output_uri
        return cls(
            checkpoints=(variables.get("AIP_CHECKPOINT_DIR") or f"{base}/checkpoints").rstrip("/"),
            model=(variables.get("AIP_MODEL_DIR") or f"{base}/model").rstrip("/"),
            outputs=plan.layout.uri(plan.folder.outputs),
        )


class Mirror:
    """Keeps a prefix of the bucket like a folder: a file that has not changed between two looks is sent.

    What this mirror knows and the folder no longer has is removed (Lightning keeps the best few), once all
    that the folder has is sent: there is no moment without a checkpoint in the bucket.
    """

    def __init__(self, folder: Path, uri: str, stores: Stores, *, known: Sequence[Path] = ()) -> None:
        bucket, prefix = split_uri(uri)
        self._folder, self._prefix, self._store = folder, prefix.rstrip("/"), stores(bucket)
        self._looked: dict[str, _Seen] = {}
        self._sent: dict[str, _Seen] = {}
        self._sent.update((path.relative_to(folder).as_posix(), _seen(path)) for path in known)
        self._lock = threading.Lock()
        self._looking = threading.Lock()

    @property
    def names(self) -> tuple[str, ...]:
        """The gs:// addresses of what is in the bucket."""
        with self._lock:
            return tuple(self._store.uri(f"{self._prefix}/{name}") for name in sorted(self._sent))

    def look(self, *, final: bool = False, trusted: bool = True) -> None:
        """Send what is complete; at the end all is, unless a kill may have torn it (not `trusted`).

        One look at a time: another waits, and does not send the same file beside it. Raises RemoteError, and
        may be called again.
        """
        with self._looking:
            self._look(final, trusted)

    def _look(self, final: bool, trusted: bool) -> None:
        here = {path.relative_to(self._folder).as_posix(): _seen(path) for path in files_below(self._folder)}

        def is_whole(name: str) -> bool:
            if self._looked.get(name) == here[name]:
                return True
            return final and (trusted or zipfile.is_zipfile(self._folder / name))

        def send(name: str) -> None:
            self._store.upload(f"{self._prefix}/{name}", self._folder / name)
            with self._lock:
                self._sent[name] = here[name]

        changed = [name for name, seen in here.items() if self._sent.get(name) != seen and is_whole(name)]
        _in_parallel(send, changed)
        self._looked = here
        if any(self._sent.get(name) != seen for name, seen in here.items()):
            return
        for name in [name for name in self._sent if name not in here]:
            self._store.delete(f"{self._prefix}/{name}")
            with self._lock:
                del self._sent[name]


class MirrorThread:
    """Looks every two seconds until it is ended; `told` hears of each failure, `changed` of what is sent."""

    def __init__(
        self, mirror: Mirror, told: Callable[[str], None], changed: Callable[[tuple[str, ...]], None]
    ) -> None:
        self._mirror, self._told, self._changed = mirror, told, changed
        self._over = threading.Event()
        threading.Thread(target=self._run, name="checkpoints", daemon=True).start()

    def end(self) -> None:
        """Begin no further look; one that is under way goes on, and the mirror's last one waits for it."""
        self._over.set()

    def _run(self) -> None:
        before: tuple[str, ...] = ()
        while not self._over.wait(LOOK_S):
            try:
                self._mirror.look()
            except FileNotFoundError:
                continue  # removed between look and upload: Lightning keeps the best few
            except Exception as error:  # noqa: BLE001  whatever it was, later checkpoints must be sent
                self._told(f"checkpoints cannot be uploaded yet: {error}")
            if not self._over.is_set() and self._mirror.names != before:
                before = self._mirror.names
                self._changed(before)


def upload(files: Sequence[Path], root: Path, uri: str, stores: Stores) -> list[str]:
    """Send files, several at a time, below a gs:// address, named as below `root`; their addresses.

    Raises RemoteError.
    """
    bucket, prefix = split_uri(uri)
    store = stores(bucket)

    def send(path: Path) -> str:
        name = f"{prefix}/{path.relative_to(root).as_posix()}"
        store.upload(name, path)
        return store.uri(name)

    return _in_parallel(send, files)


def size_of(path: Path) -> int:
    """Bytes of a file, or of a folder's files."""
    return sum(file.stat().st_size for file in (files_below(path) if path.is_dir() else [path]))


def created(code: Path, bundle: frozenset[str], data: tuple[str, ...]) -> list[Path]:
    """Files that training left below the code folder: neither the bundle's, nor data, nor Python's caches."""
    roots = [code / path for path in data]
    return [
        path
        for path in files_below(code)
        if str(path.relative_to(code)) not in bundle
        and not any(path == root or path.is_relative_to(root) for root in roots)
    ]


def model_in(folder: Path) -> Path | None:
    """The final model in its folder: one file, or the folder itself where there are several."""
    files = list(files_below(folder))
    return None if not files else files[0] if len(files) == 1 else folder


def files_below(folder: Path) -> Iterator[Path]:
    """Regular files, in order; links are not followed, caches and half-written files left out."""
    if not folder.is_dir():
        return
    for path in sorted(folder.iterdir()):
        if path.is_symlink() or path.name in LEFT_OUT or path.name.endswith(".part"):
            continue
        if path.is_dir():
            yield from files_below(path)
        elif path.is_file():
            yield path


def _in_parallel(call: Callable[[T], R], items: Sequence[T]) -> list[R]:
    if len(items) < 2:
        return [call(item) for item in items]
    with ThreadPoolExecutor(JOBS, thread_name_prefix="upload") as pool:
        return list(pool.map(call, items))


def _seen(path: Path) -> _Seen:
    stat = path.stat()
    return stat.st_size, stat.st_mtime_ns
