"""Place: where a job runs. All that differs between the local stack and Google Cloud is in these values."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

LOCAL = "local"
"""The local stack's name among the profiles; none of headway.toml may have it."""


class Place(BaseModel):
    """A project, its bucket and servers, as a profile of headway.toml or the local stack's record gives them.

    `endpoints` maps a service (`aiplatform`, `cloudbuild`, `logging`, `artifactregistry`, `secretmanager`,
    `storage`, `cloudscheduler`, `cloudfunctions`) to the URL it is reached at; where absent, Google's own.
    `credentials` is `default` (application default credentials) or `anonymous`. `answer_s` is how long, in
    seconds, a request to create a job may take to connect, and again to be answered.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    profile: str
    project: str
    region: str
    bucket: str
    dvc_remote: str
    tracking_uri: str
    repository: str = "headway"
    service_account: str | None = None
    build_service_account: str | None = None
    scheduler_service_account: str | None = None
    endpoints: dict[str, str] = {}
    credentials: Literal["default", "anonymous"] = "default"
    answer_s: float = Field(default=60.0, gt=0, le=600)

    @property
    def claim_lapses_s(self) -> float:
        """A claim that is older, and whose job has not come, was left by a submit that died.

        Two answers are the longest that a creation takes; the rest is for its request to be worked off.
        """
        return 2.5 * self.answer_s

    @property
    def words(self) -> str:
        """What names this place in a command to be typed next: ` --local` or ` --profile NAME`."""
        return " --local" if self.profile == LOCAL else f" --profile {self.profile}"


UNSTARTED = Place(
    profile=LOCAL,
    project="headway-local",
    region="us-central1",
    bucket="headway-local",
    dvc_remote="gs://headway-local/dvc",
    tracking_uri="http://127.0.0.1",
    credentials="anonymous",
)
"""The local stack before it is up: enough to plan with, nothing to reach."""
