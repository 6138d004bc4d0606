"""Which node of the cluster this is, and the environment that Lightning's own LightningEnvironment reads."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass

from headway.errors import InputError

CLUSTER_VARIABLE = "CLUSTER_SPEC"

MISLEADING = ("RANK", "WORLD_SIZE", "LOCAL_RANK", "GROUP_RANK", "LOCAL_WORLD_SIZE")
"""The platform's RANK and WORLD_SIZE count nodes; Lightning takes them for processes, and starts none itself
where LOCAL_RANK is set."""


@dataclass(frozen=True)
class Cluster:
    """Nodes that train together: this one's rank, their number, and the first one's address."""

    rank: int = 0
    nodes: int = 1
    address: str = "127.0.0.1"
    port: int | None = None

    @classmethod
    def of(cls, environment: Mapping[str, str]) -> Cluster:
        """Read CLUSTER_SPEC as Vertex AI sets it on each replica; without it, one node.

        Ranks go through the pools in order: workerpool0 is the chief, workerpool1 the workers.
        Raises InputError where it cannot be read.
        """
        text = environment.get(CLUSTER_VARIABLE)
        if not text:
            return cls()
        try:
            spec = json.loads(text)
            pools = {name: hosts for name, hosts in sorted(spec["cluster"].items()) if hosts}
            task = spec["task"]
            before = sum(len(hosts) for name, hosts in pools.items() if name < task["type"])
            address, _, port = next(iter(pools.values()))[0].rpartition(":")
            nodes = sum(len(hosts) for hosts in pools.values())
            return cls(before + int(task["index"]), nodes, address, int(port))
        except (ValueError, KeyError, TypeError, StopIteration, IndexError) as error:
            raise InputError(f"{CLUSTER_VARIABLE} is not what Vertex AI sets: {text[:200]}") from error

    @property
    def is_chief(self) -> bool:
        """The node that tracks, uploads and writes the status."""
        return self.rank == 0

    def apply(self, environment: dict[str, str]) -> None:
        """Set MASTER_ADDR, MASTER_PORT and NODE_RANK for several nodes; remove what misleads Lightning."""
        for name in MISLEADING:
            environment.pop(name, None)
        if self.nodes > 1:
            environment["MASTER_ADDR"] = self.address
            environment["MASTER_PORT"] = str(self.port)
            environment["NODE_RANK"] = str(self.rank)
