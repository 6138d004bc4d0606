"""Samples of the machine, with GPUs that say more and less."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import pytest

from headway.tracking import system


class NVMLError(Exception):
    """As pynvml's."""


def _no_utilization(_: object) -> object:
    raise NVMLError("Not Supported")


NVML = SimpleNamespace(
    NVMLError=NVMLError,
    nvmlDeviceGetMemoryInfo=lambda _: SimpleNamespace(used=4_000_000, total=16_000_000),
    nvmlDeviceGetUtilizationRates=_no_utilization,
)


def test_a_slice_of_a_gpu_has_its_memory_sampled(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(system, "_gpus", lambda: [(NVML, object())])
    sample = system.Machine(tmp_path).sample()
    assert sample["system/gpu_0_memory_usage_megabytes"] == 4.0
    assert sample["system/gpu_0_memory_usage_percentage"] == 25.0
    assert "system/gpu_0_utilization_percentage" not in sample
    assert 0 <= sample["system/disk_usage_percentage"] <= 100
