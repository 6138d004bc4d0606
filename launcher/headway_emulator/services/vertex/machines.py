"""Which machines, accelerators and reservations Vertex AI lets a worker pool have.

Source, November 2026: Google's custom training documentation ("configure-compute", "use-reservations",
"schedule-jobs-dws", "use-spot-vms"), and in the discovery document the descriptions of MachineSpec and
ReservationAffinity. Messages are Google's where a comment says so.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

from headway_emulator import facts
from headway_emulator.services.vertex.fields import Violation

REQUIRED = "Required field is not set."
NO_TYPE = "ACCELERATOR_TYPE_UNSPECIFIED"
MACHINE = re.compile(
    r"(a2|a3|a4|a4x|c2|c2d|c3|c3d|c4|e2|g2|g4|m1|m2|m3|n1|n2|n2d|n4)"
    r"-(standard|highmem|highcpu|highgpu|megagpu|ultragpu|megamem|ultramem)-(\d+)g?"
)
"""Families and classes of Compute Engine's names; of some the sizes are checked (machines.toml)."""
CLOUD_TPU = "cloud-tpu"
CLOUD_TPU_TYPES = ("TPU_V2", "TPU_V3")
TPU_CORES, TPU_POD_CORES = 8, 32
NEEDS_RESERVATION = "a4x-"
RESERVATION_KEY = "compute.googleapis.com/reservation-name"
RESERVATION = re.compile(
    r"projects/[^/]+/zones/[^/]+/reservations/[^/]+(/reservationBlocks/[^/]+(/reservationSubBlocks/[^/]+)?)?"
)


def machine(spec: Mapping[str, Any], at: str) -> list[Violation]:
    """What is wrong with a machine spec by itself; the pair of machine and accelerator is `pair`'s."""
    kind = spec.get("machineType", "")
    accelerator, count = spec.get("acceleratorType", NO_TYPE), spec.get("acceleratorCount", 0)
    if not kind:
        return [(f"{at}.machine_type", REQUIRED)]
    if not _offered(kind):
        return [(f"{at}.machine_type", f'Machine type "{kind}" is not supported.')]
    if count < 0:
        return [(f"{at}.accelerator_count", f"The accelerator count must not be negative: {count}.")]
    if (accelerator == NO_TYPE) != (count == 0):
        # Google's own words, as users report them (prefect-gcp#175)
        text = "Both `accelerator_type` and `accelerator_count` should be specified or none."
        return [(f"{at}.accelerator_type", text)]
    tpu = _tpu(kind, accelerator, count, spec, at) if is_tpu(spec) else []
    return [*tpu, *_reservation(spec, at)]


def is_tpu(spec: Mapping[str, Any]) -> bool:
    return spec.get("machineType", "") in machines()["tpu"]["machines"]


def pair(spec: Mapping[str, Any], at: str) -> Violation | None:
    """A combination of machine and accelerator that does not exist."""
    kind, accelerator = spec.get("machineType", ""), spec.get("acceleratorType", NO_TYPE)
    count = spec.get("acceleratorCount", 0)
    if accelerator == NO_TYPE or is_tpu(spec):
        return None
    shapes = machines()["gpu"].get(accelerator, {}).get("machines", {})
    if kind not in shapes:
        # Google's own words, as users report them (vertex-ai-samples#213)
        text = f'Accelerator "{accelerator}" is not supported for machine type "{kind}".'
        return f"{at}.accelerator_type", text
    if count not in shapes[kind]:
        allowed = ", ".join(str(number) for number in shapes[kind])
        text = f'Machine type "{kind}" takes {allowed} accelerators of type {accelerator}, not {count}.'
        return f"{at}.accelerator_count", text
    return None


def strategy(
    scheduling: Mapping[str, Any], specs: Sequence[Mapping[str, Any]], at: str, longest: float
) -> list[Violation]:
    """What FLEX_START and SPOT forbid; `specs` are the machine specs of the pools that are not skipped."""
    wanted = scheduling.get("strategy", "")
    if wanted == "SPOT" and any(_is_pod(spec) for spec in specs):
        return [(f"{at}.strategy", "SPOT does not support TPU Pods.")]
    if wanted != "FLEX_START":
        return []
    violations = []
    if seconds(scheduling.get("timeout", "0s")) > longest:
        text = f"FLEX_START allows a timeout of at most {longest / 86400:g} days."
        violations.append((f"{at}.timeout", text))
    for accelerator in {spec.get("acceleratorType", NO_TYPE): None for spec in specs}:
        if not machines()["gpu"].get(accelerator, {}).get("flex_start"):
            violations.append(
                (f"{at}.strategy", f"FLEX_START does not support accelerator type {accelerator}.")
            )
    if len({_same(spec) for spec in specs}) > 1:
        text = "FLEX_START needs the same machine type and accelerators in all worker pools."
        violations.append((f"{at}.strategy", text))
    if any(affinity(spec) in ("ANY_RESERVATION", "SPECIFIC_RESERVATION") for spec in specs):
        violations.append((f"{at}.strategy", "FLEX_START cannot be used with reservations."))
    return violations


def affinity(spec: Mapping[str, Any]) -> str:
    """The type of the reservation affinity, empty where none is given."""
    return str(spec.get("reservationAffinity", {}).get("reservationAffinityType", ""))


def seconds(duration: str) -> float:
    return float(duration.removesuffix("s"))


def _offered(kind: str) -> bool:
    if kind in machines()["tpu"]["machines"]:
        return True
    found = MACHINE.fullmatch(kind)
    if found is None:
        return False
    family: Mapping[str, Any] | None = machines()["vcpus"].get(found[1])
    return family is None or int(found[3]) in family.get(found[2], ())


def _tpu(kind: str, accelerator: str, count: int, spec: Mapping[str, Any], at: str) -> list[Violation]:
    if kind != CLOUD_TPU:
        if accelerator != NO_TYPE:
            text = f'Machine type "{kind}" has its TPUs built in: leave accelerator_type and its count out.'
            return [(f"{at}.accelerator_type", text)]
        lacking = kind.startswith("ct5lp-") and not spec.get("tpuTopology")
        return [(f"{at}.tpu_topology", REQUIRED)] if lacking else []
    if accelerator not in CLOUD_TPU_TYPES:
        text = f'Machine type "{CLOUD_TPU}" takes {" or ".join(CLOUD_TPU_TYPES)}, not {accelerator}.'
        return [(f"{at}.accelerator_type", text)]
    if count != TPU_CORES and count % TPU_POD_CORES:
        text = (
            f"{accelerator} is taken {TPU_CORES} at a time, or in multiples of {TPU_POD_CORES}; not {count}."
        )
        return [(f"{at}.accelerator_count", text)]
    return []


def _is_pod(spec: Mapping[str, Any]) -> bool:
    return is_tpu(spec) and int(spec.get("acceleratorCount", 0)) > TPU_CORES


def _same(spec: Mapping[str, Any]) -> tuple[Any, ...]:
    return spec.get("machineType"), spec.get("acceleratorType"), spec.get("acceleratorCount")


def _reservation(spec: Mapping[str, Any], at: str) -> list[Violation]:
    kind = spec["machineType"]
    if "reservationAffinity" not in spec:
        if not kind.startswith(NEEDS_RESERVATION):
            return []
        return [
            (
                f"{at}.reservation_affinity",
                f'Machine type "{kind}" is only available by a shared reservation.',
            )
        ]
    here, wanted = f"{at}.reservation_affinity", spec["reservationAffinity"]
    chosen, key, values = affinity(spec), wanted.get("key", ""), wanted.get("values", [])
    if chosen in ("", "TYPE_UNSPECIFIED"):
        return [(f"{here}.reservation_affinity_type", REQUIRED)]
    if chosen != "SPECIFIC_RESERVATION":
        text = f"Only SPECIFIC_RESERVATION takes a key and values, not {chosen}."
        return [(f"{here}.key", text)] if key or values else []
    violations = []
    if key != RESERVATION_KEY:
        violations.append((f"{here}.key", f'The key of a specific reservation is "{RESERVATION_KEY}".'))
    if not values:
        violations.append((f"{here}.values", REQUIRED))
    text = "A reservation's name has the form projects/PROJECT/zones/ZONE/reservations/NAME."
    bad = [(f"{here}.values[{i}]", text) for i, name in enumerate(values) if not RESERVATION.fullmatch(name)]
    return violations + bad


def machines() -> Mapping[str, Any]:
    """The table of machines and accelerators."""
    return facts.table("machines.toml")
