"""All checks, run at once, each with a deadline; what raises is a row too."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from headway.cloud.asking import ask
from headway.cloud.services import Services
from headway.config import Loaded, load
from headway.config.profile import look_for_place
from headway.config.stack import local_executor
from headway.errors import HeadwayError
from headway.jobs.doctor import job, laptop, project
from headway.jobs.doctor.report import Found, Report, Row, failure, unchecked
from headway.jobs.doctor.subject import DEADLINE_S, Lacking, Subject
from headway.spec.place import UNSTARTED, Place


@dataclass(frozen=True)
class Check:
    """A row's question; `fix` is what to do where it fails and the failure says no better.

    A question that is none here, such as one about schedules where there are none, has None for an answer.
    """

    name: str
    question: Callable[[Subject], Found | None]
    fix: str


_NETWORK = "see whether the network, a VPN or a proxy lets you reach it, then try again"
CHECKS: Sequence[Check] = (
    Check("place", job.place, "see docs/profiles.md"),
    Check("config", job.config, "launch config schema tells what it may say"),
    Check("engine", laptop.engine, "sudo systemctl restart docker"),
    Check("base image", laptop.base_image, _NETWORK),
    Check("architecture", laptop.architecture, "sudo systemctl restart docker"),
    Check("credentials", laptop.credentials, laptop.LOGIN),
    Check("project", project.project, _NETWORK),
    Check("APIs", project.apis, _NETWORK),
    Check("bucket", project.bucket, "have roles/storage.legacyBucketReader granted on it, or name another"),
    Check("data", job.data, "see whether dvc_remote in the profile is right"),
    Check("registry", project.repository, "have roles/artifactregistry.reader granted"),
    Check("service account", project.service_account, "have roles/iam.serviceAccountUser granted on it"),
    Check("schedules", project.schedules, "see docs/schedules.md"),
    Check("machine", job.machine, "launch gpus lists what there is"),
    Check("quota", job.quota, _NETWORK),
    Check("tracking", job.tracking, "see whether tracking_uri in the profile is right"),
    Check("secrets", project.secret_values, _NETWORK),
    Check("clock", laptop.clock, _NETWORK),
)


def examine(
    config: Path | None = None,
    *,
    overrides: Sequence[str] = (),
    flags: Mapping[str, object] | None = None,
    profile: str | None = None,
    local: bool = False,
    online: bool = False,
    state: Path,
) -> Report:
    """Look at all that a submit would need. Changes nothing and starts nothing.

    Without `config`, config.yaml of this folder is looked at, if there is one. Servers are asked where
    `online`, and the local stack wherever it is up. Whatever is wrong is a row, and raises nothing.
    """
    start = config or Path("config.yaml")
    loaded = _config(config, start, overrides, flags or {})
    place = _place(profile, local, start, state)
    may_ask = isinstance(place, Place) and place is not UNSTARTED and (online or local)
    subject = Subject(
        config=loaded,
        place=place,
        services=Services(place) if isinstance(place, Place) and may_ask else None,
        executor=local_executor(state) if local else None,
    )
    return examined(subject)


def examined(subject: Subject, checks: Sequence[Check] = CHECKS, *, deadline: float = DEADLINE_S) -> Report:
    """The table of a subject; every check is given `deadline` seconds, all at the same time."""
    until = time.monotonic() + deadline
    asked = [(check, ask(partial(check.question, subject))) for check in checks]
    rows = tuple(
        row for check, future in asked if (row := _row(check, future, subject, until, deadline)) is not None
    )
    place = subject.place if isinstance(subject.place, Place) else None
    return Report(
        profile=place.profile if place else None,
        project=place.project if place else None,
        online=subject.services is not None,
        rows=rows,
    )


def _row(
    check: Check, future: Future[Found | None], subject: Subject, until: float, deadline: float
) -> Row | None:
    try:
        found = future.result(max(0.0, until - time.monotonic()))
    except Lacking as reason:
        asks = isinstance(subject.place, Place) and subject.services is None
        found = unchecked(str(reason), subject.way_online if asks else None)
    except HeadwayError as error:
        found = failure(error.message, error.hint or check.fix)
    except TimeoutError:
        found = failure(f"no answer within {deadline:.0f} s", check.fix)
    except Exception as error:  # noqa: BLE001  one check that breaks must not hide what the others found
        found = failure(f"the check broke: {type(error).__name__}: {error}", check.fix)
    return None if found is None else Row(check.name, found.state, found.found, found.fix)


def _config(
    given: Path | None, file: Path, overrides: Sequence[str], flags: Mapping[str, object]
) -> Loaded | HeadwayError | None:
    if given is None and not file.is_file():
        return None
    try:
        return load(file, overrides, flags)
    except HeadwayError as error:
        return error


def _place(profile: str | None, local: bool, start: Path, state: Path) -> Place | HeadwayError:
    try:
        return look_for_place(profile=profile, local=local, start=start, state=state) or UNSTARTED
    except HeadwayError as error:
        return error
