"""What Vertex AI refuses in a CustomJob that its schema allows.

Source: Google's custom training documentation and the field descriptions of the discovery document, November
2026. The form "List of found errors: 1.Field: ...; Message: ..." and the messages REQUIRED, LABELS and
UNIQUE_NAMES are Google's, as users report them; where the field begins with job_spec, not custom_job, too.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from headway_emulator.errors import ApiError, bad_request, invalid, unimplemented
from headway_emulator.schema import snake
from headway_emulator.services.vertex import machines as vertex_machines
from headway_emulator.services.vertex.fields import Violation
from headway_emulator.services.vertex.machines import REQUIRED

DISPLAY_NAME_LENGTH = 128
LABELS = (
    "There can be no more than 64 labels attached to a single resource. Label keys and values can only "
    "contain lowercase letters, numbers, dashes and underscores. Label keys must start with a letter or "
    "number, must be less than 64 characters in length, and must be less that 128 bytes in length when "
    "encoded in UTF-8. Label values must be less than 64 characters in length, and must be less that 128 "
    "bytes in length when encoded in UTF-8."
)
UNIQUE_NAMES = "EnvVar names must be unique."
MOST_LABELS, LABEL_LENGTH, LABEL_BYTES = 64, 64, 128
ENV_COUNT = 100
PACKAGE_COUNT = 100
DISK_GB = (100, 64_000)
DISK_TYPES = ("pd-ssd", "pd-standard", "hyperdisk-balanced")
POOLS = 4
FLEX_START_SECONDS = 7 * 24 * 3600
ENV_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
"""A C identifier."""
RESOURCE_ID = re.compile(r"[a-z]([a-z0-9-]{0,61}[a-z0-9])?")
FORMS: Mapping[str, tuple[str, re.Pattern[str], str]] = {
    "serviceAccount": ("service_account", re.compile(r"[^@\s/]+@[^@\s/]+"), "an email address"),
    "network": (
        "network",
        re.compile(r"projects/\d+/global/networks/[a-z]([-a-z0-9]{0,61}[a-z0-9])?"),
        "projects/PROJECT_NUMBER/global/networks/NETWORK",
    ),
    "tensorboard": (
        "tensorboard",
        re.compile(r"projects/[^/]+/locations/[^/]+/tensorboards/[^/]+"),
        "projects/PROJECT/locations/LOCATION/tensorboards/TENSORBOARD",
    ),
    "experiment": (
        "experiment",
        re.compile(r"projects/[^/]+/locations/[^/]+/metadataStores/[^/]+/contexts/[^/]+"),
        "projects/PROJECT/locations/LOCATION/metadataStores/STORE/contexts/NAME",
    ),
}
"""Names in a job spec: the field, what fits, and how to say it."""
KMS_KEY = re.compile(r"projects/[^/]+/locations/[^/]+/keyRings/[^/]+/cryptoKeys/[^/]+")


def check(job: Mapping[str, Any]) -> None:
    """ApiError naming every field that breaks a rule."""
    violations = [*_display_name(job), *labels(job.get("labels", {}), "custom_job.labels"), *_key(job)]
    if "jobSpec" not in job:
        violations.append(("job_spec", REQUIRED))
    check_spec(job.get("jobSpec"), "job_spec", violations)


def check_spec(spec: Mapping[str, Any] | None, at: str, before: Sequence[Violation] = ()) -> None:
    """The same for a job spec wherever it is; `before` are violations that were found around it."""
    violations = [*before, *(_spec(spec, at) if spec is not None else [])]
    if violations:
        raise refused(violations)
    pools = [(i, pool) for i, pool in enumerate((spec or {}).get("workerPoolSpecs", [])) if pool]
    for index, pool in pools:
        place = f"{at}.worker_pool_specs[{index}].machine_spec"
        if (pair := vertex_machines.pair(pool.get("machineSpec", {}), place)) is not None:
            raise invalid(pair[1])
    if (spec or {}).get("persistentResourceId"):
        raise unimplemented("persistent resources (job_spec.persistent_resource_id)")
    if any("pythonPackageSpec" in pool for _, pool in pools):
        raise unimplemented("pythonPackageSpec: use containerSpec")
    for field in ("nfsMounts", "lustreMounts"):  # a job that finds its mount point empty would be misled
        if any(pool.get(field) for _, pool in pools):
            raise unimplemented(f"{field} (job_spec.worker_pool_specs.{snake(field)})")


def refused(violations: Sequence[Violation]) -> ApiError:
    """INVALID_ARGUMENT in Vertex AI's form: one line with tabs, and the same as field violations."""
    found = bad_request(violations)
    parts = [f"\t{number}.Field: {at}; Message: {text}" for number, (at, text) in enumerate(violations, 1)]
    return ApiError(found.status, f"List of found errors:{''.join(parts)}\t", found.details)


def labels(given: Mapping[str, str], at: str) -> list[Violation]:
    """One violation with the whole rule, whatever part of it is broken."""
    fits = len(given) <= MOST_LABELS and all(
        _label(key) and _label(value) and key[:1].isalnum() for key, value in given.items()
    )
    return [] if fits else [(at, LABELS)]


def _label(text: str) -> bool:
    """International letters count as lowercase where they have no upper case."""
    fits = all(letter in "_-" or (letter.isalnum() and letter == letter.lower()) for letter in text)
    return fits and len(text) < LABEL_LENGTH and len(text.encode()) < LABEL_BYTES


def _display_name(job: Mapping[str, Any]) -> list[Violation]:
    name = job.get("displayName", "")
    if not name:
        return [("custom_job.display_name", REQUIRED)]
    if len(name) > DISPLAY_NAME_LENGTH:
        text = f"The display name has {len(name)} characters; at most {DISPLAY_NAME_LENGTH} are allowed."
        return [("custom_job.display_name", text)]
    return []


def _key(job: Mapping[str, Any]) -> list[Violation]:
    if "encryptionSpec" not in job:
        return []
    at, name = "custom_job.encryption_spec.kms_key_name", job["encryptionSpec"].get("kmsKeyName", "")
    if not name:
        return [(at, REQUIRED)]
    form = "projects/PROJECT/locations/LOCATION/keyRings/RING/cryptoKeys/KEY"
    return [] if KMS_KEY.fullmatch(name) else [(at, _form(name, form))]


def _spec(spec: Mapping[str, Any], at: str) -> list[Violation]:
    pools: Sequence[Mapping[str, Any]] = spec.get("workerPoolSpecs", [])
    used = [(index, pool) for index, pool in enumerate(pools) if pool or index == 0]
    violations = [
        violation
        for index, pool in used
        for violation in _pool(pool, index, f"{at}.worker_pool_specs[{index}]")
    ]
    if not pools:
        violations.append((f"{at}.worker_pool_specs", REQUIRED))
    if len(pools) > POOLS:
        text = f"{len(pools)} worker pools; at most {POOLS} are allowed."
        violations.append((f"{at}.worker_pool_specs", text))
    machines = [pool.get("machineSpec", {}) for _, pool in used]
    return [
        *violations,
        *_tpu_pools([pool for _, pool in used], f"{at}.worker_pool_specs"),
        *_names(spec, at),
        *_output(spec, at),
        *_persistent(spec, machines, at),
        *_scheduling(spec.get("scheduling", {}), machines, f"{at}.scheduling"),
    ]


def _pool(pool: Mapping[str, Any], index: int, at: str) -> list[Violation]:
    count = int(pool.get("replicaCount", 0))
    violations = []
    if index == 0 and count != 1:
        text = f"The first worker pool is the chief: its replica count must be 1, not {count}."
        violations.append((f"{at}.replica_count", text))
    elif count < 1:
        violations.append((f"{at}.replica_count", f"The replica count must be at least 1, not {count}."))
    return [
        *violations,
        *_task(pool, at),
        *vertex_machines.machine(pool.get("machineSpec", {}), f"{at}.machine_spec"),
        *_disk(pool.get("diskSpec", {}), f"{at}.disk_spec"),
        *_mounts(pool.get("nfsMounts", []), f"{at}.nfs_mounts"),
    ]


def _tpu_pools(pools: Sequence[Mapping[str, Any]], at: str) -> list[Violation]:
    if len(pools) > 1 and any(vertex_machines.is_tpu(pool.get("machineSpec", {})) for pool in pools):
        return [(at, "A job with TPUs has one worker pool with one replica.")]
    return []


def _task(pool: Mapping[str, Any], at: str) -> list[Violation]:
    if "containerSpec" in pool and "pythonPackageSpec" in pool:
        text = "oneof field 'task' is already set. Cannot set 'pythonPackageSpec'"
        raise bad_request([(at, f"Invalid value at '{at}' (oneof), {text}")])
    if "pythonPackageSpec" in pool:
        return _package(pool["pythonPackageSpec"], f"{at}.python_package_spec")
    if "containerSpec" not in pool:
        return [(at, "One of container_spec and python_package_spec is required.")]
    container, here = pool["containerSpec"], f"{at}.container_spec"
    missing = [] if container.get("imageUri") else [(f"{here}.image_uri", REQUIRED)]
    return missing + _env(container.get("env", []), f"{here}.env")


def _package(package: Mapping[str, Any], at: str) -> list[Violation]:
    wanted = {
        "executorImageUri": "executor_image_uri",
        "packageUris": "package_uris",
        "pythonModule": "python_module",
    }
    violations = [(f"{at}.{place}", REQUIRED) for name, place in wanted.items() if not package.get(name)]
    if (count := len(package.get("packageUris", []))) > PACKAGE_COUNT:
        violations.append((f"{at}.package_uris", f"{count} packages; at most {PACKAGE_COUNT} are allowed."))
    return violations + _env(package.get("env", []), f"{at}.env")


def _env(env: Sequence[Mapping[str, str]], at: str) -> list[Violation]:
    violations = []
    for index, variable in enumerate(env):
        name = variable.get("name", "")
        if not name:
            violations.append((f"{at}[{index}].name", REQUIRED))
        elif not ENV_NAME.fullmatch(name):
            violations.append((f"{at}[{index}].name", f'"{name}" is not a valid C identifier.'))
        if not variable.get("value"):
            violations.append((f"{at}[{index}].value", REQUIRED))
    names = [variable["name"] for variable in env if variable.get("name")]
    if len(set(names)) < len(names):
        violations.append((at, UNIQUE_NAMES))
    if len(env) > ENV_COUNT:
        violations.append((at, f"{len(env)} environment variables; at most {ENV_COUNT} are allowed."))
    return violations


def _disk(disk: Mapping[str, Any], at: str) -> list[Violation]:
    low, high = DISK_GB
    size, kind = disk.get("bootDiskSizeGb", 0) or low, disk.get("bootDiskType", "")
    violations = []
    if not low <= size <= high:
        violations.append(
            (f"{at}.boot_disk_size_gb", f"The boot disk must have {low} to {high} GB, not {size}.")
        )
    if kind and kind not in DISK_TYPES:
        text = f'Boot disk type "{kind}" is not supported; valid values: {", ".join(DISK_TYPES)}.'
        violations.append((f"{at}.boot_disk_type", text))
    return violations


def _mounts(mounts: Sequence[Mapping[str, str]], at: str) -> list[Violation]:
    wanted = {"server": "server", "path": "path", "mountPoint": "mount_point"}
    violations = [
        (f"{at}[{index}].{place}", REQUIRED)
        for index, mount in enumerate(mounts)
        for name, place in wanted.items()
        if not mount.get(name)
    ]
    relative = [i for i, mount in enumerate(mounts) if not mount.get("path", "/").startswith("/")]
    return violations + [(f"{at}[{i}].path", "The path has to start with '/'.") for i in relative]


def _names(spec: Mapping[str, Any], at: str) -> list[Violation]:
    """That a tensorboard needs a service account is said in CustomJob.run of the Python client."""
    missing = spec.get("tensorboard") and not spec.get("serviceAccount")
    return [
        (f"{at}.{place}", _form(spec[name], form))
        for name, (place, fits, form) in FORMS.items()
        if spec.get(name) and not fits.fullmatch(spec[name])
    ] + ([(f"{at}.service_account", REQUIRED)] if missing else [])


def _form(name: str, form: str) -> str:
    return f'"{name}" does not have the form {form}.'


def _output(spec: Mapping[str, Any], at: str) -> list[Violation]:
    if "baseOutputDirectory" not in spec:
        return []
    place = f"{at}.base_output_directory.output_uri_prefix"
    prefix = spec["baseOutputDirectory"].get("outputUriPrefix", "")
    if not prefix:
        return [(place, REQUIRED)]
    return [] if re.match(r"gs://[^/]+", prefix) else [(place, _form(prefix, "gs://BUCKET/FOLDER"))]


def _persistent(spec: Mapping[str, Any], machines: Sequence[Mapping[str, Any]], at: str) -> list[Violation]:
    name = spec.get("persistentResourceId", "")
    if name and not RESOURCE_ID.fullmatch(name):
        text = (
            "persistent_resource_id can only contain numbers, lower case letters and hyphens. "
            "The first character must be a letter, and the last character must be a letter or number."
        )
        return [("persistent_resource_id", text)]
    if name and any(vertex_machines.affinity(machine) not in ("", "NO_RESERVATION") for machine in machines):
        return [
            (f"{at}.persistent_resource_id", "Persistent resources cannot be combined with reservations.")
        ]
    return []


def _scheduling(
    scheduling: Mapping[str, Any], machines: Sequence[Mapping[str, Any]], at: str
) -> list[Violation]:
    violations = []
    seconds = vertex_machines.seconds
    rules: Mapping[str, tuple[str, Callable[[float], bool], str]] = {
        "timeout": ("timeout", lambda value: value > 0, "positive"),
        "maxWaitDuration": ("max_wait_duration", lambda value: value >= 0, "zero or positive"),
    }
    for name, (place, fits, words) in rules.items():
        if name in scheduling and not fits(value := seconds(scheduling[name])):
            violations.append((f"{at}.{place}", f"The duration must be {words}, not {value:g} s."))
    return violations + vertex_machines.strategy(scheduling, machines, at, FLEX_START_SECONDS)
