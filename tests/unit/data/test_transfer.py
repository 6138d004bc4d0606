"""Pulling pinned data: what is brought, what is kept, and what is said when the remote is not right."""

from __future__ import annotations

import hashlib
import json
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from headway.data import disk, remote, transfer
from headway.errors import DataNotReady, MachineError, RemoteError
from headway.spec.plan import DataPin
from tests.unit.runtime.world import BUCKET, MemoryStore, put_file, put_folder

REMOTE = f"gs://{BUCKET}/dvc"


@pytest.fixture(autouse=True)
def no_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(transfer, "_PAUSES_S", (0, 0, 0))


def _pull(store: MemoryStore, into: Path, *pins: DataPin) -> transfer.Pulled:
    return transfer.pull(pins, REMOTE, into, lambda _: store)


def test_a_folder_and_a_file_arrive_at_their_pinned_paths(tmp_path: Path) -> None:
    store = MemoryStore()
    folder = put_folder(store, "data/digits", {"a.txt": "one", "deep/b.txt": "two"})
    file = DataPin(path="labels.csv", md5=put_file(store, "three"), size=5, files=1)
    pulled = _pull(store, tmp_path, folder, file)
    assert (pulled.files, pulled.bytes, pulled.kept) == (3, 11, 0)
    assert (tmp_path / "data/digits/deep/b.txt").read_text() == "two"
    assert (tmp_path / "labels.csv").read_text() == "three"


def test_files_that_are_right_are_kept_and_a_changed_one_is_brought_again(tmp_path: Path) -> None:
    store = MemoryStore()
    pin = put_folder(store, "data", {"a": "one", "b": "two"})
    _pull(store, tmp_path, pin)
    (tmp_path / "data/a").write_text("edited")
    again = _pull(store, tmp_path, pin)
    assert (again.files, again.kept) == (1, 1)
    assert (tmp_path / "data/a").read_text() == "one"


def test_data_of_dvc_2_is_found_where_dvc_2_put_it(tmp_path: Path) -> None:
    store = MemoryStore()
    digest = hashlib.md5(b"old").hexdigest()
    store.write(f"dvc/{digest[:2]}/{digest[2:]}", b"old")
    _pull(store, tmp_path, DataPin(path="old", md5=digest, size=3, files=1, legacy=True))
    assert (tmp_path / "old").read_text() == "old"


def test_an_object_missing_from_the_remote_names_the_path_and_dvc_push(tmp_path: Path) -> None:
    store = MemoryStore()
    pin = put_folder(store, "data/digits", {"a.png": "one", "b.png": "two"})
    digest = hashlib.md5(b"two").hexdigest()
    store.delete(f"dvc/files/md5/{digest[:2]}/{digest[2:]}")
    with pytest.raises(DataNotReady, match=r"data/digits is not in the remote: b\.png") as caught:
        _pull(store, tmp_path, pin)
    assert caught.value.hint == "run: dvc push data/digits"


def test_a_missing_manifest_is_data_that_was_not_pushed(tmp_path: Path) -> None:
    pin = DataPin(path="data", md5="0" * 32 + ".dir", size=1, files=1)
    with pytest.raises(DataNotReady, match="its manifest"):
        _pull(MemoryStore(), tmp_path, pin)


def test_a_damaged_object_is_asked_for_again_and_then_named(tmp_path: Path) -> None:
    store = MemoryStore()
    digest = put_file(store, "good")
    name = f"dvc/files/md5/{digest[:2]}/{digest[2:]}"
    store.objects[name] = b"evil"
    with pytest.raises(RemoteError, match=r"labels\.csv of labels\.csv: .* is damaged"):
        _pull(store, tmp_path, DataPin(path="labels.csv", md5=digest, size=4, files=1))
    assert store.asked.count(name) == 4
    assert list(tmp_path.iterdir()) == []


def test_a_server_that_fails_for_a_moment_is_asked_again(tmp_path: Path) -> None:
    class Moody(MemoryStore):
        failures = 2

        def stream(self, name: str) -> Iterator[bytes]:
            if self.failures:
                self.failures -= 1
                raise RemoteError("503")
            yield from super().stream(name)

    store = Moody()
    pin = DataPin(path="x", md5=put_file(store, "x"), size=1, files=1)
    assert _pull(store, tmp_path, pin).files == 1


@pytest.mark.parametrize("relpath", ["../evil", "/etc/evil"])
def test_a_manifest_cannot_write_outside_of_its_path(tmp_path: Path, relpath: str) -> None:
    store = MemoryStore()
    manifest = json.dumps([{"md5": put_file(store, "x"), "relpath": relpath}]).encode()
    digest = hashlib.md5(manifest).hexdigest()
    store.write(f"dvc/files/md5/{digest[:2]}/{digest[2:]}.dir", manifest)
    with pytest.raises(RemoteError, match="outside"):
        _pull(store, tmp_path, DataPin(path="data", md5=f"{digest}.dir", size=1, files=1))


def test_a_disk_too_small_is_said_before_anything_is_brought(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(disk, "free_bytes", lambda _: 1)
    store = MemoryStore()
    pin = DataPin(path="big", md5=put_file(store, "x"), size=5_000_000, files=1)
    with pytest.raises(MachineError, match=r"is full: 5\.0 MB are needed, 0\.0 MB are free"):
        _pull(store, tmp_path, pin)
    assert store.asked == []


def test_missing_names_the_pins_that_are_not_in_the_remote() -> None:
    store = MemoryStore()
    there = put_folder(store, "there", {"a": "1"})
    absent = DataPin(path="absent", md5="f" * 32, size=1, files=1)
    assert remote.missing([there, absent], REMOTE, lambda _: store) == [absent]


def test_a_missing_object_ends_what_is_under_way_too(tmp_path: Path) -> None:
    pieces: list[bytes] = []

    class Slow(MemoryStore):
        def stream(self, name: str) -> Iterator[bytes]:
            if self.read(name) == b"large":
                deadline = time.monotonic() + 10
                while time.monotonic() < deadline:
                    pieces.append(b"x")
                    yield b"x"
                    time.sleep(0.01)
            yield self.read(name)

    store = Slow()
    pin = put_folder(store, "data", {"large": "large", "small": "small"})
    digest = hashlib.md5(b"small").hexdigest()
    store.delete(f"dvc/files/md5/{digest[:2]}/{digest[2:]}")
    started = time.monotonic()
    with pytest.raises(DataNotReady, match="small"):
        _pull(store, tmp_path, pin)
    assert time.monotonic() - started < 5
    while any(thread.name.startswith("pull") for thread in threading.enumerate()):
        assert time.monotonic() - started < 5
        time.sleep(0.01)
    assert list((tmp_path / "data").iterdir()) == []
