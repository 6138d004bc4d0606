"""From a CustomJob to its replicas: their tasks, and the environment that Vertex AI gives each.

Source of the variables: Google's custom training documentation and users' reports, read in November 2026.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from headway_emulator import authority, environment
from headway_emulator.engine.executors.protocol import Replica
from headway_emulator.settings import Settings

PRIMARY = "workerpool0-0"
TF_ROLES = ("chief", "worker", "ps", "evaluator")
"""The TF_CONFIG name of each pool, by its index."""


def tasks(spec: Mapping[str, Any]) -> list[tuple[int, int]]:
    """(pool, index) of every replica, the primary first; a skipped pool has none."""
    return [
        (pool, index)
        for pool, worker_pool in enumerate(spec["workerPoolSpecs"])
        for index in range(int(worker_pool.get("replicaCount", 0)))
    ]


def task_name(pool: int, index: int) -> str:
    return f"workerpool{pool}-{index}"


@dataclass(frozen=True)
class Work:
    """A job as its replicas see it: `trial` is a tuning job's, `extra` are variables of its own."""

    job: str
    region: str
    spec: Mapping[str, Any]
    addresses: Mapping[str, str]
    trial: str = ""
    extra: Mapping[str, str] = field(default_factory=dict)


def replica(settings: Settings, work: Work, task: str, launch: int) -> Replica:
    """One replica with its complete environment."""
    at = next(at for at in tasks(work.spec) if task_name(*at) == task)
    pool = work.spec["workerPoolSpecs"][at[0]]
    container = pool["containerSpec"]
    machine = pool.get("machineSpec", {})
    given = {variable["name"]: variable.get("value", "") for variable in container.get("env", [])}
    wiring = environment.of_job(settings, authority.of(settings.state).bundle())
    env = {
        **given,
        **_output_folders(work),
        **_cluster(work, at),
        "CLOUD_ML_JOB_ID": work.job,
        "CLOUD_ML_PROJECT_ID": settings.project_number,
        "CLOUD_ML_REGION": work.region,
        "HOSTNAME": work.addresses[task].split(":")[0],
        **work.extra,
        **wiring.set,
    }
    return Replica(
        job=work.job,
        task=task,
        image=container["imageUri"],
        command=tuple(container.get("command", ())),
        args=tuple(container.get("args", ())),
        env=env,
        launch=launch,
        mounts=wiring.mounts,
        machine=str(machine.get("machineType", "")),
        accelerators=int(machine.get("acceleratorCount", 0)),
        companions=len(tasks(work.spec)) - 1,
    )


def _output_folders(work: Work) -> dict[str, str]:
    base = work.spec.get("baseOutputDirectory", {}).get("outputUriPrefix", "").rstrip("/")
    if not base:
        return {}
    if work.trial:
        base = f"{base}/{work.trial}"
    return {
        "AIP_MODEL_DIR": f"{base}/model/",
        "AIP_CHECKPOINT_DIR": f"{base}/checkpoints/",
        "AIP_TENSORBOARD_LOG_DIR": f"{base}/logs/",
    }


def _cluster(work: Work, at: tuple[int, int]) -> dict[str, str]:
    """CLUSTER_SPEC on every replica, TF_CONFIG where there are several, and the node's rank."""
    everyone = tasks(work.spec)
    pools: dict[str, list[str]] = {}
    roles: dict[str, list[str]] = {}
    for pool, index in everyone:
        address = work.addresses[task_name(pool, index)]
        pools.setdefault(f"workerpool{pool}", []).append(address)
        roles.setdefault(TF_ROLES[pool], []).append(address)
    task: dict[str, Any] = {"type": f"workerpool{at[0]}", "index": at[1]}
    if work.trial:
        task["trial"] = work.trial
    cluster = {"cluster": pools, "environment": "cloud", "task": task, "job": dict(work.spec)}
    env = {
        "CLUSTER_SPEC": json.dumps(cluster),
        "RANK": str(everyone.index(at)),
        "WORLD_SIZE": str(len(everyone)),
    }
    if len(everyone) > 1:
        role = {"type": TF_ROLES[at[0]], "index": at[1]}
        env["TF_CONFIG"] = json.dumps({"cluster": roles, "task": role, "environment": "cloud"})
    return env
