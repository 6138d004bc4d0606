"""The distributed environment, as Lightning's own LightningEnvironment reads it."""

from __future__ import annotations

import json

import pytest

from headway.errors import InputError
from headway.runtime.cluster import Cluster


def _spec(pool: str, index: int) -> dict[str, str]:
    cluster = {
        "workerpool0": ["chief-0:2222"],
        "workerpool1": ["worker-0:2222", "worker-1:2222"],
    }
    return {"CLUSTER_SPEC": json.dumps({"cluster": cluster, "task": {"type": pool, "index": index}})}


@pytest.mark.parametrize(("pool", "index", "rank"), [("workerpool0", 0, 0), ("workerpool1", 1, 2)])
def test_nodes_are_counted_through_the_pools(pool: str, index: int, rank: int) -> None:
    assert Cluster.of(_spec(pool, index)) == Cluster(rank, 3, "chief-0", 2222)


def test_only_the_first_node_is_the_chief() -> None:
    assert Cluster.of(_spec("workerpool0", 0)).is_chief
    assert not Cluster.of(_spec("workerpool1", 0)).is_chief


def test_lightning_gets_node_rank_and_is_not_misled_by_the_platforms_ranks() -> None:
    # the platform's RANK and WORLD_SIZE count nodes, Lightning's count processes
    variables = {"RANK": "1", "WORLD_SIZE": "3", "LOCAL_RANK": "0", "PATH": "/bin"}
    Cluster.of(_spec("workerpool1", 0)).apply(variables)
    assert variables == {"PATH": "/bin", "MASTER_ADDR": "chief-0", "MASTER_PORT": "2222", "NODE_RANK": "1"}


def test_one_node_needs_no_address() -> None:
    variables = {"RANK": "0", "WORLD_SIZE": "1"}
    single = {"cluster": {"workerpool0": ["chief-0:2222"]}, "task": {"type": "workerpool0", "index": 0}}
    Cluster.of({"CLUSTER_SPEC": json.dumps(single)}).apply(variables)
    assert variables == {}
    assert Cluster.of({}) == Cluster()


@pytest.mark.parametrize(
    "text", ["{", '{"cluster": {}}', '{"cluster": {}, "task": {"type": "x", "index": 0}}']
)
def test_a_spec_that_cannot_be_read_is_said(text: str) -> None:
    with pytest.raises(InputError, match="CLUSTER_SPEC is not what Vertex AI sets"):
        Cluster.of({"CLUSTER_SPEC": text})
