"""Replicas that a test ends by signals, on either executor: found among this machine's processes."""

from __future__ import annotations

import json
import signal
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import psutil

PROGRAM = """
import os, signal, sys, time
code = lambda number: lambda *_: os._exit(number)
signal.signal(signal.SIGUSR1, code(0))
signal.signal(signal.SIGUSR2, code(139))
signal.signal(signal.SIGHUP, code(1))
if 'stubborn' in sys.argv: signal.signal(signal.SIGTERM, signal.SIG_IGN)
else: signal.signal(signal.SIGTERM, code(143))
print('ready', flush=True)
while True: time.sleep(0.1)
"""
SIGNALS = {0: signal.SIGUSR1, 139: signal.SIGUSR2, 1: signal.SIGHUP}
"""Exit code to the signal that makes a replica end with it."""


def walking_job(
    token: str,
    counts: Sequence[int],
    scheduling: dict[str, Any],
    *,
    image: str,
    accelerator: str = "",
    stubborn: bool = False,
) -> dict[str, Any]:
    """A CustomJob whose replicas run until they are signalled; `token` marks them."""
    machine: dict[str, Any] = {"machine_type": "n1-standard-4"}
    if accelerator:
        machine = {"machine_type": "a2-highgpu-1g", "accelerator_type": accelerator, "accelerator_count": 1}
    pools = [
        {
            "machine_spec": machine,
            "replica_count": count,
            "container_spec": {
                "image_uri": image,
                "command": ["python3", "-c", PROGRAM],
                "args": [token, f"pool{pool}", *(["stubborn"] if stubborn else [])],
            },
        }
        for pool, count in enumerate(counts)
    ]
    spec: dict[str, Any] = {"worker_pool_specs": pools}
    if scheduling:
        spec["scheduling"] = scheduling
    return {"display_name": token, "job_spec": spec}


def replicas(token: str) -> dict[str, psutil.Process]:
    """The running replicas that carry this token, by task; those of one pool in the order of their rank."""
    found: dict[str, psutil.Process] = {}
    for process in psutil.process_iter():
        try:
            words = process.cmdline()
            if token not in words or process.status() == psutil.STATUS_ZOMBIE or PROGRAM not in words:
                continue
            task = json.loads(process.environ()["CLUSTER_SPEC"])["task"]
            if _listens(process.pid):
                found[f"{task['type']}-{task['index']}"] = process
        except (psutil.Error, KeyError, OSError):
            continue
    return found


def _listens(pid: int) -> bool:
    """Whether it has told the kernel what to do at SIGTERM, which is the last that it sets up."""
    bit = 1 << (signal.SIGTERM - 1)
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    masks = [int(line.split()[1], 16) for line in lines if line.startswith(("SigCgt", "SigIgn"))]
    return any(mask & bit for mask in masks)


def has_ended(process: psutil.Process) -> bool:
    """Its container's engine needs some time more, which a step of the clock waits for."""
    try:
        return process.status() == psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return True


def all_replicas(prefix: str) -> list[str]:
    """The tokens of every replica on this machine whose token begins so."""
    found = []
    for process in psutil.process_iter():
        try:
            words = process.cmdline()
        except psutil.Error:
            continue
        if PROGRAM in words and words[words.index(PROGRAM) + 1].startswith(prefix):
            found.append(words[words.index(PROGRAM) + 1])
    return found
