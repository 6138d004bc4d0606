"""Tar members that depend on nothing but their content: same names, same bytes, same archive, anywhere."""

from __future__ import annotations

import tarfile
from functools import cache

END = b"\0" * (2 * tarfile.BLOCKSIZE)
"""What a tar ends with."""
_USTAR_BYTES = 8**11
"""A size from here on does not fit into ustar's field."""


def header(name: str, size: int = 0, *, executable: bool = False, link_to: str | None = None) -> bytes:
    """The header of a file of `size` bytes, or of a symbolic link: owner 0, time 0, mode 644 or 755.

    PAX records are written only where ustar cannot hold the name.
    """
    if link_to is None and size < _USTAR_BYTES and len(name) <= tarfile.LENGTH_NAME and name.isascii():
        return _plain(name.encode(), size, executable)
    member = tarfile.TarInfo(name)
    member.mode = 0o755 if executable else 0o644
    member.size = size
    if link_to is not None:
        member.type, member.linkname, member.mode = tarfile.SYMTYPE, link_to, 0o777
    return member.tobuf(tarfile.PAX_FORMAT, "utf-8", "surrogateescape")


def _plain(name: bytes, size: int, executable: bool) -> bytes:
    """What tarfile writes for a common file, from a template: a bundle has thousands of them."""
    mode_and_owner, time, rest, total = _template(executable)
    length = b"%011o\0" % size
    checksum = b"%06o\0 " % (total + sum(name) + sum(length))
    return name.ljust(tarfile.LENGTH_NAME, b"\0") + mode_and_owner + length + time + checksum + rest


@cache
def _template(executable: bool) -> tuple[bytes, bytes, bytes, int]:
    """What all headers share: the fields around size and checksum, and the sum of their bytes."""
    member = tarfile.TarInfo()
    member.mode = 0o755 if executable else 0o644
    block = member.tobuf(tarfile.USTAR_FORMAT)
    shared = block[100:124], block[136:148], block[156:]
    # the checksum is counted with blanks in its own field
    return *shared, sum(map(sum, shared)) + 8 * ord(" ")


def member(name: str, data: bytes, *, executable: bool = False) -> tuple[bytes, bytes, bytes]:
    """A whole file as it lies in the archive, in pieces."""
    return header(name, len(data), executable=executable), data, padding(len(data))


def padding(size: int) -> bytes:
    """What fills up a member of that size to whole blocks."""
    return b"\0" * (-size % tarfile.BLOCKSIZE)
