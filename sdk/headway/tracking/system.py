"""What the machine does, under the names of MLflow's own system metrics, so that its page shows them."""

from __future__ import annotations

import importlib
from contextlib import suppress
from pathlib import Path
from typing import Any

_MB = 1e6


class Machine:
    """Samples cpu, memory, disk, network and, where NVIDIA's library is there, each GPU."""

    def __init__(self, folder: Path) -> None:
        import psutil

        self._psutil = psutil
        self._folder = str(folder)
        self._network = psutil.net_io_counters()
        self._gpus = _gpus()
        psutil.cpu_percent()

    def sample(self) -> dict[str, float]:
        """Percentages, and megabytes (10^6 bytes); network since the start."""
        memory, disk = self._psutil.virtual_memory(), self._psutil.disk_usage(self._folder)
        values = {
            "system/cpu_utilization_percentage": self._psutil.cpu_percent(),
            "system/system_memory_usage_percentage": memory.percent,
            "system/system_memory_usage_megabytes": round(memory.used / _MB, 1),
            "system/disk_usage_percentage": disk.percent,
            "system/disk_available_megabytes": round(disk.free / _MB, 1),
        }
        network = self._psutil.net_io_counters()
        if network is not None and self._network is not None:
            received = network.bytes_recv - self._network.bytes_recv
            sent = network.bytes_sent - self._network.bytes_sent
            values["system/network_receive_megabytes"] = round(received / _MB, 3)
            values["system/network_transmit_megabytes"] = round(sent / _MB, 3)
        for number, (nvml, gpu) in enumerate(self._gpus):
            # a slice of a GPU (MIG) has no utilization; what a driver does not say is left out
            with suppress(nvml.NVMLError):
                used = nvml.nvmlDeviceGetMemoryInfo(gpu)
                values[f"system/gpu_{number}_memory_usage_megabytes"] = round(used.used / _MB, 1)
                percent = 100 * used.used / used.total
                values[f"system/gpu_{number}_memory_usage_percentage"] = round(percent, 1)
                utilization = nvml.nvmlDeviceGetUtilizationRates(gpu).gpu
                values[f"system/gpu_{number}_utilization_percentage"] = utilization
        return values


def _gpus() -> list[tuple[Any, Any]]:
    try:
        pynvml = importlib.import_module("pynvml")
    except ImportError:
        return []
    try:
        pynvml.nvmlInit()
        return [(pynvml, pynvml.nvmlDeviceGetHandleByIndex(n)) for n in range(pynvml.nvmlDeviceGetCount())]
    except pynvml.NVMLError:
        return []
