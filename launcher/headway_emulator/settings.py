"""What the command line says, as one frozen value: nothing deeper reads flags or the environment."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal


@dataclass(frozen=True)
class Settings:
    """One emulated project. `public_url` is the address that both clients and job containers use."""

    project: str
    project_number: str
    state: Path
    executor: Literal["docker", "process"]
    storage_url: str
    public_url: str
    network: str
    nonce: str
    grace_seconds: float
    """Between SIGTERM and SIGKILL when a job is cancelled."""
    clock: Literal["real", "virtual"] = "real"
    """A virtual clock goes on from where it stood in this state, and stands still until it is stepped."""
    faults: tuple[Mapping[str, Any], ...] = ()
    """Armed at the start, besides those that the state still holds."""
    quotas: tuple[Mapping[str, Any], ...] = ()
    """Limits by region and metric; what no limit names is unlimited."""
    check_replies: bool = False
    """Whether each reply is compared with Google's schema; what differs is answered as 500."""

    @property
    def authority(self) -> str:
        """HOST:PORT of the public address, the form that GCE_METADATA_HOST wants."""
        return self.public_url.split("://", 1)[1].rstrip("/")

    def names_project(self, project: str) -> bool:
        """True where `project` is this project's id or its number."""
        return project in (self.project, self.project_number)
