"""Artifact Registry: does an image exist?"""

from __future__ import annotations

from dataclasses import dataclass

from headway.cloud.session import Session
from headway.errors import InputError, NotFound


@dataclass(frozen=True)
class ImageName:
    """`REGION-docker.pkg.dev/PROJECT/REPOSITORY/PACKAGE:TAG`, taken apart."""

    region: str
    project: str
    repository: str
    package: str
    tag: str

    @classmethod
    def parse(cls, uri: str) -> ImageName:
        """Raises InputError where the name is not of Artifact Registry."""
        host, _, path = uri.partition("/")
        parts, _, tag = path.rpartition(":")
        pieces = parts.split("/", 2)
        if not host.endswith("-docker.pkg.dev") or len(pieces) != 3:
            raise InputError(f"{uri!r} is no image in Artifact Registry")
        return cls(host.removesuffix("-docker.pkg.dev"), pieces[0], pieces[1], pieces[2], tag)


def digest_of(session: Session, uri: str) -> str | None:
    """The sha256 of the image of that name, or None where there is no such image."""
    image = ImageName.parse(uri)
    package = image.package.replace("/", "%2F")
    url = (
        f"{session.endpoint('artifactregistry')}/v1/projects/{image.project}/locations/{image.region}"
        f"/repositories/{image.repository}/packages/{package}/tags/{image.tag}"
    )
    try:
        tag = session.call("GET", url, f"cannot look up the image {uri}")
    except NotFound:
        return None
    return str(tag["version"]).rpartition("/")[2]


def repository_format(session: Session, region: str, repository: str) -> str:
    """The format of a repository of the session's project: DOCKER, PYTHON, ... Raises NotFound."""
    name = f"projects/{session.project}/locations/{region}/repositories/{repository}"
    url = f"{session.endpoint('artifactregistry')}/v1/{name}"
    return str(session.call("GET", url, f"cannot look up the repository {repository} in {region}")["format"])
