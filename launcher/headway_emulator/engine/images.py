"""Which container images exist: asked of the Docker engine, or kept as notes where there is none."""

from __future__ import annotations

import hashlib
from typing import Protocol

from headway_emulator.engine.store import Store

KIND = "image"


class Images(Protocol):
    """Images by their full name, REGION-docker.pkg.dev/PROJECT/REPOSITORY/PACKAGE:TAG."""

    def digest(self, name: str) -> str:
        """sha256:... of the image, or an empty string where there is none."""


class NotedImages:
    """Without an engine: names that stand for this Python environment."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def digest(self, name: str) -> str:
        note = self._store.get(KIND, name)
        return "" if note is None else str(note["digest"])

    def note(self, name: str) -> None:
        """From now on the name exists."""
        digest = f"sha256:{hashlib.sha256(name.encode()).hexdigest()}"
        self._store.put(KIND, name, {"name": name, "digest": digest})
