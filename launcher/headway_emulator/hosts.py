"""Which service answers for a host of Google's: by its name, with or without a region before or after it."""

from __future__ import annotations

import re
from collections.abc import Mapping

DOMAIN = "googleapis.com"
SERVICES: Mapping[str, str] = {
    "aiplatform": "aiplatform",
    "artifactregistry": "artifactregistry",
    "cloudbuild": "cloudbuild",
    "cloudfunctions": "cloudfunctions",
    "cloudresourcemanager": "cloudresourcemanager",
    "cloudscheduler": "cloudscheduler",
    "iam": "iam",
    "iamcredentials": "iamcredentials",
    "logging": "logging",
    "monitoring": "monitoring",
    "run": "run",
    "secretmanager": "secretmanager",
    "serviceusage": "serviceusage",
}
"""Host label to the path prefix below which this emulator has the service."""
ROOT = ("storage", "www", "oauth2")
"""Hosts whose paths are served at the root."""
OF_WWW = ("/storage/", "/upload/storage/", "/download/storage/", "/batch/storage/")
"""What of www.googleapis.com, an older host of many services, is storage's."""
REGION = r"[a-z]+(?:-[a-z]+)*-?[a-z]+\d+|us|eu|europe|asia|global"
OF_GOOGLE = re.compile(rf"(?:[a-z0-9_-]+\.)*{re.escape(DOMAIN)}")
"""Nothing but letters, digits, _ and - between dots: names become file names too."""
HOST = re.compile(
    rf"(?:(?:{REGION})-)?(?P<name>[a-z0-9]+)(?:\.mtls)?(?:\.(?:{REGION})\.rep)?\.googleapis\.com"
)


def is_google(host: str) -> bool:
    """Whether the host (a port after it is allowed) belongs to Google's APIs."""
    return OF_GOOGLE.fullmatch(host.rsplit(":", 1)[0].lower()) is not None


def has(host: str, path: str) -> bool:
    """Whether any service here answers for the path of the host."""
    if host.startswith("www.") and not path.startswith(OF_WWW):
        return False
    return prefix(host) is not None


def prefix(host: str) -> str | None:
    """Such as "/aiplatform" for us-central1-aiplatform.googleapis.com, "" for storage, None for none here."""
    found = HOST.fullmatch(host.rsplit(":", 1)[0].lower())
    if found is None:
        return None
    if found["name"] in ROOT:
        return ""
    service = SERVICES.get(found["name"])
    return None if service is None else f"/{service}"
