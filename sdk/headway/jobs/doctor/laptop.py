"""Checks of this machine: engine, images, credentials, clock."""

from __future__ import annotations

import os
from email.utils import parsedate_to_datetime
from pathlib import Path

from headway.cloud import registry
from headway.cloud.session import translated
from headway.jobs.doctor.engine import Engine
from headway.jobs.doctor.report import Found, failure, ok, unchecked, warning
from headway.jobs.doctor.subject import DEADLINE_S, Subject
from headway.spec.machines import wishes

SKEW_WARNING_S = 30.0
SKEW_FAILURE_S = 300.0
"""Google refuses a login signed by a clock that is off by more than some minutes."""
LOGIN = "gcloud auth application-default login"


def engine(subject: Subject) -> Found:
    """The Docker engine, which only local jobs need."""
    found = subject.engine
    if not isinstance(found, str):
        return ok(f"Docker {found.version}, linux/{found.architecture}")
    start = "start it (sudo systemctl start docker), or see whether your user is in the group docker"
    if not subject.is_local:
        return warning(f"{found}; only local jobs need one", start)
    if subject.executor == "docker":
        return failure(f"{found}, and the local stack runs jobs as containers", start)
    return warning(f"{found}: local jobs run as plain processes, without the image", start)


def base_image(subject: Subject) -> Found:
    """The image that the job's image is built from."""
    base, found = subject.spec.environment.base, subject.engine
    if subject.is_local and subject.executor == "process":
        return ok(f"{base}: not used, for local jobs run as processes")
    if not isinstance(found, str) and found.architecture_of(base):
        return ok(f"{base} is on the engine")
    if "-docker.pkg.dev/" in base:
        if registry.digest_of(subject.online.session, base):
            return ok(f"{base} is in its registry")
        return failure(
            f"{base} is not in its registry",
            f"push it (docker push {base}), or name another in environment.base",
        )
    look = f"docker pull {base}"
    if isinstance(found, str):
        return unchecked(f"{base}: {found}", look)
    if subject.is_local:
        return warning(f"{base} is not on the engine: the first build pulls it, or fails", look)
    return unchecked(f"{base} is not on this engine; Cloud Build pulls it from its registry", look)


def architecture(subject: Subject) -> Found:
    """Whether the base image is for the processors that the job runs on."""
    found = subject.engine
    if subject.is_local and subject.executor == "process":
        return ok("not used, for local jobs run as processes")
    base = subject.spec.environment.base
    if isinstance(found, str):
        return unchecked(f"{base}: {found}", f"docker manifest inspect {base}")
    if subject.is_local:
        return _architecture(found, base, found.architecture)
    return _architecture(
        found, base, subject.loaded.facts.architecture(wishes(subject.spec.resources.gpu)[0])
    )


def _architecture(engine: Engine, base: str, wanted: str) -> Found:
    has = engine.architecture_of(base)
    if has is None:
        return unchecked(f"{base} is not on this engine", f"docker pull --platform linux/{wanted} {base}")
    if has == wanted:
        return ok(f"{base} is for linux/{has}")
    return failure(
        f"{base} is for linux/{has}, the job's machine is linux/{wanted}: it ends with exec format error",
        f"docker pull --platform linux/{wanted} {base};"
        f" one of your own: docker buildx build --platform linux/{wanted}",
    )


def credentials(subject: Subject) -> Found:
    """Google credentials of this machine: whether there are some, and online whether Google takes them."""
    place = subject.known_place
    if place.credentials == "anonymous":
        return ok("none are needed here")
    source = _source()
    if source is None:
        return failure("there are no application default credentials on this machine", LOGIN)
    from headway.cloud.session import Session

    session = subject.services.session if subject.services else Session.of(place)
    held = session.credentials
    if subject.services is None:
        return ok(f"{source} is there; --online asks Google whether it is still valid")
    from google.auth.transport.requests import Request

    with translated("cannot log in"):
        held.refresh(Request())
    return ok(f"{source}, accepted by Google")


def _source() -> str | None:
    """Where application default credentials are, by the order of google.auth.default; None for nowhere."""
    from google.auth import _cloud_sdk
    from google.auth.compute_engine import _metadata

    if named := os.environ.get("GOOGLE_APPLICATION_CREDENTIALS"):
        return named
    kept = Path(_cloud_sdk.get_application_default_credentials_path())
    if kept.is_file():
        return str(kept)
    return "this machine's own account" if _metadata.detect_gce_residency_linux() else None


def clock(subject: Subject) -> Found:
    """This machine's clock against the Date header of the place's storage, asked without a login."""
    import requests

    url = subject.online.session.endpoint("storage")
    with translated("cannot ask for the time"):
        before = subject.now()
        reply = requests.head(url, timeout=DEADLINE_S, allow_redirects=False)
        here = (before + subject.now()) / 2
    told = reply.headers.get("Date")
    if told is None:
        return unchecked("the server tells no time", "timedatectl status")
    # the header has whole seconds
    skew = here - parsedate_to_datetime(told).timestamp() - 0.5
    words = f"{abs(skew):.0f} s {'ahead of' if skew > 0 else 'behind'} the server's"
    mend = "set it by NTP: sudo timedatectl set-ntp true"
    if abs(skew) > SKEW_FAILURE_S:
        return failure(f"this machine's clock is {words}: logins are refused", mend)
    if abs(skew) > SKEW_WARNING_S:
        return warning(f"this machine's clock is {words}", mend)
    return ok("within a few seconds of the server's")
