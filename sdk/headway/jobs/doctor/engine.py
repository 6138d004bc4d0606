"""The Docker engine as the doctor sees it: whether it answers, and what images it holds."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Protocol

_SECONDS = 3


class Engine(Protocol):
    """An engine that answered; `architecture` is that of its containers, in Go's words: amd64, arm64."""

    @property
    def version(self) -> str: ...

    @property
    def architecture(self) -> str: ...

    def architecture_of(self, image: str) -> str | None:
        """That of an image it holds, None where it holds none of that name."""


@dataclass(frozen=True)
class DockerEngine:
    """The one that the environment names (DOCKER_HOST, else the usual socket)."""

    version: str
    architecture: str
    _client: Any

    def architecture_of(self, image: str) -> str | None:
        from docker.errors import ImageNotFound

        try:
            return str(self._client.images.get(image).attrs["Architecture"])
        except ImageNotFound:
            return None


def find() -> Engine | str:
    """The engine, or in words why there is none."""
    import docker
    from docker.errors import DockerException

    try:
        client = docker.from_env(version="1.41", timeout=_SECONDS)
        told = client.version()
    except (DockerException, OSError) as error:  # requests' errors are OSErrors
        if "Permission denied" in str(error):
            return "this user may not use the Docker engine (permission denied on its socket)"
        return "no Docker engine answers"
    return DockerEngine(told["Version"], told["Arch"], client)
