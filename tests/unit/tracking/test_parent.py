"""The parent of a sweep's trials: one, however many make it at once and whatever their clocks say."""

from __future__ import annotations

import random
import re
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from headway.errors import NotFound, RemoteError
from headway.spec.layout import BucketLayout
from headway.tracking.mlflow_server import Document, MlflowServer
from headway.tracking.parent import Parent, Parents

SWEEP = "tiny-sweep-1a2b3c4d"
LAYOUT = BucketLayout("acme")


class Bucket:
    """Objects that are written once."""

    def __init__(self) -> None:
        self.objects: dict[str, bytes] = {}
        self._lock = threading.Lock()

    def read(self, name: str) -> bytes:
        if name not in self.objects:
            raise NotFound(name)
        return self.objects[name]

    def write(self, name: str, data: bytes, *, only_if_absent: bool = False, content_type: str = "") -> bool:
        with self._lock:
            if only_if_absent and name in self.objects:
                return False
            self.objects[name] = data
            return True


class Mlflow(MlflowServer):
    """A server in memory: runs as they were created, found by their start as MLflow's are."""

    def __init__(self) -> None:
        super().__init__("http://mlflow", {})
        self.runs: dict[str, dict[str, Any]] = {}
        self.experiment: str | None = None
        self.before: Callable[[str], None] = lambda path: None

    def left(self) -> list[str]:
        return [run for run, told in self.runs.items() if told["lifecycle_stage"] == "active"]

    def _once(self, method: str, path: str, values: Any) -> Document:
        self.before(path)
        name = path.replace("/", "_").replace("-", "_")
        answer: Document = getattr(self, f"_{name}")(values)
        return answer

    def _experiments_get_by_name(self, values: Any) -> Document:
        if self.experiment is None:
            raise NotFound("no experiment")
        return {"experiment": {"experiment_id": "7"}}

    def _experiments_create(self, values: Any) -> Document:
        if self.experiment is not None:
            raise RemoteError("it exists")
        self.experiment = values["name"]
        return {"experiment_id": "7"}

    def _runs_create(self, values: Any) -> Document:
        run = f"{random.getrandbits(128):032x}"
        told = {"run_id": run, "experiment_id": "7", "lifecycle_stage": "active"}
        self.runs[run] = {**told, "start_time": values["start_time"], "name": values["run_name"]}
        return {"run": {"info": self.runs[run]}}

    def _runs_search(self, values: Any) -> Document:
        (name,) = re.findall("'(.*)'", values["filter"])
        found = [each for each in list(self.runs.values()) if each["name"] == name]
        found = [each for each in found if each["lifecycle_stage"] == "active"]
        found.sort(key=lambda each: (each["start_time"], each["run_id"]))
        return {"runs": [{"info": each} for each in found[:1]]}

    def _runs_get(self, values: Any) -> Document:
        if values["run_id"] not in self.runs:
            raise NotFound("no run")
        return {"run": {"info": self.runs[values["run_id"]]}}

    def _runs_delete(self, values: Any) -> Document:
        self.runs[values["run_id"]]["lifecycle_stage"] = "deleted"
        return {}


def parents(server: Mlflow, bucket: Bucket) -> Parents:
    return Parents(SWEEP, "tiny", server, LAYOUT, bucket)


@pytest.mark.parametrize("skew", [-3600, 0, 3600], ids=["behind", "equal", "ahead"])
def test_a_maker_whose_clock_is_another_agrees_with_one_that_was_done_before(
    skew: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The second looks and finds none; the first makes its own, looks again, and is done; then the second."""
    server, bucket = Mlflow(), Bucket()
    first: list[Parent] = []
    real = time.time

    def once(path: str) -> None:
        if path == "runs/create":
            server.before = lambda _: None
            monkeypatch.setattr(time, "time", real)
            first.append(parents(server, bucket).obtain())

    server.before = once
    monkeypatch.setattr(time, "time", lambda: real() + skew)
    second = parents(server, bucket).obtain()
    assert [second] == first
    assert server.left() == [second.run]
    assert parents(server, bucket).find() == second


@pytest.mark.parametrize("seed", range(8))
def test_makers_at_once_with_clocks_of_their_own_agree_on_one(
    seed: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    server, bucket, chance = Mlflow(), Bucket(), random.Random(seed)
    local = threading.local()
    real, sleep = time.time, time.sleep
    monkeypatch.setattr(time, "time", lambda: real() + getattr(local, "skew", 0))
    server.before = lambda path: sleep(chance.random() * 0.004)

    def make(skew: float) -> Parent:
        local.skew = skew
        return parents(server, bucket).obtain()

    with ThreadPoolExecutor(6) as pool:
        found = list(pool.map(make, [chance.uniform(-600, 600) for _ in range(6)]))
    assert len(set(found)) == 1
    assert server.left() == [found[0].run]


def test_one_that_was_made_and_not_agreed_on_yet_is_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its maker was killed, or is of an earlier version, which knew no records."""
    server, bucket = Mlflow(), Bucket()
    server.experiment = "tiny"
    made = server._runs_create({"start_time": 1, "run_name": SWEEP})["run"]["info"]["run_id"]
    assert parents(server, bucket).find() == Parent("7", made)
    assert parents(server, bucket).obtain() == Parent("7", made)
    assert server.left() == [made]


def test_one_that_was_deleted_has_a_successor_that_all_agree_on() -> None:
    server, bucket = Mlflow(), Bucket()
    assert parents(server, bucket).find() is None
    first = parents(server, bucket).obtain()
    server._runs_delete({"run_id": first.run})
    assert parents(server, bucket).find() is None
    second = parents(server, bucket).obtain()
    assert second != first
    assert parents(server, bucket).obtain() == parents(server, bucket).find() == second
    del server.runs[second.run]  # for good
    assert parents(server, bucket).obtain() not in (first, second)


def test_a_record_that_cannot_be_read_is_passed_over() -> None:
    server, bucket = Mlflow(), Bucket()
    bucket.objects[LAYOUT.sweep_parent(SWEEP, 1)] = b"[]"
    assert parents(server, bucket).obtain() == parents(server, bucket).find()


def test_a_parent_that_is_deleted_each_time_comes_to_an_end() -> None:
    server, bucket = Mlflow(), Bucket()

    def delete_all(path: str) -> None:
        for run in server.left():
            server._runs_delete({"run_id": run})

    server.before = delete_all
    with pytest.raises(RemoteError, match="was deleted from MLflow"):
        parents(server, bucket).obtain()
