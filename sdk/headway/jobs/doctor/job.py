"""Checks of what the config asks for: its files, data, machine, quota, and where the run is recorded."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from urllib.parse import urlsplit

from headway.cloud import buckets, projects
from headway.cloud.storage import split_uri
from headway.config import check_files
from headway.data import remote
from headway.data.pins import read_pins
from headway.errors import HeadwayError, NotFound, Refused
from headway.jobs.doctor.report import Found, failure, ok, unchecked, warning, worst
from headway.jobs.doctor.subject import DEADLINE_S, Lacking, Subject
from headway.source import assets
from headway.spec.candidates import Candidate, candidates, strategy
from headway.spec.machines import wishes
from headway.spec.place import LOCAL, Place
from headway.tracking.mlflow_server import login

METRICS: Mapping[str, str] = {
    "NVIDIA_TESLA_T4": "nvidia_t4",
    "NVIDIA_TESLA_P4": "nvidia_p4",
    "NVIDIA_TESLA_P100": "nvidia_p100",
    "NVIDIA_TESLA_V100": "nvidia_v100",
    "NVIDIA_L4": "nvidia_l4",
    "NVIDIA_RTX_PRO_6000": "nvidia_rtx_pro_6000",
    "NVIDIA_TESLA_A100": "nvidia_a100",
    "NVIDIA_A100_80GB": "nvidia_a100_80gb",
    "NVIDIA_H100_80GB": "nvidia_h100",
    "NVIDIA_H100_MEGA_80GB": "nvidia_h100_mega",
    "NVIDIA_H200_141GB": "nvidia_h200",
    "NVIDIA_B200": "nvidia_b200",
    "NVIDIA_GB200": "nvidia_gb200",
}
"""What a metric's name has of each accelerator (Google's page on Vertex AI's quotas, November 2026)."""
_LOOPBACK = ("localhost", "127.", "0.0.0.0", "[::1]")


def place(subject: Subject) -> Found:
    """The profile, or the local stack."""
    if isinstance(subject.place, HeadwayError):
        return failure(subject.place.message, subject.place.hint or "see docs/profiles.md")
    if subject.place.profile == LOCAL and subject.services is None:
        return failure("the local stack is not up", "launch local up")
    return ok(f"{subject.place.profile}: project {subject.place.project}, {subject.place.region}")


def config(subject: Subject) -> Found:
    """Whether config.yaml is valid and the files that it names are there."""
    if isinstance(subject.config, HeadwayError):
        return failure(
            subject.config.message, subject.config.hint or "launch config schema tells what it may say"
        )
    if subject.config is None:
        return unchecked(
            "there is no config.yaml in this folder", "name one: launch doctor path/to/config.yaml"
        )
    check_files(subject.loaded)
    return ok(f"{subject.spec.name}, {subject.spec.entrypoint}")


def data(subject: Subject) -> Found:
    """Whether the data here is what DVC tracks, and these versions are in the place's DVC remote."""
    paths = subject.spec.tracked
    pins = read_pins(subject.loaded.root, paths)
    if not pins:
        return ok("the config names none")
    here = subject.known_place
    if subject.services is None:
        return unchecked(
            f"{', '.join(paths)}: tracked as it is; whether it is in {here.dvc_remote} must be asked",
            subject.way_online,
        )
    missing = remote.missing(pins, here.dvc_remote, subject.services.bucket)
    if missing:
        bucket, _ = split_uri(here.dvc_remote)
        try:
            buckets.look_up(subject.services.session, bucket)
        except NotFound:
            return failure(
                f"there is no bucket {bucket}", "mend dvc_remote in the profile, or create the bucket"
            )
        return failure(
            f"not in {here.dvc_remote}: {', '.join(f'{pin.path} at {pin.md5[:12]}' for pin in missing)}",
            f"launch data push{here.words} {subject.loaded.path}",
        )
    return ok(f"{', '.join(pin.path for pin in pins)} in {here.dvc_remote}")


def machine(subject: Subject) -> Found:
    """Whether Vertex AI trains on the machine in the regions asked for, by the catalogue. No network."""
    wanted, regions = subject.spec.resources, subject.regions
    found = candidates(wanted, subject.known_place.region, subject.loaded.facts)
    first, gpu = found[0], wishes(wanted.gpu)[0].partition(":")[0]
    without = [region for region in regions if all(each.region != region for each in found)]
    if without:
        return warning(
            f"{first}; Vertex AI does not train on it in {', '.join(without)}",
            f"take them out of resources.regions, or see where it is: launch gpus {gpu}",
        )
    return ok(f"{first}" + (f", and {len(found) - 1} more to fall back to" if found[1:] else ""))


def quota(subject: Subject) -> Found:
    """Whether the quota that counts this GPU under this strategy holds the job.

    Spot and flex-start count against the preemptible metric (Google's page on Vertex AI's quotas).
    """
    found = candidates(subject.spec.resources, subject.known_place.region, subject.loaded.facts)
    gpus = [each for each in found if each.gpu]
    if not gpus:
        return ok("no GPU is asked for")
    answers = [_quota(subject, each) for each in gpus]
    if any(answer.state == "ok" for answer in answers) and any(a.state == "failure" for a in answers):
        # a job that may go elsewhere is not stopped by it
        lacking = worst(answers)
        return warning(lacking.found, lacking.fix or "")
    return worst(answers)


def _quota(subject: Subject, wanted: Candidate) -> Found:
    resources, project = subject.spec.resources, subject.known_place.project
    preemptible = strategy(resources.spot, resources.flex_start is not None) != "STANDARD"
    needed = wanted.accelerator_count * resources.nodes
    known = METRICS.get(wanted.accelerator or "")
    metric = f"custom_model_training_{'preemptible_' if preemptible else ''}{known or ''}_gpus"
    page = f"https://console.cloud.google.com/iam-admin/quotas?project={project}"
    if known is None:
        return unchecked(f"which metric counts {wanted.gpu} is not known", f"look it up at {page}")
    words = f"{metric} in {wanted.region}"
    look = f"filter {metric} at {page}"
    if subject.services is None:
        return unchecked(f"{needed} of {words} are needed", f"{subject.way_online} reads it, or {look}")
    try:
        limit = projects.quota(subject.services.session, metric, wanted.region)
    except (NotFound, Refused) as error:
        return unchecked(
            f"{needed} of {words} are needed; the quota could not be read: {error.message}", look
        )
    if limit is None:
        return unchecked(f"{needed} of {words} are needed; Google tells no limit", look)
    if limit != projects.UNLIMITED and limit < needed:
        return failure(f"{words} is {limit}, and {needed} are needed", f"ask for {needed}: {look}")
    has = "not limited" if limit == projects.UNLIMITED else str(limit)
    return ok(f"{words} is {has}, {needed} needed")


def tracking(subject: Subject) -> Found:
    """Whether the MLflow server answers, and speaks the version that the jobs' client does."""
    here = subject.known_place
    uri = here.tracking_uri.rstrip("/")
    host = urlsplit(uri).hostname or ""
    if not uri.startswith(("http://", "https://")):
        return unchecked(f"{uri} is no server's address", "write tracking_uri = https://... in the profile")
    if here.profile != LOCAL and not here.endpoints and host.startswith(_LOOPBACK):
        return failure(
            f"{uri} is this machine itself: jobs on Google's machines do not reach it",
            "name a server that both reach in the profile: tracking_uri",
        )
    if subject.services is None:
        raise Lacking("a server must be asked")
    return _tracking(uri, here)


def _tracking(uri: str, here: Place) -> Found:
    import requests

    start = "launch local up" if here.profile == LOCAL else "start it, or mend tracking_uri in the profile"
    try:
        reply = requests.get(f"{uri}/version", timeout=DEADLINE_S - 1, **login(os.environ))
    except requests.RequestException as error:
        return failure(f"{uri} does not answer ({type(error).__name__})", start)
    if reply.status_code in (401, 403):
        return failure(
            f"{uri} asks for a login ({reply.status_code})",
            "set MLFLOW_TRACKING_TOKEN, or MLFLOW_TRACKING_USERNAME and MLFLOW_TRACKING_PASSWORD, here and in"
            " environment.secrets",
        )
    version = re.fullmatch(r"\s*(\d+)\.(\d+)\S*\s*", reply.text)
    if not reply.ok or version is None:
        return failure(f"{uri} is no MLflow server: /version answers {reply.status_code}", start)
    least = _least_mlflow()
    if (int(version[1]), int(version[2])) < least:
        wanted = ".".join(map(str, least))
        return failure(
            f"{uri} is MLflow {reply.text.strip()}; the jobs' client needs {wanted}",
            f"upgrade the server: pip install 'mlflow>={wanted}', then mlflow db upgrade",
        )
    if int(version[1]) > least[0]:
        return warning(
            f"{uri} is MLflow {reply.text.strip()}, newer than what was tried ({least[0]}.x)",
            f"if runs are not recorded: a server of MLflow {least[0]}",
        )
    return ok(f"MLflow {reply.text.strip()} at {uri}")


def _least_mlflow() -> tuple[int, int]:
    """The least version that the containers' own requirements ask for."""
    found = re.search(rb"^mlflow-skinny>=(\d+)\.(\d+)", assets.read("runtime-requirements.txt"), re.MULTILINE)
    assert found is not None
    return int(found[1]), int(found[2])
