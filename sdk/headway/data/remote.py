"""A DVC remote on Cloud Storage: how DVC names what it keeps there, and what a remote lacks.

A remote at `gs://bucket/dvc` holds the file with md5 `abcdef…` as `dvc/files/md5/ab/cdef…`. A folder is one
more object, `….dir`: the JSON list of its files, `[{"md5": …, "relpath": …}]`. DVC 2 kept them without
`files/md5/`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Protocol

from headway.cloud.asking import ask_each
from headway.cloud.storage import split_uri
from headway.spec.plan import DataPin


class Objects(Protocol):
    """What is asked of a bucket; `headway.cloud.storage.ObjectStore` is one."""

    def exists(self, name: str) -> bool: ...

    def stream(self, name: str) -> Iterator[bytes]: ...


def object_name(prefix: str, md5: str, legacy: bool) -> str:
    """The object below a remote's prefix that holds what has this md5; `legacy` as DVC 2 named it."""
    parts = [prefix.strip("/"), "" if legacy else "files/md5", md5[:2], md5[2:]]
    return "/".join(part for part in parts if part)


def missing(pins: Sequence[DataPin], remote: str, stores: Callable[[str], Objects]) -> list[DataPin]:
    """The pins whose object (of a folder: its manifest, which DVC pushes last) is not in the remote."""
    bucket, prefix = split_uri(remote)
    store = stores(bucket)
    found = ask_each(lambda pin: store.exists(object_name(prefix, pin.md5, pin.legacy)), pins)
    return [pin for pin, there in zip(pins, found, strict=True) if not there]
