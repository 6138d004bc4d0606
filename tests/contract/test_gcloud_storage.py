"""`gcloud storage` as it is, wired by environment variables alone."""

from __future__ import annotations

import secrets
from pathlib import Path

import pytest

from tests.contract.command_line import NEEDS_GCLOUD, Gcloud
from tests.contract.servers import BUCKET

pytestmark = NEEDS_GCLOUD


@pytest.fixture
def root() -> str:
    """A folder of the bucket that is the test's own."""
    return f"gs://{BUCKET}/gcloud-{secrets.token_hex(4)}"


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    folder = tmp_path / "tree"
    (folder / "sub").mkdir(parents=True)
    for name in ("a.txt", "sub/b.txt"):
        (folder / name).write_text(name)
    return folder


def test_objects_are_copied_listed_moved_and_removed(
    gcloud: Gcloud, root: str, tree: Path, tmp_path: Path
) -> None:
    """`cp -r`, `ls`, `cat`, `mv`, `cp` back, `rm -r`: trees of objects, with no fault after the deletions."""
    gcloud("storage", "cp", "-r", str(tree), f"{root}/")
    listed = gcloud("storage", "ls", "-r", f"{root}/**").split()
    assert listed == [f"{root}/tree/a.txt", f"{root}/tree/sub/b.txt"]
    assert gcloud("storage", "cat", f"{root}/tree/a.txt") == "a.txt"
    gcloud("storage", "mv", f"{root}/tree/a.txt", f"{root}/moved.txt")
    gcloud("storage", "cp", f"{root}/moved.txt", str(tmp_path / "back.txt"))
    assert (tmp_path / "back.txt").read_text() == "a.txt"
    gcloud("storage", "rm", "-r", f"{root}/**")
    assert f"{root}/" not in gcloud("storage", "ls", f"gs://{BUCKET}").split()


def test_folders_are_synchronized_both_ways(gcloud: Gcloud, root: str, tree: Path, tmp_path: Path) -> None:
    """`rsync -r`: only what changed goes over, and with the flag for it what is gone is deleted."""
    gcloud("storage", "rsync", "-r", str(tree), root)
    (tree / "a.txt").write_text("changed")
    (tree / "sub" / "b.txt").unlink()
    (tree / "c.txt").write_text("new")
    again = gcloud.run("storage", "rsync", "-r", "--delete-unmatched-destination-objects", str(tree), root)
    assert again.returncode == 0, again.stderr
    assert f"Copying file://{tree}/a.txt" in again.stderr
    assert gcloud("storage", "ls", "-r", f"{root}/**").split() == [f"{root}/a.txt", f"{root}/c.txt"]
    back = tmp_path / "back"
    back.mkdir()
    gcloud("storage", "rsync", "-r", root, str(back))
    assert {path.name: path.read_text() for path in back.iterdir()} == {"a.txt": "changed", "c.txt": "new"}
