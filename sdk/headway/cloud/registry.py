"""Artifact Registry: does an image exist?"""

from __future__ import annotations

from dataclasses import dataclass

from headway.cloud.session import Session
from headway.errors import InputError, NotFound


@dataclass(frozen=True)
class ImageName:
    """`REGION-docker.pkg.dev/PROJECT/REPOSITORY/PACKAGE:TAG`, taken apart; `@sha256:...` is its `digest`."""

    region: str
    project: str
    repository: str
    package: str
    tag: str
    digest: str | None = None

    @classmethod
    def parse(cls, uri: str) -> ImageName:
        """Raises InputError where the name is not of Artifact Registry."""
        host, _, path = uri.partition("/")
        named, _, digest = path.partition("@")
        name, _, tag = named.partition(":")
        pieces = name.split("/", 2)
        if not host.endswith("-docker.pkg.dev") or len(pieces) != 3:
            raise InputError(f"{uri!r} is no image in Artifact Registry")
        # the engine, too, takes `latest` where nothing is said, and the digest where both are
        project, repository, package = pieces
        region = host.removesuffix("-docker.pkg.dev")
        return cls(region, project, repository, package, tag or "latest", digest or None)


def digest_of(session: Session, uri: str) -> str | None:
    """The sha256 of the image of that name, or None where there is no such image."""
    image = ImageName.parse(uri)
    package = image.package.replace("/", "%2F")
    url = (
        f"{session.endpoint('artifactregistry')}/v1/projects/{image.project}/locations/{image.region}"
        f"/repositories/{image.repository}/packages/{package}"
    )
    wanted = f"versions/{image.digest}" if image.digest else f"tags/{image.tag}"
    try:
        found = session.call("GET", f"{url}/{wanted}", f"cannot look up the image {uri}")
    except NotFound:
        return None
    return str(found["name" if image.digest else "version"]).rpartition("/")[2]


def repository_format(session: Session, region: str, repository: str) -> str:
    """The format of a repository of the session's project: DOCKER, PYTHON, ... Raises NotFound."""
    name = f"projects/{session.project}/locations/{region}/repositories/{repository}"
    url = f"{session.endpoint('artifactregistry')}/v1/{name}"
    return str(session.call("GET", url, f"cannot look up the repository {repository} in {region}")["format"])
