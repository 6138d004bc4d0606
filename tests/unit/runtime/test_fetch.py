"""What is brought into the container, and what is said when it is not as it should be."""

from __future__ import annotations

import io
import tarfile
import zipfile
from datetime import UTC, datetime
from pathlib import Path

import pytest

from headway.data import disk
from headway.errors import InputError, MachineError, NotFound, RemoteError, RunFailed
from headway.runtime import fetch
from tests.unit.runtime.world import BUCKET, RUN, MemoryStore, World, tar

CHECKPOINTS = f"gs://{BUCKET}/headway/runs/{RUN}/checkpoints/"


@pytest.fixture
def world(tmp_path: Path) -> World:
    return World(tmp_path)


def test_a_plan_that_is_not_there_is_said_with_its_address(world: World) -> None:
    with pytest.raises(NotFound, match="there is no plan at gs://bucket/headway/runs/none/plan"):
        fetch.plan("gs://bucket/headway/runs/none/plan.json", lambda _: world.store)


def test_a_plan_of_another_version_is_refused(world: World) -> None:
    world.store.write("p/plan.json", b'{"version": 2}')
    with pytest.raises(InputError, match="no plan that this runtime reads"):
        fetch.plan("gs://bucket/p/plan.json", lambda _: world.store)


def test_a_job_of_a_run_that_was_cancelled_does_not_begin(world: World) -> None:
    plan = world.submit({"train.py": "1"}).model_copy(update={"cancelled": datetime.now(UTC)})
    world.store.write("p/plan.json", plan.model_dump_json().encode())
    with pytest.raises(RunFailed, match="was cancelled before this job of it began"):
        fetch.plan("gs://bucket/p/plan.json", lambda _: world.store)


def test_the_bundle_is_unpacked_and_not_brought_twice(world: World) -> None:
    plan = world.submit({"train.py": "1", "pkg/a.py": "2"})
    for _ in range(2):
        files = fetch.code(plan, lambda _: world.store, world.folders.code)
        assert files == {"train.py", "pkg/a.py"}
    assert (world.folders.code / "pkg/a.py").read_text() == "2"
    assert world.store.asked == [world.layout.bundle(plan.code.digest)]


def test_another_digest_replaces_the_folder(world: World) -> None:
    fetch.code(world.submit({"old.py": "1"}), lambda _: world.store, world.folders.code)
    fetch.code(world.submit({"new.py": "1"}), lambda _: world.store, world.folders.code)
    assert [path.name for path in world.folders.code.iterdir()] == ["new.py"]


def test_a_bundle_that_is_not_its_digest_is_refused(world: World) -> None:
    plan = world.submit({"train.py": "1"})
    world.store.objects[world.layout.bundle(plan.code.digest)] = tar({"train.py": "evil"})
    with pytest.raises(RemoteError, match="is damaged: its sha256 is"):
        fetch.code(plan, lambda _: world.store, world.folders.code)
    assert not world.folders.code.exists()


def test_a_bundle_that_is_gone_is_said(world: World) -> None:
    plan = world.submit({"train.py": "1"})
    world.store.delete(world.layout.bundle(plan.code.digest))
    with pytest.raises(RemoteError, match=r"the code bundle .* is not there"):
        fetch.code(plan, lambda _: world.store, world.folders.code)


def _link(name: str, aim: str) -> bytes:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as archive:
        member = tarfile.TarInfo(name)
        member.type, member.linkname = tarfile.SYMTYPE, aim
        archive.addfile(member)
    return out.getvalue()


@pytest.mark.parametrize(
    "bundle",
    [tar({"../evil": "1"}), tar({"/etc/evil": "1"}), _link("a", "/etc/passwd"), _link("a/b", "../../x")],
    ids=["parent", "absolute", "link-absolute", "link-parent"],
)
def test_a_bundle_writes_nothing_outside_of_its_folder(tmp_path: Path, bundle: bytes) -> None:
    path = tmp_path / "bundle.tar"
    path.write_bytes(bundle)
    with pytest.raises(InputError):
        fetch._unpack(path, tmp_path / "code")
    assert not (tmp_path / "evil").exists()


def test_links_inside_the_bundle_are_kept(tmp_path: Path) -> None:
    path = tmp_path / "bundle.tar"
    path.write_bytes(_link("deep/a", "../b"))
    fetch._unpack(path, tmp_path / "code")
    assert (tmp_path / "code/deep/a").readlink() == Path("../b")


def test_a_full_disk_names_the_folder_and_what_is_needed(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    plan = world.submit({"train.py": "1"})
    monkeypatch.setattr(disk, "free_bytes", lambda _: 100)
    with pytest.raises(MachineError, match=f"the disk of {world.folders.root} is full"):
        fetch.code(plan, lambda _: world.store, world.folders.code)


def test_a_first_start_has_no_checkpoint(tmp_path: Path) -> None:
    assert fetch.checkpoints(CHECKPOINTS, lambda _: MemoryStore(), tmp_path) == []


def test_the_newest_checkpoint_comes_first(tmp_path: Path) -> None:
    store = MemoryStore()
    for name in ("last.ckpt", "epoch=2.ckpt", "notes.txt"):
        store.write(f"headway/runs/{RUN}/checkpoints/{name}", name.encode())
    brought = fetch.checkpoints(CHECKPOINTS, lambda _: store, tmp_path)
    assert [path.name for path in brought] == ["epoch=2.ckpt", "last.ckpt"]
    assert brought[0].read_text() == "epoch=2.ckpt"


def test_a_torn_checkpoint_is_not_what_a_run_goes_on_from(tmp_path: Path) -> None:
    store, whole = MemoryStore(), io.BytesIO()
    with zipfile.ZipFile(whole, "w") as archive:
        archive.writestr("data.pkl", "weights")
    store.write(f"headway/runs/{RUN}/checkpoints/epoch=2.ckpt", whole.getvalue())
    store.write(f"headway/runs/{RUN}/checkpoints/last.ckpt", whole.getvalue()[:40])
    brought = fetch.checkpoints(CHECKPOINTS, lambda _: store, tmp_path)
    assert [path.name for path in brought] == ["epoch=2.ckpt", "last.ckpt"]
