"""Cloud Build: the spec, rendered by a pure function, and the calls of Google's own client."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from headway.cloud.session import TIMEOUT_S, Session, translated

RUNNING = frozenset({"PENDING", "QUEUED", "WORKING"})


@dataclass(frozen=True)
class Build:
    """A build as Cloud Build tells it; `status` is its enum's name (SUCCESS, FAILURE, TIMEOUT, ...)."""

    build_id: str
    status: str
    detail: str
    log_url: str


def render(
    spec: dict[str, Any],
    *,
    substitutions: dict[str, str],
    bucket: str,
    context: str,
    logs: str,
    tags: list[str],
    project: str,
    service_account: str | None,
) -> dict[str, Any]:
    """The Build of a spec (cloudbuild/trainer.yaml, read) with its source and log folder, as Google's JSON.

    `context` and `logs` are an object and a prefix in `bucket`. Pure: golden files test it.
    """
    build = {
        **spec,
        "substitutions": {**spec.get("substitutions", {}), **substitutions},
        "source": {"storageSource": {"bucket": bucket, "object": context}},
        "logsBucket": f"gs://{bucket}/{logs}",
        "tags": tags,
    }
    if service_account:
        build["serviceAccount"] = f"projects/{project}/serviceAccounts/{service_account}"
    return build


class Builds:
    """Builds of a project in one region, through google-cloud-build's client over REST.

    Requests carry the region's own name and no `project_id`: with it the client asks for a global build.
    """

    def __init__(self, session: Session, region: str) -> None:
        from google.cloud.devtools.cloudbuild_v1 import CloudBuildClient

        self._parent = f"projects/{session.project}/locations/{region}"
        endpoint = session.override("cloudbuild")
        self._client: Any = CloudBuildClient(
            transport="rest",
            credentials=session.credentials,
            client_options={"api_endpoint": endpoint} if endpoint else None,
        )

    def create(self, body: dict[str, Any]) -> Build:
        """Start a build; returns at once."""
        from google.cloud.devtools.cloudbuild_v1.types import Build as Message
        from google.cloud.devtools.cloudbuild_v1.types import CreateBuildRequest
        from google.protobuf import json_format

        message = Message()
        json_format.ParseDict(body, Message.pb(message))
        request = CreateBuildRequest(parent=self._parent, build=message)
        with translated("cannot start the image build"):
            operation = self._client.create_build(request=request, timeout=TIMEOUT_S)
        return _build(operation.metadata.build)

    def get(self, build_id: str) -> Build:
        """Raises NotFound."""
        with translated(f"cannot read the build {build_id}"):
            return _build(self._client.get_build(request=self._named(build_id), timeout=TIMEOUT_S))

    def tagged(self, tag: str) -> Build | None:
        """A build with that tag which still runs, or None."""
        request = {"parent": self._parent, "filter": f'tags="{tag}"'}
        with translated("cannot list the image builds"):
            builds = [
                _build(message) for message in self._client.list_builds(request=request, timeout=TIMEOUT_S)
            ]
        return next((build for build in builds if build.status in RUNNING), None)

    def cancel(self, build_id: str) -> None:
        """Ask for the end of a build."""
        with translated(f"cannot cancel the build {build_id}"):
            self._client.cancel_build(request=self._named(build_id), timeout=TIMEOUT_S)

    def _named(self, build_id: str) -> dict[str, str]:
        return {"name": f"{self._parent}/builds/{build_id}"}


def _build(message: Any) -> Build:
    return Build(
        build_id=message.id,
        status=message.status.name.removeprefix("STATUS_"),
        detail=message.status_detail,
        log_url=message.log_url,
    )
