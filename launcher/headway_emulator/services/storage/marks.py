"""Generations that stay when metadata changes, and metagenerations that count those changes.

fake-gcs-server 1.54 gives a patched object a new generation and leaves its metageneration at 1. The front
remembers what a patch must not change: for each object that was patched, the server's generation and what is
shown for it.
"""

from __future__ import annotations

import threading
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from starlette.datastructures import MutableHeaders

from headway_emulator.engine.store import Store

KIND = "objectMark"


@dataclass(frozen=True)
class Mark:
    """`real` is the server's generation; the rest is shown instead of what the server says."""

    real: str
    generation: str
    metageneration: str
    updated: str


class Marks:
    """One mark for each object whose metadata was changed since its bytes were; safe for many threads."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._lock = threading.Lock()
        self._marks: dict[str, Mark] = {found["name"]: Mark(**found["mark"]) for found in store.list(KIND)}

    def __bool__(self) -> bool:
        return bool(self._marks)

    def shown(self, document: Mapping[str, Any]) -> Mapping[str, Any]:
        """An object's metadata as Google would show it; what is no object's stays as it is."""
        mark = self._marks.get(f"{document.get('bucket')}/{document.get('name')}")
        if mark is None or mark.real != document.get("generation"):
            return document
        kept = {name: value for name, value in asdict(mark).items() if name != "real"}
        return {**document, **kept}

    def show_headers(self, bucket: str, name: str, headers: MutableHeaders) -> None:
        """The same in the headers that go with an object's bytes."""
        mark = self._marks.get(f"{bucket}/{name}")
        generation = headers.get("x-goog-generation")
        if generation is None:
            return
        headers["x-goog-metageneration"] = "1"
        if mark is not None and mark.real == generation:
            headers["x-goog-generation"] = mark.generation
            headers["x-goog-metageneration"] = mark.metageneration

    def real(self, bucket: str, name: str, generation: str) -> str:
        """The server's generation for one that a client knows."""
        mark = self._marks.get(f"{bucket}/{name}")
        return mark.real if mark is not None and mark.generation == generation else generation

    def patched(self, before: Mapping[str, Any], after: Mapping[str, Any], now: str) -> None:
        """Note a change of metadata; `before` is as it was shown, `after` as the server gives it."""
        count = str(int(before["metageneration"]) + 1)
        mark = Mark(str(after["generation"]), str(before["generation"]), count, now)
        name = f"{after['bucket']}/{after['name']}"
        with self._lock:
            self._store.put(KIND, name, {"name": name, "mark": asdict(mark)})
            self._marks[name] = mark

    def forget(self, bucket: str, name: str) -> None:
        """The object is new or gone."""
        with self._lock:
            if self._marks.pop(f"{bucket}/{name}", None) is not None:
                self._store.delete(KIND, f"{bucket}/{name}")
