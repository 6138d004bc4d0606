"""Google's command line, pointed at an emulator by an address for each API and nothing else."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest

from tests.contract.servers import LOCATION, PROJECT, Emulator

NEEDS_GCLOUD = [
    pytest.mark.slow,
    pytest.mark.skipif(shutil.which("gcloud") is None, reason="gcloud is not installed"),
]
REGION = f"--region={LOCATION}"
SECONDS = 120
APIS = (
    "aiplatform",
    "artifactregistry",
    "cloudbuild",
    "cloudfunctions",
    "cloudresourcemanager",
    "cloudscheduler",
    "iam",
    "logging",
    "secretmanager",
    "serviceusage",
)
QUIET = {
    "CLOUDSDK_CORE_DISABLE_PROMPTS": "1",
    "CLOUDSDK_CORE_DISABLE_USAGE_REPORTING": "true",
    "CLOUDSDK_COMPONENT_MANAGER_DISABLE_UPDATE_CHECK": "true",
}


class Gcloud:
    """Runs `gcloud` with no account, and its configuration in `folder`."""

    def __init__(self, emulator: Emulator, folder: Path) -> None:
        addresses = {api.upper(): f"{emulator.url}/{api}/" for api in APIS}
        addresses["STORAGE"] = f"{emulator.url}/storage/v1/"
        self._env = {
            "PATH": os.environ["PATH"],
            "HOME": str(folder),
            "CLOUDSDK_CONFIG": str(folder / "gcloud"),
            "CLOUDSDK_AUTH_DISABLE_CREDENTIALS": "true",
            "CLOUDSDK_CORE_PROJECT": PROJECT,
            **QUIET,
            **{f"CLOUDSDK_API_ENDPOINT_OVERRIDES_{api}": url for api, url in addresses.items()},
        }

    def run(self, *words: str, given: str = "") -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            ["gcloud", *words],
            env=self._env,
            input=given,
            capture_output=True,
            text=True,
            timeout=SECONDS,
            check=False,
        )

    def __call__(self, *words: str, given: str = "") -> str:
        """What the command prints; AssertionError with its stderr where it fails."""
        done = self.run(*words, given=given)
        assert done.returncode == 0, done.stderr
        return done.stdout

    def json(self, *words: str) -> Any:
        return json.loads(self(*words, "--format=json"))
