"""What a run makes: which files are checkpoints, outputs, caches, and when a file is complete."""

from __future__ import annotations

import threading
import zipfile
from pathlib import Path

import pytest

from headway.runtime.publish import Mirror, MirrorThread, Targets, created, upload
from tests.unit.runtime.world import MemoryStore, make_plan

URI = "gs://bucket/run/checkpoints"


def test_a_checkpoint_is_sent_once_it_no_longer_changes(tmp_path: Path) -> None:
    store = MemoryStore()
    mirror = Mirror(tmp_path, URI, lambda _: store)
    (tmp_path / "last.ckpt").write_text("half")
    mirror.look()
    assert store.objects == {}
    (tmp_path / "last.ckpt").write_text("half and whole")
    mirror.look()
    assert store.objects == {}
    mirror.look()
    assert store.objects == {"run/checkpoints/last.ckpt": b"half and whole"}
    assert mirror.names == ("gs://bucket/run/checkpoints/last.ckpt",)


def test_a_checkpoint_that_is_replaced_is_sent_again_and_a_removed_one_removed(tmp_path: Path) -> None:
    store = MemoryStore()
    mirror = Mirror(tmp_path, URI, lambda _: store)
    (tmp_path / "a.ckpt").write_text("1")
    mirror.look(final=True)
    (tmp_path / "a.ckpt").write_text("newer")
    (tmp_path / "b.ckpt").write_text("2")
    mirror.look(final=True)
    assert store.objects["run/checkpoints/a.ckpt"] == b"newer"
    (tmp_path / "a.ckpt").unlink()
    mirror.look()
    assert list(store.objects) == ["run/checkpoints/b.ckpt"]


def test_a_checkpoint_is_not_removed_before_its_successor_is_there(tmp_path: Path) -> None:
    store = MemoryStore()
    mirror = Mirror(tmp_path, URI, lambda _: store)
    (tmp_path / "epoch=1.ckpt").write_text("1")
    mirror.look(final=True)
    (tmp_path / "epoch=1.ckpt").unlink()
    (tmp_path / "epoch=2.ckpt").write_text("2")
    mirror.look()
    assert list(store.objects) == ["run/checkpoints/epoch=1.ckpt"]
    mirror.look()
    assert list(store.objects) == ["run/checkpoints/epoch=2.ckpt"]


def test_a_last_look_waits_for_the_one_under_way_and_sends_nothing_twice(tmp_path: Path) -> None:
    sent: list[str] = []
    begun, goes_on = threading.Event(), threading.Event()

    class Slow(MemoryStore):
        def upload(self, name: str, path: Path, *, only_if_absent: bool = False) -> bool:
            sent.append(name)
            begun.set()
            assert goes_on.wait(10)
            return super().upload(name, path)

    store = Slow()
    mirror = Mirror(tmp_path, URI, lambda _: store)
    (tmp_path / "last.ckpt").write_text("1")
    threads = [threading.Thread(target=mirror.look, kwargs={"final": True}) for _ in range(2)]
    for thread in threads:
        thread.start()
    assert begun.wait(10)
    goes_on.set()
    for thread in threads:
        thread.join(10)
    assert sent == ["run/checkpoints/last.ckpt"]


def test_checkpoints_of_others_in_the_bucket_are_left_alone(tmp_path: Path) -> None:
    store = MemoryStore()
    store.write("run/checkpoints/old.ckpt", b"1")
    Mirror(tmp_path, URI, lambda _: store).look(final=True)
    assert list(store.objects) == ["run/checkpoints/old.ckpt"]


def test_a_resumed_checkpoint_is_not_sent_back(tmp_path: Path) -> None:
    store = MemoryStore()
    (tmp_path / "last.ckpt").write_text("1")
    Mirror(tmp_path, URI, lambda _: store, known=[tmp_path / "last.ckpt"]).look(final=True)
    assert store.objects == {}


def test_whatever_goes_wrong_with_one_checkpoint_the_next_is_sent(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("headway.runtime.publish.LOOK_S", 0.01)
    arrived, told = threading.Event(), list[str]()

    class Surprising(MemoryStore):
        def upload(self, name: str, path: Path, *, only_if_absent: bool = False) -> bool:
            if not told:
                raise ValueError("Size 9 was specified but the file-like object only had 0 bytes remaining.")
            return super().upload(name, path)

    store = Surprising()
    (tmp_path / "last.ckpt").write_text("weights")
    thread = MirrorThread(Mirror(tmp_path, URI, lambda _: store), told.append, lambda _: arrived.set())
    try:
        assert arrived.wait(10)
    finally:
        thread.end()
    assert store.objects == {"run/checkpoints/last.ckpt": b"weights"}
    assert told[0].startswith("checkpoints cannot be uploaded yet: Size 9")


def test_after_a_kill_a_torn_checkpoint_does_not_replace_a_whole_one(tmp_path: Path) -> None:
    store = MemoryStore()
    mirror = Mirror(tmp_path, URI, lambda _: store)
    with zipfile.ZipFile(tmp_path / "whole.ckpt", "w") as archive:
        archive.writestr("data", "x" * 1000)
    (tmp_path / "torn.ckpt").write_bytes((tmp_path / "whole.ckpt").read_bytes()[:-30])
    mirror.look(final=True, trusted=False)
    assert list(store.objects) == ["run/checkpoints/whole.ckpt"]


def test_created_files_are_neither_code_nor_data_nor_caches(tmp_path: Path) -> None:
    for name in (
        "train.py",
        "lightning_logs/version_0/metrics.csv",
        "__pycache__/train.cpython-311.pyc",
        "data/digits/a.png",
        "notes.part",
    ):
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("x")
    (tmp_path / "link").symlink_to("/etc/passwd")
    found = created(tmp_path, frozenset({"train.py"}), ("data/digits",))
    assert [str(path.relative_to(tmp_path)) for path in found] == ["lightning_logs/version_0/metrics.csv"]


def test_uploads_keep_the_names_below_the_root(tmp_path: Path) -> None:
    store = MemoryStore()
    (tmp_path / "deep").mkdir()
    (tmp_path / "deep/a.txt").write_text("1")
    sent = upload([tmp_path / "deep/a.txt"], tmp_path, "gs://bucket/out", lambda _: store)
    assert sent == ["gs://bucket/out/deep/a.txt"]
    assert store.objects == {"out/deep/a.txt": b"1"}


@pytest.mark.parametrize("variables", [{}, {"AIP_CHECKPOINT_DIR": "gs://bucket/trial/1/checkpoints/"}])
def test_the_platforms_folders_come_first(variables: dict[str, str]) -> None:
    plan = make_plan(b"")
    targets = Targets.of(plan, variables)
    base = f"gs://bucket/headway/runs/{plan.run_id}"
    assert targets.checkpoints == ("gs://bucket/trial/1/checkpoints" if variables else f"{base}/checkpoints")
    assert (targets.model, targets.outputs) == (f"{base}/model", f"{base}/outputs")
