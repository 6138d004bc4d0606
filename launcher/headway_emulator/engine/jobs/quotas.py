"""Quota of accelerators by region, as Vertex AI's custom training counts it, apart from Compute Engine's."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from fnmatch import fnmatchcase
from typing import Any

from headway_emulator.errors import ApiError

SERVICE = "aiplatform.googleapis.com"
METRICS: Mapping[str, str] = {
    "NVIDIA_TESLA_T4": "nvidia_t4_gpus",
    "NVIDIA_TESLA_P4": "nvidia_p4_gpus",
    "NVIDIA_TESLA_P100": "nvidia_p100_gpus",
    "NVIDIA_TESLA_V100": "nvidia_v100_gpus",
    "NVIDIA_L4": "nvidia_l4_gpus",
    "NVIDIA_RTX_PRO_6000": "nvidia_rtx_pro_6000_gpus",
    "NVIDIA_TESLA_A100": "nvidia_a100_gpus",
    "NVIDIA_A100_80GB": "nvidia_a100_80gb_gpus",
    "NVIDIA_H100_80GB": "nvidia_h100_gpus",
    "NVIDIA_H100_MEGA_80GB": "nvidia_h100_mega_gpus",
    "NVIDIA_H200_141GB": "nvidia_h200_gpus",
    "NVIDIA_B200": "nvidia_b200_gpus",
    "NVIDIA_GB200": "nvidia_gb200_gpus",
}
"""What follows custom_model_training_ in a metric's name (Google's page on quotas, November 2026)."""
PREEMPTIBLE = ("SPOT", "FLEX_START")
"""Strategies that count against the preemptible quota."""

Needs = Mapping[tuple[str, str], int]
"""Accelerators by region and metric."""


def names() -> Sequence[str]:
    """Every metric that is counted, without its service."""
    return [
        f"custom_model_training_{kind}{name}" for name in METRICS.values() for kind in ("", "preemptible_")
    ]


class Quotas:
    """Limits and what is in use; used from the loop's thread alone."""

    def __init__(self, limits: Sequence[Mapping[str, Any]]) -> None:
        """Each limit: `region` and `metric` as patterns, `limit` a number; the first that matches counts."""
        self._limits = tuple(limits)
        self._used: Counter[tuple[str, str]] = Counter()
        self._held: dict[str, Needs] = {}

    def refuse_what_never_fits(self, region: str, spec: Mapping[str, Any]) -> None:
        """RESOURCE_EXHAUSTED for a job that exceeds a limit by itself, in Google's words."""
        beyond = [
            metric
            for (_, metric), count in needs(region, spec).items()
            if count > self._limit(region, metric)
        ]
        if beyond:
            raise exceeded(beyond)

    def admit(self, name: str, region: str, spec: Mapping[str, Any]) -> bool:
        """Take what the job needs; False, and nothing taken, where it is not left."""
        wanted = needs(region, spec)
        if name in self._held:
            return True
        if any(self._used[key] + count > self._limit(*key) for key, count in wanted.items()):
            return False
        self._used.update(wanted)
        self._held[name] = wanted
        return True

    def release(self, name: str) -> None:
        for key, count in self._held.pop(name, {}).items():
            self._used[key] -= count

    def _limit(self, region: str, metric: str) -> float:
        return limit_of(self._limits, region, metric)


def limit_of(limits: Sequence[Mapping[str, Any]], region: str, metric: str) -> float:
    """What the first limit that fits says, infinity where none does."""
    for limit in limits:
        short = metric.removeprefix(f"{SERVICE}/")
        pattern = str(limit.get("metric", "*")).removeprefix(f"{SERVICE}/")
        if fnmatchcase(region, str(limit.get("region", "*"))) and fnmatchcase(short, pattern):
            return float(limit["limit"])
    return float("inf")


def needs(region: str, spec: Mapping[str, Any]) -> Needs:
    """Accelerators of all pools by the metric that counts them; TPUs are not counted."""
    kind = "preemptible_" if spec.get("scheduling", {}).get("strategy") in PREEMPTIBLE else ""
    found: Counter[tuple[str, str]] = Counter()
    for pool in spec.get("workerPoolSpecs", []):
        machine = pool.get("machineSpec", {})
        if metric := METRICS.get(machine.get("acceleratorType", "")):
            count = int(machine.get("acceleratorCount", 0)) * int(pool.get("replicaCount", 0))
            found[(region, f"{SERVICE}/custom_model_training_{kind}{metric}")] += count
    return found


def exceeded(metrics: Sequence[str]) -> ApiError:
    """The 429 that users have reported, word for word."""
    return ApiError(
        "RESOURCE_EXHAUSTED", f"The following quota metrics exceed quota limits: {','.join(metrics)}"
    )
