"""Tar members that depend on nothing but their content: same names, same bytes, same archive, anywhere."""

from __future__ import annotations

import tarfile
from collections.abc import Iterator

END = b"\0" * (2 * tarfile.BLOCKSIZE)
"""What a tar ends with."""


def header(name: str, size: int = 0, *, executable: bool = False, link_to: str | None = None) -> bytes:
    """The header of a file of `size` bytes, or of a symbolic link: owner 0, time 0, mode 644 or 755.

    PAX records are written only where ustar cannot hold the name.
    """
    member = tarfile.TarInfo(name)
    member.mode = 0o755 if executable else 0o644
    member.size = size
    if link_to is not None:
        member.type, member.linkname, member.mode = tarfile.SYMTYPE, link_to, 0o777
    return member.tobuf(tarfile.PAX_FORMAT, "utf-8", "surrogateescape")


def member(name: str, data: bytes, *, executable: bool = False) -> Iterator[bytes]:
    """A whole file as it lies in the archive."""
    yield header(name, len(data), executable=executable)
    yield data
    yield padding(len(data))


def padding(size: int) -> bytes:
    """What fills up a member of that size to whole blocks."""
    return b"\0" * (-size % tarfile.BLOCKSIZE)
