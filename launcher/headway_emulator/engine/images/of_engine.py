"""The registry's images on a Docker engine, which is where builds leave them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from docker import DockerClient
from docker.errors import APIError, DockerException, ImageNotFound
from requests import RequestException

from headway_emulator.engine.clock import parse_timestamp, timestamp
from headway_emulator.engine.images.images import HELD, Image, Images, add, held, split
from headway_emulator.errors import ApiError

DEADLINE = 30


class EngineImages:
    """Images over a Docker engine, asked each time: others build and remove on it too."""

    def digest(self, name: str) -> str:
        package, digest = split(name)
        with _engine() as client:
            found = _inspected(client, digest if digest.startswith("sha256:") else name)
            if found is None or (digest.startswith("sha256:") and package not in _packages(found)):
                return ""
            return str(found["Id"])

    def below(self, prefix: str) -> Sequence[Image]:
        found: dict[tuple[str, str], Image] = {}
        with _engine() as client:
            # the engine's own filter takes a pattern whose * does not cross a slash
            for listed in client.api.images():
                names = [name for name in listed.get("RepoTags") or () if name.startswith(prefix)]
                if names and (image := _inspected(client, listed["Id"])) is not None:
                    for name in names:
                        add(found, _image(name, image))
        return [found[key] for key in sorted(found)]

    def tag(self, package: str, digest: str, tag: str) -> None:
        with _engine() as client:
            before = _inspected(client, f"{package}:{tag}")
            if before is not None and before["Id"] != digest:
                _hold(client, package, before)
            client.api.tag(digest, package, tag)

    def untag(self, package: str, tag: str) -> None:
        with _engine() as client:
            if (image := _inspected(client, f"{package}:{tag}")) is not None:
                _hold(client, package, image)
                client.api.remove_image(f"{package}:{tag}", noprune=True)

    def remove(self, package: str, digest: str) -> None:
        with _engine() as client:
            image = _inspected(client, digest)
            names = [] if image is None else image["RepoTags"] or []
            for name in names:
                if split(name)[0] == package:
                    client.api.remove_image(name)


def _hold(client: DockerClient, package: str, image: dict[str, Any]) -> None:
    """Before it loses a tag: the engine forgets an image without any name."""
    left = [name for name in image["RepoTags"] if split(name)[0] == package]
    if len(left) == 1 and not split(left[0])[1].startswith(HELD):
        client.api.tag(image["Id"], package, split(held(package, image["Id"]))[1])


def _inspected(client: DockerClient, name: str) -> dict[str, Any] | None:
    try:
        found: dict[str, Any] = client.api.inspect_image(name)  # type: ignore[no-untyped-call]
    except ImageNotFound:
        return None
    except APIError as error:
        if error.is_client_error():
            return None  # no name at all, such as one with capital letters
        raise
    return found


def _packages(image: dict[str, Any]) -> set[str]:
    return {split(name)[0] for name in image["RepoTags"] or ()}


def _image(name: str, image: dict[str, Any]) -> Image:
    package, tag = split(name)
    built = _time(image["Created"])
    tagged = _time(image.get("Metadata", {}).get("LastTagTime", ""))
    return Image(package, image["Id"], (tag,), int(image["Size"]), built, max(built, tagged))


def _time(text: str) -> str:
    """As Google writes it; the engine has the year 1 for never."""
    try:
        return timestamp(max(0, parse_timestamp(text)))
    except (ValueError, OverflowError):
        return timestamp(0)


@contextmanager
def _engine() -> Iterator[DockerClient]:
    """ApiError UNAVAILABLE where the engine does not answer or refuses."""
    try:
        client = DockerClient.from_env(timeout=DEADLINE)
        try:
            yield client
        finally:
            client.close()
    except (DockerException, RequestException) as error:
        text = f"The Docker engine, which holds this registry's images, answered: {error}"
        raise ApiError("UNAVAILABLE", text) from error


def _satisfies(images: EngineImages) -> Images:
    """Checked by mypy alone: the class keeps to the protocol."""
    return images
