"""What the runtime asks of a bucket; `headway.cloud.storage.ObjectStore` is one."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Protocol

from headway.cloud.storage import StoredObject


class Store(Protocol):
    """Objects of one bucket, by name."""

    def uri(self, name: str) -> str: ...

    def exists(self, name: str) -> bool: ...

    def read(self, name: str) -> bytes: ...

    def stream(self, name: str) -> Iterator[bytes]: ...

    def write(
        self, name: str, data: bytes, *, only_if_absent: bool = False, content_type: str = ...
    ) -> bool: ...

    def upload(self, name: str, path: Path, *, only_if_absent: bool = False) -> bool: ...

    def download(self, name: str, path: Path) -> None: ...

    def delete(self, name: str) -> None: ...

    def list(self, prefix: str) -> Iterator[StoredObject]: ...


Stores = Callable[[str], Store]
"""A bucket's name → its store."""
