"""The variables of both ways in, for shells and for job containers; `GET /emulator/env` gives them.

Transparent: https_proxy leads to the emulator, and this stack's authority is trusted besides the usual roots.
Explicit: an address for each service, which only some clients take from variables (see `variables`).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urlsplit

from headway_emulator.hosts import SERVICES
from headway_emulator.settings import Settings
from headway_emulator.variables import HIDDEN, URL, variables

TRANSPARENT = "transparent"
EXPLICIT = "explicit"
CONTAINER = "container"
CONTAINER_BUNDLE = "/etc/headway/ca-bundle.pem"
"""Where a container finds the roots to trust: the state folder's ca/bundle.pem, mounted read-only."""
GCLOUD = "gcloud"
"""Folder in the state that is gcloud's and google-auth's configuration: no real account is found in it."""
CREDENTIALS = "access-token"
WORTHLESS = "emulated"
"""What the metadata server gives as well; worth nothing anywhere else."""


@dataclass(frozen=True)
class Environment:
    """Variables to set, and variables to take away because they would lead past the emulator.

    `mounts` are files of this machine and where a container finds them, to be mounted read-only.
    """

    set: Mapping[str, str]
    unset: tuple[str, ...] = ()
    mounts: Mapping[str, str] = field(default_factory=dict)


def of(settings: Settings, bundle: Path, way: str = TRANSPARENT) -> Environment:
    """For a shell on this machine, or for a container. What only the other way sets is taken away."""
    if way == CONTAINER:
        return in_container(settings, bundle)
    ways = {
        TRANSPARENT: transparent(settings, bundle),
        EXPLICIT: variables(settings.public_url, settings.project, settings.state, tuple(SERVICES.values())),
    }
    chosen = ways[way]
    others = {name for one in ways.values() for name in one} - chosen.keys()
    return Environment(chosen, (*HIDDEN, *sorted(others)))


def transparent(settings: Settings, bundle: Path) -> Mapping[str, str]:
    """Google's clients with default endpoints, gcloud too; other hosts are tunnelled or refused as told."""
    folder = settings.state / GCLOUD
    return {
        URL: settings.public_url,
        **_proxied(settings, str(bundle)),
        "CLOUDSDK_CONFIG": str(folder),
        "CLOUDSDK_CORE_PROJECT": settings.project,
        "CLOUDSDK_CORE_CUSTOM_CA_CERTS_FILE": str(bundle),
        # some commands refuse to run without credentials, which a file with a token is
        "CLOUDSDK_AUTH_ACCESS_TOKEN_FILE": str(folder / CREDENTIALS),
    }


def of_job(settings: Settings, bundle: Path) -> Environment:
    """For a job's replica or a build's step: a container, or with the process executor a process."""
    if settings.executor == "docker":
        return in_container(settings, bundle)
    return Environment(_proxied(settings, str(bundle)))


def of_function(settings: Settings, bundle: Path) -> Environment:
    """For a function, which is a process of this machine with every executor."""
    return Environment(_proxied(settings, str(bundle)))


def in_container(settings: Settings, bundle: Path) -> Environment:
    """Credentials there come from the metadata server, as on Google's machines."""
    return Environment(_proxied(settings, CONTAINER_BUNDLE), mounts={str(bundle): CONTAINER_BUNDLE})


def prepare(settings: Settings) -> None:
    """The configuration folder, with the file that a shell's variables name; for its owner alone."""
    folder = settings.state / GCLOUD
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    token = folder / CREDENTIALS
    if not token.exists():
        token.write_text(WORTHLESS)


def _proxied(settings: Settings, bundle: str) -> dict[str, str]:
    address = urlsplit(settings.public_url)
    past = ",".join(dict.fromkeys(["127.0.0.1", "localhost", "::1", address.hostname or "localhost"]))
    return {
        # some programs read the one spelling, some the other
        "https_proxy": settings.public_url,
        "HTTPS_PROXY": settings.public_url,
        "no_proxy": past,
        "NO_PROXY": past,
        "REQUESTS_CA_BUNDLE": bundle,
        "SSL_CERT_FILE": bundle,
        "CURL_CA_BUNDLE": bundle,
        "HTTPLIB2_CA_CERTS": bundle,
        "NODE_EXTRA_CA_CERTS": bundle,
        "GRPC_DEFAULT_SSL_ROOTS_FILE_PATH": bundle,
        "GOOGLE_CLOUD_PROJECT": settings.project,
        "GCE_METADATA_HOST": settings.authority,
        "GCE_METADATA_IP": settings.authority,
        # gcsfs, and with it DVC and MLflow, takes no proxy from variables
        "STORAGE_EMULATOR_HOST": settings.public_url,
        "GCSFS_EXPERIMENTAL_ZB_HNS_SUPPORT": "false",
    }
