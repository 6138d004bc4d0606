"""After training: evaluations in processes of their own, gates, and an alias that moves or stays."""

from __future__ import annotations

import json
import os
import signal
import threading
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

import pytest

from headway.errors import NotFound, RemoteError
from headway.runtime import job, promotion, publish, supervise
from headway.runtime.promotion import table
from headway.spec.promotion import Promoted, Promotion
from headway.tracking import mlflow_sink
from headway.tracking.registry import Version
from tests.unit.runtime.world import RUN, World, put_folder
from tests.unit.tracking.memory import MemorySink

SDK = {"SDK": str(Path(job.__file__).parents[2])}
TRAIN = """
import json, os, pathlib, sys

def train():
    pathlib.Path(os.environ["HEADWAY_MODEL"], "model.json").write_text(sys.argv[1])

def evaluate(model, data):
    print("evaluating", model.name, "on", data.name)
    assert "HEADWAY_RUN_ID" not in os.environ and "MASTER_ADDR" not in os.environ
    pathlib.Path(os.environ["HEADWAY_OUTPUTS"], "seen.txt").write_text(data.joinpath("a.txt").read_text())
    return json.loads(model.read_text())

def breaks(model, data):
    raise ValueError("layer 3 does not fit")

def leaves_late(model, data):
    import atexit, threading, time
    late = pathlib.Path(os.environ["HEADWAY_OUTPUTS"])
    threading.Thread(target=lambda: (time.sleep(0.3), (late / "thread.txt").write_text("a"))).start()
    atexit.register(lambda: (late / "exit.txt").write_text("b"))
    print("the last line", end="")
    return {"acc": 0.9}

def dies(model, data):
    os.kill(os.getpid(), 9)

def lies(model, data):
    return {"acc": "high"}

def sleeps(model, data):
    import time
    pathlib.Path("evaluating").write_text("")
    time.sleep(60)

if __name__ == "__main__":
    train()
"""


class MemoryRegistry:
    """Versions and one alias in memory."""

    def __init__(self) -> None:
        self.aliases: dict[str, str] = {}
        self.tags: dict[str, dict[str, str]] = {"1": {}}
        self.done: list[str] = []
        self.on_look: list[str | None] = []
        """What the alias becomes at the next looks, before they are answered."""
        self.fails = False

    def holder(self, name: str, alias: str) -> str | None:
        if self.fails:
            raise RemoteError("the MLflow server does not answer")
        if self.on_look and (moved := self.on_look.pop(0)):
            self.aliases[alias] = moved
        return self.aliases.get(alias)

    def version(self, name: str, version: str) -> Version:
        if version not in self.tags:
            raise NotFound(f"no version {version}")
        return Version(name, version, None, self.tags[version])

    def tag(self, name: str, version: str, tags: Mapping[str, str]) -> None:
        self.tags.setdefault(version, {}).update(tags)
        self.done.append(f"tag {version} {' '.join(tags)}")

    def move(self, name: str, alias: str, version: str) -> None:
        self.aliases[alias] = version
        self.done.append(f"move {version}")

    def champion(self, world: World, version: str, metrics: Mapping[str, float]) -> None:
        """An earlier run's model, which has the alias."""
        world.store.write(f"headway/runs/old-{version}/model/model.json", json.dumps(metrics).encode())
        self.tags[version] = {"headway.model": f"gs://bucket/headway/runs/old-{version}/model/model.json"}
        self.aliases["champion"] = version


class Gated(World):
    """A world whose run is registered as version 1 and wants to be champion."""

    def __init__(self, root: Path) -> None:
        super().__init__(root)
        self.registry = MemoryRegistry()
        self.artifacts: list[str] = []

    def run(
        self, metrics: Mapping[str, float], *, evaluate: str = "train:evaluate", **section: object
    ) -> Promoted:
        holdout = put_folder(self.store, "data/holdout", {"a.txt": "held out"})
        slices = {"max_regression": {"slice/*": 0.02}} if "slice/a" in metrics else {}
        gates = {"better_than": "champion", **slices, **section}
        promote = Promotion.model_validate(
            {"metric": "acc", "on": "data/holdout", "evaluate": evaluate, **gates}
        ).pin()
        argv = [json.dumps(dict(metrics))]
        self.submit({"train.py": TRAIN}, argv=argv, data=[holdout], register="digits", promote=promote)
        assert job.run(self.container(MASTER_ADDR="10.0.0.1")) == 0
        status = self.status
        assert (status.phase, status.error, status.model_uri is None) == ("done", None, False)
        assert status.promotion is not None
        return status.promotion


@pytest.fixture
def world(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Gated:
    gated = Gated(tmp_path)
    monkeypatch.setattr(supervise, "sinks", lambda *_: [MemorySink()])
    monkeypatch.setattr(publish, "LOOK_S", 0.05)
    monkeypatch.setattr(promotion, "registry", lambda *_: gated.registry)

    def log_files(uri: str, run_id: str, files: Sequence[Path], root: Path, folder: str) -> None:
        gated.artifacts += [f"{folder}/{file.relative_to(root)}" for file in files]

    monkeypatch.setattr(mlflow_sink, "log_files", log_files)
    return gated


def test_the_first_model_becomes_champion_where_its_gates_pass(world: Gated) -> None:
    result = world.run({"acc": 0.9, "slice/a": 0.8}, min=0.85)
    assert (result.outcome, result.reason) == ("promoted", "version 1 is champion now, the first one")
    assert world.registry.aliases == {"champion": "1"}
    assert world.registry.tags["1"]["headway.replaced"] == ""
    assert world.registry.tags["1"]["headway.promoted_by"] == RUN
    assert world.registry.tags["1"]["headway.promotion"].startswith("promoted: ")
    assert world.registry.done[:2] == ["tag 1 headway.replaced headway.promoted_by", "move 1"]
    assert world.objects("outputs/")["evaluation/challenger/seen.txt"] == b"held out"


def test_a_better_model_takes_over_and_the_comparison_is_kept(world: Gated) -> None:
    world.registry.champion(world, "7", {"acc": 0.9, "slice/a": 0.8})
    result = world.run({"acc": 0.95, "slice/a": 0.79})
    assert (result.outcome, result.champion) == ("promoted", "7")
    assert world.registry.tags["1"]["headway.replaced"] == "7"
    assert [gate.passed for gate in result.gates] == [True, True]
    kept = Promoted.model_validate_json(world.objects("outputs/")["promotion.json"])
    assert kept == result
    assert kept.challenger_metrics == {"acc": 0.95, "slice/a": 0.79}
    assert kept.md5 is not None
    assert result.table == f"gs://bucket/headway/runs/{RUN}/outputs/promotion.md"
    text = world.objects("outputs/")["promotion.md"].decode()
    assert text == table(RUN, kept)
    assert "| better_than | acc |  | 0.95 | 0.9 | yes | 0.95, the champion has 0.9 |" in text
    assert world.artifacts == ["promotion/promotion.json", "promotion/promotion.md"]


@pytest.mark.parametrize(
    ("metrics", "why"),
    [
        ({"acc": 0.90, "slice/a": 0.9}, "better_than of acc: 0.9, the champion has 0.9"),
        ({"acc": 0.99, "slice/a": 0.7}, "max_regression of slice/a: 0.7, the champion has 0.8"),
        ({"acc": float("nan"), "slice/a": 0.9}, "better_than of acc: evaluate gave no finite acc"),
        ({"f1": 0.99, "slice/a": 0.9}, "evaluate gave no finite acc; it gave f1, slice/a"),
    ],
)
def test_a_model_that_does_not_pass_is_refused_with_the_gate(
    world: Gated, metrics: dict[str, float], why: str
) -> None:
    world.registry.champion(world, "7", {"acc": 0.9, "slice/a": 0.8})
    result = world.run(metrics)
    assert result.outcome == "refused"
    assert why in result.reason
    assert world.registry.aliases == {"champion": "7"}
    assert "headway.replaced" not in world.registry.tags["1"]
    assert world.registry.tags["1"]["headway.promotion"].startswith("refused: ")
    assert json.loads(world.objects("outputs/")["promotion.json"])["outcome"] == "refused"


@pytest.mark.parametrize(
    ("function", "why"),
    [
        ("breaks", "train:breaks of the challenger failed: ValueError: layer 3 does not fit"),
        ("dies", "exit code 137 (SIGKILL: killed, often for want of memory) and gave no metrics"),
        ("lies", "gave 'high' for acc, which is no number"),
        ("absent", "train has no function absent"),
    ],
)
def test_an_evaluation_that_fails_leaves_the_run_a_success_and_says_what_happened(
    world: Gated, function: str, why: str, capfd: pytest.CaptureFixture[str]
) -> None:
    world.registry.champion(world, "7", {"acc": 0.9})
    result = world.run({"acc": 0.95}, evaluate=f"train:{function}")
    assert result.outcome == "failed"
    assert why in result.reason
    assert world.registry.aliases == {"champion": "7"}
    assert world.status.exit_code == 0
    assert any(why in warning for warning in world.status.warnings)
    if function == "breaks":
        assert "ValueError: layer 3 does not fit" in capfd.readouterr().err


def test_what_an_evaluation_does_at_its_end_is_done(world: Gated) -> None:
    assert world.run({"acc": 0.95}, evaluate="train:leaves_late").outcome == "promoted"
    kept = world.objects("outputs/evaluation/challenger/")
    assert kept == {"thread.txt": b"a", "exit.txt": b"b"}


def test_an_evaluation_has_a_deadline(world: Gated) -> None:
    started = time.monotonic()
    result = world.run({"acc": 0.95}, evaluate="train:sleeps", timeout=1)
    assert result.reason.startswith("train:sleeps of the challenger was not done after 1 s")
    assert time.monotonic() - started < 20


def test_a_signal_ends_the_evaluation_and_not_the_runs_success(world: Gated) -> None:
    phases: list[str] = []

    def send() -> None:
        deadline = time.monotonic() + 20
        while not (world.folders.code / "evaluating").exists() and time.monotonic() < deadline:
            time.sleep(0.02)
        while "evaluating" not in phases and time.monotonic() < deadline:
            phases.append(world.status.phase)  # the heartbeat goes on
            time.sleep(0.02)
        os.kill(os.getpid(), signal.SIGTERM)

    sender = threading.Thread(target=send)
    sender.start()
    result = world.run({"acc": 0.95}, evaluate="train:sleeps")
    sender.join()
    assert "evaluating" in phases
    assert (result.outcome, result.reason) == (
        "failed",
        "train:sleeps of the challenger was stopped by SIGTERM",
    )


def test_a_champion_that_cannot_be_evaluated_blocks_promotion(world: Gated) -> None:
    world.registry.champion(world, "7", {"acc": 0.9})
    world.registry.tags["7"] = {"headway.model": "gs://bucket/headway/runs/old-7/gone/"}
    result = world.run({"acc": 0.95})
    assert result.outcome == "failed"
    assert "the champion, version 7, could not be evaluated: there is nothing at gs://" in result.reason
    assert result.challenger_metrics == {"acc": 0.95}


def test_a_champion_that_no_run_registered_says_what_is_missing(world: Gated) -> None:
    world.registry.aliases["champion"], world.registry.tags["3"] = "3", {}
    assert "it has no tag headway.model" in world.run({"acc": 0.95}).reason


def test_a_champion_may_be_a_folder(world: Gated) -> None:
    world.store.write("old/model/deep/", b"")  # as gcsfuse and the console leave one for a folder
    world.store.write("old/model/deep/weights.json", b"{}")
    world.registry.aliases["champion"] = "3"
    world.registry.tags["3"] = {"headway.model": "gs://bucket/old/model/"}
    result = world.run({"acc": 0.95})
    assert "train:evaluate of the champion failed: IsADirectoryError" in result.reason
    assert (world.folders.champion / "deep" / "weights.json").read_text() == "{}"


def test_a_champion_that_came_meanwhile_must_be_surpassed_too(world: Gated) -> None:
    world.registry.champion(world, "9", {"acc": 0.99})
    world.registry.champion(world, "7", {"acc": 0.9})
    world.registry.on_look = [None, "9"]
    result = world.run({"acc": 0.95})
    assert (result.outcome, result.champion) == ("refused", "9")
    assert world.registry.aliases == {"champion": "9"}
    assert "move 1" not in world.registry.done


def test_an_alias_that_moves_while_the_new_version_is_tagged_is_not_taken_away(
    world: Gated, monkeypatch: pytest.MonkeyPatch
) -> None:
    world.registry.champion(world, "9", {"acc": 0.99})
    world.registry.champion(world, "7", {"acc": 0.9})
    tag = world.registry.tag

    def meanwhile(name: str, version: str, tags: Mapping[str, str]) -> None:
        tag(name, version, tags)
        if "headway.replaced" in tags:
            world.registry.aliases["champion"] = "9"

    monkeypatch.setattr(world.registry, "tag", meanwhile)
    result = world.run({"acc": 0.95})
    assert (result.outcome, result.champion) == ("refused", "9")
    assert world.registry.aliases == {"champion": "9"}


def test_an_alias_that_never_rests_is_left_alone(world: Gated) -> None:
    for version in ("6", "7"):
        world.registry.champion(world, version, {"acc": 0.9})
    world.registry.on_look = [None, "6", "7", "6"]
    result = world.run({"acc": 0.95})
    assert result.outcome == "failed"
    assert "was moved 3 times while models were compared" in result.reason


def test_a_run_that_starts_again_after_its_promotion_keeps_its_comparison(world: Gated) -> None:
    first = world.run({"acc": 0.95})
    again = world.run({"acc": 0.95})
    assert (again.outcome, again.gates) == ("promoted", first.gates)
    assert again.reason == "version 1 has the alias champion already"
    assert world.registry.done.count("move 1") == 1


def test_a_registry_that_does_not_answer_is_the_reason(world: Gated) -> None:
    world.registry.fails = True
    result = world.run({"acc": 0.95})
    assert (result.outcome, result.reason) == ("failed", "the MLflow server does not answer")


def test_a_model_that_was_not_registered_is_the_reason(world: Gated, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(MemorySink, "finish", lambda *_: None)
    result = world.run({"acc": 0.95})
    assert result.outcome == "failed"
    assert "no version of digits was registered" in result.reason


def test_a_training_that_failed_is_not_compared(world: Gated) -> None:
    promote = Promotion.model_validate(
        {"metric": "acc", "min": 0, "on": "data/holdout", "evaluate": "train:evaluate"}
    ).pin()
    world.submit({"train.py": "raise SystemExit(3)"}, register="digits", promote=promote)
    assert job.run(world.container()) == 3
    assert world.status.promotion is None
