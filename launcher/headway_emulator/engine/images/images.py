"""The container images of this emulator's registry: on the Docker engine, or as notes where there is none.

A name is REGION-docker.pkg.dev/PROJECT/REPOSITORY/PACKAGE, with :TAG or @sha256:... behind it.
"""

from __future__ import annotations

import hashlib
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from headway_emulator.engine.store import Store

KIND = "image"
HELD = "headway-held."
"""With the digest behind it, the tag by which an image stays that has lost its last one; never shown."""


@dataclass(frozen=True)
class Image:
    """One image under one package; times are RFC 3339, `size` is in bytes."""

    package: str
    """The name without tag or digest."""
    digest: str
    """sha256:... by which the engine knows it."""
    tags: tuple[str, ...]
    size: int
    built: str
    tagged: str


class Images(Protocol):
    """What a registry knows, and what it changes."""

    def digest(self, name: str) -> str:
        """sha256:... of the image, or an empty string where there is none."""

    def below(self, prefix: str) -> Sequence[Image]:
        """Every image whose package begins with `prefix`, by package and digest."""

    def tag(self, package: str, digest: str, tag: str) -> None:
        """Give an image that the package has one more tag, which is taken from any other."""

    def untag(self, package: str, tag: str) -> None:
        """Take the tag away; the image stays in the package, also without any."""

    def remove(self, package: str, digest: str) -> None:
        """Take the image with all its tags out of the package."""


class NotedImages:
    """Without an engine: names that stand for this Python environment."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def digest(self, name: str) -> str:
        package, digest = split(name)
        if digest.startswith("sha256:"):
            return (
                digest if any(digest == i.digest for i in self.below(package) if i.package == package) else ""
            )
        note = self._store.get(KIND, name)
        return "" if note is None else str(note["digest"])

    def note(self, names: Sequence[str]) -> None:
        """From now on the names exist, as those of one image."""
        for name in names:
            self._note(name, f"sha256:{hashlib.sha256(names[0].encode()).hexdigest()}")

    def below(self, prefix: str) -> Sequence[Image]:
        found: dict[tuple[str, str], Image] = {}
        for note in self._store.list(KIND, prefix):
            package, tag = split(note["name"])
            made = str(note.get("made", "1970-01-01T00:00:00.000000Z"))
            add(found, Image(package, note["digest"], (tag,), 0, made, made))
        return [found[key] for key in sorted(found)]

    def tag(self, package: str, digest: str, tag: str) -> None:
        self._note(f"{package}:{tag}", digest)

    def untag(self, package: str, tag: str) -> None:
        digest = self.digest(f"{package}:{tag}")
        with self._store.transaction():
            self._store.delete(KIND, f"{package}:{tag}")
            if digest and not self.digest(f"{package}@{digest}"):
                self._note(held(package, digest), digest)

    def remove(self, package: str, digest: str) -> None:
        for note in self._store.list(KIND, f"{package}:"):
            if note["digest"] == digest:
                self._store.delete(KIND, note["name"])

    def _note(self, name: str, digest: str) -> None:
        made = time.strftime("%Y-%m-%dT%H:%M:%S.000000Z", time.gmtime())
        self._store.put(KIND, name, {"name": name, "digest": digest, "made": made})


def split(name: str) -> tuple[str, str]:
    """The package, and the tag or the digest; the tag is latest where there is neither."""
    package, at, digest = name.partition("@")
    if at:
        return package, digest
    head, colon, tag = name.rpartition(":")
    return (head, tag) if colon and "/" not in tag else (name, "latest")


def local(name: str) -> str:
    """What the engine calls an image: its id where an image of the registry is named by digest."""
    package, digest = split(name)
    return digest if digest.startswith("sha256:") and "-docker.pkg.dev/" in package else name


def held(package: str, digest: str) -> str:
    return f"{package}:{HELD}{digest.removeprefix('sha256:')}"


def add(found: dict[tuple[str, str], Image], image: Image) -> None:
    """Join what is one image in one package; tags that only hold it are not shown."""
    key = (image.package, image.digest)
    known = found.get(key, image)
    tags = {tag for tag in (*known.tags, *image.tags) if not tag.startswith(HELD)}
    tagged = max(known.tagged, image.tagged)
    found[key] = Image(image.package, image.digest, tuple(sorted(tags)), image.size, image.built, tagged)
