"""What Cloud Build refuses in a build that its schema allows, and what this emulator does not do.

Sources: the descriptions in the discovery document cloudbuild.v1; Google's page "Build configuration file
schema"; and Google's own validator, github.com/GoogleCloudPlatform/cloud-build-local validate/validate.go,
whose texts the service gives after "invalid build: " (seen in cloud-builders-community#145 and
cortex-data-foundation#21). Limits are those of the page where it is newer than the validator.
"""

from __future__ import annotations

import json
import posixpath
import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from headway_emulator.errors import ApiError, invalid, unimplemented
from headway_emulator.schema import snake

Build = Mapping[str, Any]
Steps = Sequence[Mapping[str, Any]]

DAY_SECONDS = 24 * 3600.0
MOST_STEPS = 300
MOST_ARGS = 100
MOST_ARG_LENGTH = 10_000
MOST_ENVS = 100
MOST_ENV_LENGTH = 65_536
MOST_NAME_LENGTH = 1000
MOST_IMAGES = 100
MOST_SUBSTITUTIONS = 200
MOST_SUBSTITUTION_KEY = 100
MOST_SUBSTITUTION_VALUE = 4000
MOST_PATHS = 100
MOST_TAGS = 64
MOST_SECRETS = 100
MOST_DISK_GB = 4000
NOT_EMULATED = ("secrets", "dependencies", "gitConfig")
OPTIONS_NOT_EMULATED = ("pool", "workerPool", "workerRelease", "pubsubTopic", "enableStructuredLogging")
ARTIFACTS_EMULATED = ("images", "objects")
RESERVED_PATHS = ("/workspace", "/builder/home", "/var/run/docker.sock")
VOLUME_NAME = re.compile(r"[a-zA-Z0-9][a-zA-Z0-9_.-]+")
SECRET_VERSION = re.compile(r"projects/[^/]+/secrets/[^/]+/versions/[^/]+")
BUILD_TAG = re.compile(r"[\w][\w.-]{0,127}", re.ASCII)
IMAGE = re.compile(
    r"(?:(?:[a-zA-Z0-9]|[a-zA-Z0-9][a-zA-Z0-9-]*[a-zA-Z0-9])(?:\.[a-zA-Z0-9-]*[a-zA-Z0-9])*(?::\d+)?/)?"
    r"[a-z0-9]+(?:(?:[._]|__|-+)[a-z0-9]+)*(?:/[a-z0-9]+(?:(?:[._]|__|-+)[a-z0-9]+)*)*"
    r"(?::[\w][\w.-]{0,127})?(?:@sha256:[0-9a-fA-F]{32,})?",
    re.ASCII,
)
"""A name with an optional tag and digest, by the grammar of Docker's registry."""
NO_LOG_OBJECT = ("CLOUD_LOGGING_ONLY", "STACKDRIVER_ONLY", "NONE")
"""BuildOptions.LoggingMode: these write no log-ID.txt."""


def check(build: Build) -> None:
    """INVALID_ARGUMENT for the first thing that is wrong, UNIMPLEMENTED by name for what is missing."""
    _check_emulated(build)
    total = _seconds(build.get("timeout", "0s"))
    if total > DAY_SECONDS:
        raise _wrong("timeout exceeds the timeout limit of 24h0m0s")
    if total < 0:
        raise _wrong("invalid timeout: timeout must be >=0")
    _check_substitutions(build.get("substitutions", {}))
    _check_artifacts(build)
    _check_source(build.get("source", {}))
    _check_steps(build.get("steps", []), total or DAY_SECONDS)
    _check_volumes(build)
    _check_environment(build)
    _check_secrets(build)
    _check_options(build)


def check_filled(build: Build) -> None:
    """After substitution: names of images and secrets, and tags."""
    for secret in build.get("availableSecrets", {}).get("secretManager", []):
        version = secret.get("versionName", "")
        if not SECRET_VERSION.fullmatch(version):
            text = f"versionName {_q(version)} must have the format projects/*/secrets/*/versions/*"
            raise _wrong(f"invalid .secrets field: {text}")
    for step in build["steps"]:
        if not IMAGE.fullmatch(step["name"]):
            raise _wrong(
                f"invalid build step name {_q(step['name'])}: could not parse reference: {step['name']}"
            )
    for image in images(build):
        if not IMAGE.fullmatch(image):
            upper = " contains uppercase letters" if IMAGE.fullmatch(image.lower()) else ""
            raise _wrong(f"invalid image name {_q(image)}{upper}")
    tags = build.get("tags", [])
    if len(tags) > MOST_TAGS:
        raise _wrong(f"number of tags {len(tags)} exceeded (max: {MOST_TAGS})")
    for tag in tags:
        if tag and not BUILD_TAG.fullmatch(tag):
            raise _wrong(f'invalid build tag {_q(tag)}: must match format "^({BUILD_TAG.pattern})$"')


def images(build: Build) -> list[str]:
    """What the build promises to push: `images` and `artifacts.images` are two places for one list."""
    return list(build.get("images") or build.get("artifacts", {}).get("images", []))


def dependencies(steps: Steps) -> list[frozenset[int]]:
    """For each step the indices of those it waits for: all earlier ones unless waitFor says otherwise."""
    index_of = {step["id"]: index for index, step in enumerate(steps) if step.get("id")}
    found = []
    for index, step in enumerate(steps):
        wanted = step.get("waitFor", [])
        named = frozenset(index_of[name] for name in wanted if name != "-")
        found.append(named if wanted else frozenset(range(index)))
    return found


def _check_emulated(build: Build) -> None:
    for field in NOT_EMULATED:
        if build.get(field):
            raise unimplemented(f"build.{snake(field)}")
    for field in OPTIONS_NOT_EMULATED:
        if build.get("options", {}).get(field):
            raise unimplemented(f"build.options.{snake(field)}")
    if build.get("availableSecrets", {}).get("inline"):
        raise unimplemented("build.available_secrets.inline: use secret_manager")
    for kind in sorted(set(build.get("artifacts", {})) - set(ARTIFACTS_EMULATED)):
        raise unimplemented(f"build.artifacts.{snake(kind)}: use images or objects")
    for kind in sorted(set(build.get("source", {})) - {"storageSource"}):
        raise unimplemented(f"build.source.{snake(kind)}: use storage_source")
    for index, step in enumerate(build.get("steps", [])):
        if step.get("results"):
            raise unimplemented(f"build.steps[{index}].results")


def _check_substitutions(given: Mapping[str, str]) -> None:
    place = "invalid .substitutions field: "
    if len(given) > MOST_SUBSTITUTIONS:
        raise _wrong(f"{place}number of substitutions {len(given)} exceeded (max: {MOST_SUBSTITUTIONS})")
    for name, value in given.items():
        if len(name) > MOST_SUBSTITUTION_KEY:
            raise _wrong(f"{place}substitution key {_q(name)} too long (max: {MOST_SUBSTITUTION_KEY})")
        if len(value) > MOST_SUBSTITUTION_VALUE:
            raise _wrong(f"{place}substitution value {_q(value)} too long (max: {MOST_SUBSTITUTION_VALUE})")


def _check_artifacts(build: Build) -> None:
    place = "invalid .artifacts field: "
    artifacts = build.get("artifacts", {})
    both = build.get("images") and artifacts.get("images")
    if both and build["images"] != artifacts["images"]:
        raise _wrong(f"{place}cannot specify different .images and .artifacts.images")
    if len(images(build)) > MOST_IMAGES:
        raise _wrong(f"{place}cannot specify more than {MOST_IMAGES} images to build")
    if (objects := artifacts.get("objects")) is None:
        return
    location, paths = objects.get("location", ""), objects.get("paths", [])
    if not location:
        raise _wrong(f"{place}.artifacts.location field is empty")
    if not location.startswith(("gs://", "$")):
        text = f".artifacts.location value {_q(location)}; Google Cloud Storage URLs must begin with 'gs://'"
        raise _wrong(f"{place}invalid {text}")
    if not paths:
        raise _wrong(f"{place}.artifacts.paths field empty")
    if len(paths) > MOST_PATHS:
        text = f"field has length {len(paths)}, but cannot specify more than {MOST_PATHS}"
        raise _wrong(f"{place}.artifacts.paths {text}")
    for path in paths:
        if re.search(r"\s", path):
            raise _wrong(f"{place}.artifacts.paths {_q(path)} contains whitespace")
    if twice := _twice(paths):
        text = f".artifacts.paths field has duplicate paths; remove duplicates [{', '.join(twice)}]"
        raise _wrong(f"{place}{text}")


def _check_source(source: Mapping[str, Any]) -> None:
    """StorageSource.object is required; the bucket's default is no bucket of the caller's."""
    if not source:
        return
    for field in ("bucket", "object"):
        if not source["storageSource"].get(field):
            raise _wrong(f"invalid .source field: storage_source.{field} is required")


def _check_steps(steps: Steps, total: float) -> None:
    place = "invalid .steps field: "
    if not steps:
        raise _wrong(f"{place}no build steps are specified")
    if len(steps) > MOST_STEPS:
        raise _wrong(f"{place}cannot specify more than {MOST_STEPS} build steps")
    known = {"-"}
    for index, step in enumerate(steps):
        try:
            _check_step(index, step, total)
            _check_graph(index, step, known)
        except ValueError as error:
            raise _wrong(f"{place}{error}") from error
        known |= {step["id"]} if step.get("id") else set()


def _check_step(index: int, step: Mapping[str, Any], total: float) -> None:
    name, args = step.get("name", ""), step.get("args", [])
    if not name:
        raise ValueError(f"build step {index} must specify name")
    if len(name) > MOST_NAME_LENGTH:
        raise ValueError(f"build step {index} name too long (max: {MOST_NAME_LENGTH})")
    if len(args) > MOST_ARGS:
        raise ValueError(f"build step {index} too many args (max: {MOST_ARGS})")
    for at, arg in enumerate(args):
        if len(arg) > MOST_ARG_LENGTH:
            raise ValueError(f"build step {index} arg {at} too long (max: {MOST_ARG_LENGTH})")
    if step.get("script") and (args or step.get("entrypoint")):
        raise ValueError(f"build step {index} cannot specify script with entrypoint or args")
    _check_step_timeout(index, _seconds(step.get("timeout", "0s")), total)


def _check_step_timeout(index: int, seconds: float, total: float) -> None:
    text = f"invalid .timeout in build step #{index}: build step timeout"
    if seconds < 0:
        raise ValueError(f"{text} must be >0")
    if seconds > DAY_SECONDS:
        raise ValueError(f"{text} {_span(seconds)} exceeds the timeout limit of 24h0m0s")
    if seconds > total:
        raise ValueError(f"{text} {_span(seconds)} must be <= build timeout {_span(total)}")


def _check_graph(index: int, step: Mapping[str, Any], known: set[str]) -> None:
    name = step.get("id", "")
    shown = f"build step #{index}" + (f" - {_q(name)}" if name else "")
    for wanted in step.get("waitFor", []):
        if wanted not in known:
            raise ValueError(f"{shown} depends on {_q(wanted)}, which has not been defined")
    if name == "-":
        raise ValueError(f'{shown}: the ID cannot be "-" which is reserved as a dependency')
    if name in known:
        raise ValueError(f"{shown}: the ID is not unique")


def _check_volumes(build: Build) -> None:
    shared = build.get("options", {}).get("volumes", [])
    if shared and len(build["steps"]) < 2:
        raise _wrong("Global volumes defined but there are fewer than two steps")
    _check_mounts("invalid .options.volumes", shared)
    taken = {field: {volume.get(field) for volume in shared} for field in ("name", "path")}
    for index, step in enumerate(build["steps"]):
        place = f"build step #{index} - {_q(step.get('id', ''))}"
        _check_mounts(place, step.get("volumes", []))
        for volume in step.get("volumes", []):
            for field, values in taken.items():
                if volume[field] in values:
                    raise _wrong(f"{place}: volume {field} {_q(volume[field])} conflicts with global volume")
    used = Counter(volume["name"] for step in build["steps"] for volume in step.get("volumes", []))
    for name, count in used.items():
        if count < 2:
            raise _wrong(f"Volume {_q(name)} is only used by one step")


def _check_mounts(place: str, volumes: Iterable[Mapping[str, Any]]) -> None:
    volumes = list(volumes)
    for volume in volumes:
        name, path = volume.get("name", ""), volume.get("path", "")
        clean = posixpath.normpath(path) if path else "."
        if not VOLUME_NAME.fullmatch(name):
            raise _wrong(
                f"{place}: volume name {_q(name)} does not match {_q('^[a-zA-Z0-9][a-zA-Z0-9_.-]+$')}"
            )
        if not clean.startswith("/"):
            raise _wrong(f"{place}: path {_q(path)} is not valid, must be absolute")
        if clean in RESERVED_PATHS:
            raise _wrong(f"{place}: path {_q(path)} is reserved")
        if clean.startswith("/cloudbuild/"):
            raise _wrong(f"{place}: volume path {_q(path)} cannot start with /cloudbuild/")
    for field in ("name", "path"):
        for value in _twice([volume[field] for volume in volumes]):
            raise _wrong(f"{place}: volume {field} {_q(value)} is defined in more than one volume entry")


def _check_environment(build: Build) -> None:
    steps = [
        (f"invalid .steps.env field: build step {i}", s.get("env", [])) for i, s in enumerate(build["steps"])
    ]
    for place, entries in [("invalid .options.env field:", build.get("options", {}).get("env", [])), *steps]:
        if len(entries) > MOST_ENVS:
            raise _wrong(f"{place} too many envs (max: {MOST_ENVS})")
        for at, entry in enumerate(entries):
            if "=" not in entry:
                raise _wrong(f'{place} the Env entry {_q(entry)} must be of the form "KEY=VALUE"')
            if len(entry) > MOST_ENV_LENGTH:
                raise _wrong(f"{place} env {at} too long (max: {MOST_ENV_LENGTH})")


def _check_secrets(build: Build) -> None:
    place = "invalid .secrets field: "
    defined = [secret.get("env", "") for secret in build.get("availableSecrets", {}).get("secretManager", [])]
    everywhere = build.get("options", {}).get("secretEnv", [])
    for name in _twice(everywhere):
        raise _wrong(f"{place}Build uses global secretEnv {_q(name)} more than once")
    for name in _twice(defined):
        raise _wrong(f"{place}secretEnv {_q(name)} is defined more than once")
    used = set(everywhere)
    for index, step in enumerate(build["steps"]):
        own = step.get("secretEnv", [])
        for name in own:
            if name in everywhere:
                raise _wrong(f"{place}Step {index} uses the global secretEnv {_q(name)}")
        for name in _twice(own):
            raise _wrong(f"{place}Step {index} uses the secretEnv {_q(name)} more than once")
        used |= set(own)
        plain = {
            entry.partition("=")[0]
            for entry in (*build.get("options", {}).get("env", []), *step.get("env", []))
        }
        for name in sorted(plain & {*everywhere, *own}):
            raise _wrong(f"{place}step {index} has secret and non-secret env {_q(name)}")
    for name in sorted(used - set(defined)):
        raise _wrong(f"{place}secretEnv {_q(name)} is used without being defined")
    for name in sorted(set(defined) - used):
        raise _wrong(f"{place}secretEnv {_q(name)} is defined without being used")
    if len(defined) > MOST_SECRETS:
        raise _wrong(f"{place}build defines more than {MOST_SECRETS} secret values")


def _check_options(build: Build) -> None:
    options = build.get("options", {})
    if int(options.get("diskSizeGb", 0)) > MOST_DISK_GB:
        raise _wrong(f"disk size {options['diskSizeGb']} GB exceeds the maximum of {MOST_DISK_GB} GB")
    regional = options.get("defaultLogsBucketBehavior") == "REGIONAL_USER_OWNED_BUCKET"
    logged = build.get("logsBucket") or regional or options.get("logging") in NO_LOG_OBJECT
    if build.get("serviceAccount") and not logged:
        raise invalid(  # in these words in maelvls' cert-manager#8851 and many others
            "if 'build.service_account' is specified, the build must either (a) specify 'build.logs_bucket', "
            "(b) use the REGIONAL_USER_OWNED_BUCKET build.options.default_logs_bucket_behavior option, or "
            "(c) use either CLOUD_LOGGING_ONLY / NONE logging options: invalid argument"
        )


def _wrong(text: str) -> ApiError:
    return invalid(f"invalid build: {text}")


def _q(text: str) -> str:
    return json.dumps(text, ensure_ascii=False)


def _twice(names: Sequence[str]) -> list[str]:
    return [name for name, count in Counter(names).items() if count > 1]


def _seconds(duration: str) -> float:
    return float(duration.removesuffix("s"))


def _span(seconds: float) -> str:
    """A duration in Go's way, such as 1h0m0s."""
    minutes, rest = divmod(seconds, 60)
    hours, minutes = divmod(int(minutes), 60)
    text = f"{hours}h{minutes}m" if hours else f"{minutes}m" if minutes else ""
    return f"{text}{rest:g}s"
