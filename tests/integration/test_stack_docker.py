"""The real stack on a Docker engine: one URL for host and containers, and nothing left after `down`."""

from __future__ import annotations

import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from headway_launcher.stack import engine, lifecycle
from headway_launcher.stack.record import Record

if TYPE_CHECKING:
    from docker import DockerClient

pytestmark = pytest.mark.docker

IMAGE = "python:3.11-slim"
"""The base of the training images; `make base` provides it."""


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    root = tmp_path_factory.mktemp("state") / "local"
    yield root
    lifecycle.down(root, print)


@pytest.fixture
def record(root: Path) -> Record:
    return lifecycle.up(root, lifecycle.Wish(require_docker=True), print)


@pytest.fixture
def client() -> DockerClient:
    found = engine.find()
    assert isinstance(found, engine.Engine)
    return found.client


def test_a_container_reaches_both_servers_by_the_urls_of_the_record(
    record: Record, client: DockerClient
) -> None:
    script = "import sys, urllib.request as u; [print(u.urlopen(a, timeout=5).status) for a in sys.argv[1:]]"
    out = client.containers.run(
        IMAGE,
        ["python3", "-c", script, record.emulator_url, f"{record.mlflow_url}/health"],
        network=record.network,
        remove=True,
    )
    assert out.split() == [b"200", b"200"]


def test_the_page_of_mlflow_may_ask_its_own_server(record: Record) -> None:
    url = next(server.url for server in record.servers if server.name == "mlflow")
    request = urllib.request.Request(
        f"{url}/ajax-api/2.0/mlflow/runs/search",
        b'{"experiment_ids": ["0"]}',
        {"content-type": "application/json", "origin": url},
    )
    with urllib.request.urlopen(request, timeout=20) as reply:
        assert reply.status == 200


def test_down_ends_the_job_containers_and_removes_the_network(
    root: Path, record: Record, client: DockerClient
) -> None:
    job = client.containers.run(IMAGE, ["sleep", "300"], network=record.network, detach=True, init=True)
    stranger = client.containers.run(IMAGE, ["sleep", "300"], detach=True, init=True)
    try:
        lifecycle.down(root, print)

        assert job.id not in {container.id for container in client.containers.list(all=True)}
        assert client.networks.list(names=[record.network or ""]) == []
        stranger.reload()
        assert stranger.status == "running"
    finally:
        stranger.remove(force=True)


def test_up_after_down_has_the_same_urls(root: Path, record: Record) -> None:
    lifecycle.down(root, print)
    again = lifecycle.up(root, lifecycle.Wish(), print)
    assert (again.emulator_url, again.mlflow_url) == (record.emulator_url, record.mlflow_url)


def test_a_stack_of_processes_changes_over_only_when_asked(root: Path, record: Record) -> None:
    lifecycle.up(root, lifecycle.Wish(executor="process"), print)
    said: list[str] = []

    kept = lifecycle.up(root, lifecycle.Wish(), said.append)
    assert kept.executor == "process"
    assert said == [
        "the stack runs jobs as plain processes, and a Docker engine answers now: "
        "launch local up --executor docker changes over"
    ]

    changed = lifecycle.up(root, lifecycle.Wish(executor="docker"), said.append)
    assert changed.executor == "docker"
    assert said[-1] == "restarting the stack: its jobs ran by process, now by docker"
