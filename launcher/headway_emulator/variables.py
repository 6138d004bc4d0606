"""The environment variables that point Google's unmodified clients at an emulator."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from urllib.parse import urlsplit

from headway_emulator.hosts import SERVICES

URL = "HEADWAY_EMULATOR_URL"
HIDDEN = ("GOOGLE_APPLICATION_CREDENTIALS",)
"""Taken away: a real key would be found before the emulator's credentials."""


def variables(url: str, project: str, state: Path, services: Sequence[str]) -> Mapping[str, str]:
    """For gcloud and for Python. Clients that take their address in code alone need `endpoint` as well.

    gcloud and google-auth get a configuration folder of their own below `state`, so that no real account of
    the user's is found: default credentials then come from the emulator's metadata server.
    """
    served = [name for name in SERVICES.values() if name in services]
    return {
        URL: url,
        "GOOGLE_CLOUD_PROJECT": project,
        "STORAGE_EMULATOR_HOST": url,
        # without it gcsfs asks over gRPC for what a bucket is, and waits for minutes
        "GCSFS_EXPERIMENTAL_ZB_HNS_SUPPORT": "false",
        # the logging client speaks gRPC to Google's own host unless told not to
        "GOOGLE_CLOUD_DISABLE_GRPC": "true",
        "GCE_METADATA_HOST": urlsplit(url).netloc,
        "GCE_METADATA_IP": urlsplit(url).netloc,
        "CLOUDSDK_CONFIG": str(state / "gcloud"),
        "CLOUDSDK_CORE_PROJECT": project,
        "CLOUDSDK_AUTH_DISABLE_CREDENTIALS": "true",
        "CLOUDSDK_API_ENDPOINT_OVERRIDES_STORAGE": f"{url}/storage/v1/",
        **{f"CLOUDSDK_API_ENDPOINT_OVERRIDES_{name.upper()}": f"{url}/{name}/" for name in served},
    }
