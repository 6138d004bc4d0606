"""What Vertex AI refuses in a CustomJob that its schema allows.

Source: Google's custom training documentation, November 2026. The wording of its messages is not established.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any

from headway_emulator.errors import bad_request, unimplemented

Violation = tuple[str, str]

DISPLAY_NAME_LENGTH = 128
LABELS = 64
LABEL_KEY = re.compile(r"[a-z][a-z0-9_-]{0,62}")
LABEL_VALUE = re.compile(r"[a-z0-9_-]{0,63}")
ENV_COUNT = 100
DISK_GB = (100, 64_000)
POOLS = 4
FLEX_START_SECONDS = 7 * 24 * 3600
MACHINE = re.compile(
    r"(a2|a3|a4|a4x|c2|c2d|c3|c3d|c4|e2|g2|g4|m1|m2|m3|n1|n2|n2d|n4)"
    r"-(standard|highmem|highcpu|highgpu|megagpu|ultragpu|megamem|ultramem)-\d+g?"
)
"""Families and classes of Compute Engine's names; which of them Vertex AI offers is not checked further."""
ENV_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")


def check(job: Mapping[str, Any]) -> None:
    """ApiError naming every field that breaks a rule."""
    violations = [*_display_name(job), *_labels(job), *_spec(job.get("jobSpec", {}))]
    if violations:
        raise bad_request(violations)


def _display_name(job: Mapping[str, Any]) -> list[Violation]:
    name = job.get("displayName", "")
    if not name:
        return [_required("custom_job.display_name")]
    if len(name) > DISPLAY_NAME_LENGTH:
        text = f"The display name has {len(name)} characters; at most {DISPLAY_NAME_LENGTH} are allowed."
        return [("custom_job.display_name", text)]
    return []


def _labels(job: Mapping[str, Any]) -> list[Violation]:
    labels = job.get("labels", {})
    rule = "at most 63 lowercase letters, digits, _ and -"
    bad = [
        ("custom_job.labels", f'Invalid label "{key}": "{value}": keys begin with a letter; each has {rule}.')
        for key, value in labels.items()
        if not LABEL_KEY.fullmatch(key) or not LABEL_VALUE.fullmatch(value)
    ]
    if len(labels) > LABELS:
        bad.append(("custom_job.labels", f"{len(labels)} labels; at most {LABELS} are allowed."))
    return bad


def _spec(spec: Mapping[str, Any]) -> list[Violation]:
    at = "custom_job.job_spec"
    pools: Sequence[Mapping[str, Any]] = spec.get("workerPoolSpecs", [])
    if spec.get("persistentResourceId"):
        raise unimplemented("persistent resources (job_spec.persistent_resource_id)")
    if not pools:
        return [_required(f"{at}.worker_pool_specs")]
    violations = [
        violation
        for index, pool in enumerate(pools)
        if pool or index == 0
        for violation in _pool(pool, index, f"{at}.worker_pool_specs[{index}]")
    ]
    if len(pools) > POOLS:
        violations.append(
            (f"{at}.worker_pool_specs", f"{len(pools)} worker pools; at most {POOLS} are allowed.")
        )
    prefix = spec.get("baseOutputDirectory", {}).get("outputUriPrefix", "")
    if prefix and not prefix.startswith("gs://"):
        field = f"{at}.base_output_directory.output_uri_prefix"
        violations.append((field, f"Invalid Cloud Storage path: {prefix}. It must begin with gs://."))
    return violations + _scheduling(spec, pools, f"{at}.scheduling")


def _pool(pool: Mapping[str, Any], index: int, at: str) -> list[Violation]:
    violations = []
    count = int(pool.get("replicaCount", 0))
    if index == 0 and count != 1:
        text = f"The first worker pool is the chief: its replica count must be 1, not {count}."
        violations.append((f"{at}.replica_count", text))
    elif count < 1:
        violations.append((f"{at}.replica_count", f"The replica count must be at least 1, not {count}."))
    return [
        *violations,
        *_task(pool, at),
        *_machine(pool.get("machineSpec", {}), f"{at}.machine_spec"),
        *_disk(pool.get("diskSpec", {}), f"{at}.disk_spec.boot_disk_size_gb"),
    ]


def _task(pool: Mapping[str, Any], at: str) -> list[Violation]:
    if "containerSpec" in pool and "pythonPackageSpec" in pool:
        text = "Invalid value (oneof), oneof field 'task' is already set. Cannot set 'pythonPackageSpec'."
        return [(at, text)]
    if "pythonPackageSpec" in pool:
        raise unimplemented("pythonPackageSpec: use containerSpec")
    if "containerSpec" not in pool:
        return [(at, "One of container_spec and python_package_spec is required.")]
    container = pool["containerSpec"]
    violations = []
    if not container.get("imageUri"):
        violations.append(_required(f"{at}.container_spec.image_uri"))
    return violations + _env(container.get("env", []), f"{at}.container_spec.env")


def _env(env: Sequence[Mapping[str, str]], at: str) -> list[Violation]:
    violations = [
        (f"{at}[{index}].name", f'Invalid environment variable name "{variable.get("name", "")}".')
        for index, variable in enumerate(env)
        if not ENV_NAME.fullmatch(variable.get("name", ""))
    ]
    if len(env) > ENV_COUNT:
        violations.append((at, f"{len(env)} environment variables; at most {ENV_COUNT} are allowed."))
    return violations


def _machine(machine: Mapping[str, Any], at: str) -> list[Violation]:
    kind = machine.get("machineType", "")
    accelerator = machine.get("acceleratorType", "ACCELERATOR_TYPE_UNSPECIFIED")
    count = machine.get("acceleratorCount", 0)
    if not kind:
        return [_required(f"{at}.machine_type")]
    if not MACHINE.fullmatch(kind) and kind not in machines()["tpu"]["machines"]:
        return [(f"{at}.machine_type", f'Machine type "{kind}" is not supported.')]
    if accelerator == "ACCELERATOR_TYPE_UNSPECIFIED":
        text = f"acceleratorCount is {count}, but no acceleratorType is given."
        return [(f"{at}.accelerator_type", text)] if count else []
    if accelerator.startswith("TPU"):
        return []
    return _accelerator(kind, accelerator, count, at)


def _accelerator(kind: str, accelerator: str, count: int, at: str) -> list[Violation]:
    shapes = machines()["gpu"].get(accelerator, {}).get("machines", {})
    if not shapes:
        return [(f"{at}.accelerator_type", f"Accelerator type {accelerator} is not supported for training.")]
    if kind not in shapes:
        fitting = ", ".join(shapes)
        text = f'Machine type "{kind}" does not support {accelerator}; use one of: {fitting}.'
        return [(f"{at}.machine_type", text)]
    if count not in shapes[kind]:
        allowed = ", ".join(str(number) for number in shapes[kind])
        text = f'Machine type "{kind}" takes {allowed} accelerators of type {accelerator}, not {count}.'
        return [(f"{at}.accelerator_count", text)]
    return []


def _disk(disk: Mapping[str, Any], at: str) -> list[Violation]:
    low, high = DISK_GB
    size = disk.get("bootDiskSizeGb", low)
    return [] if low <= size <= high else [(at, f"The boot disk must have {low} to {high} GB, not {size}.")]


def _scheduling(spec: Mapping[str, Any], pools: Sequence[Mapping[str, Any]], at: str) -> list[Violation]:
    scheduling = spec.get("scheduling", {})
    seconds = float(scheduling.get("timeout", "1s").removesuffix("s"))
    if seconds <= 0:
        return [(f"{at}.timeout", f"The timeout must be positive, not {seconds:g} s.")]
    if scheduling.get("strategy") != "FLEX_START":
        return []
    violations = []
    if seconds > FLEX_START_SECONDS:
        violations.append((f"{at}.timeout", "FLEX_START allows a timeout of at most 7 days."))
    for pool in pools:
        accelerator = pool.get("machineSpec", {}).get("acceleratorType", "none")
        if pool and not machines()["gpu"].get(accelerator, {}).get("flex_start"):
            violations.append(
                (f"{at}.strategy", f"FLEX_START does not support accelerator type {accelerator}.")
            )
    return violations


def _required(field: str) -> Violation:
    return field, f"Required field is not set: {field}."


@cache
def machines() -> Mapping[str, Any]:
    """The table of machines and accelerators."""
    return tomllib.loads((Path(__file__).parent.parent / "facts" / "machines.toml").read_text())
