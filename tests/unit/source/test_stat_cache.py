"""Code that did not change is not read again; whatever shows that it may have, is."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import pytest

from headway.errors import CredentialFound
from headway.source import bundle, stat_cache
from headway.source.bundle import Bundle, pack
from headway.source.stat_cache import StatCache

from .conftest import Fill

Pack = Callable[[Path], Bundle]


@pytest.fixture
def reads(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The paths that were read since."""
    seen: list[str] = []
    read = bundle._read

    def noted(root: Path, file: bundle.BundleFile) -> bytes:
        seen.append(file.path)
        return read(root, file)

    monkeypatch.setattr(bundle, "_read", noted)
    return seen


@pytest.fixture
def kept(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The cache's folder."""
    return tmp_path_factory.mktemp("state") / "code"


@pytest.fixture
def packed(kept: Path, monkeypatch: pytest.MonkeyPatch) -> Pack:
    """Packs with one cache, ten seconds from now: files that a test writes are old by then."""
    later = SimpleNamespace(time_ns=lambda: time.time_ns() + 10**10)
    monkeypatch.setattr(stat_cache, "time", later)
    return lambda root: pack(root, cache=StatCache(kept))


def test_an_unchanged_project_is_packed_without_being_read(
    project: Fill, packed: Pack, reads: list[str]
) -> None:
    root = project({"train.py": "print()", "pkg/a.py": "x"})
    first = packed(root)
    reads.clear()
    assert packed(root) == first == pack(root)
    assert reads == ["pkg/a.py", "train.py"], "by the last one, which has no cache"


def _edit(root: Path) -> None:
    """As long as before, and its time set back: only what nobody can set tells."""
    before = (root / "train.py").stat()
    (root / "train.py").write_text("print(2)")
    os.utime(root / "train.py", ns=(before.st_atime_ns, before.st_mtime_ns))


CHANGES: dict[str, Callable[[Path], object]] = {
    "content": _edit,
    "another": lambda root: (root / "new.py").write_text(""),
    "gone": lambda root: (root / "pkg" / "a.py").unlink(),
    "renamed": lambda root: (root / "pkg" / "a.py").rename(root / "pkg" / "b.py"),
    "mode": lambda root: (root / "train.py").chmod(0o755),
    "a link": lambda root: (root / "link").symlink_to("train.py"),
    "ignored": lambda root: (root / ".headwayignore").write_text("pkg/\n"),
}


@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES.keys())
def test_any_change_of_a_file_is_seen(change: Callable[[Path], object], project: Fill, packed: Pack) -> None:
    root = project({"train.py": "print(1)", "pkg/a.py": "x"})
    before = packed(root)
    change(root)
    assert packed(root) == pack(root) != before


def test_a_file_of_this_moment_may_change_unseen_and_is_read_each_time(
    project: Fill, tmp_path: Path, reads: list[str]
) -> None:
    root, cache = project({"train.py": ""}), StatCache(tmp_path / "state")
    pack(root, cache=cache)
    pack(root, cache=cache)
    assert reads == ["train.py", "train.py"]


def test_projects_do_not_get_each_others_code(
    project: Fill, packed: Pack, tmp_path: Path, reads: list[str]
) -> None:
    root = project({"train.py": "1"})
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "train.py").write_text("2")
    assert packed(root).digest != packed(tmp_path / "other").digest
    reads.clear()
    packed(root)
    assert reads == []


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b'{"state": 1}', b"\xff"])
def test_a_damaged_cache_is_none(
    content: bytes, project: Fill, packed: Pack, kept: Path, reads: list[str]
) -> None:
    root = project({"train.py": ""})
    first = packed(root)
    (record,) = kept.iterdir()
    record.write_bytes(content)
    reads.clear()
    assert packed(root) == first
    assert reads == ["train.py"]


def test_where_nothing_can_be_kept_the_code_is_read(
    project: Fill, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(stat_cache, "_RACY_NS", -(10**10))
    (tmp_path / "state").write_text("a file, where the folder should be")
    root = project({"train.py": ""})
    assert pack(root, cache=StatCache(tmp_path / "state")) == pack(root)


def test_a_credential_is_found_however_often_it_is_looked_for(project: Fill, packed: Pack) -> None:
    root = project({"train.py": "", "id_rsa": "x"})
    for _ in range(2):
        with pytest.raises(CredentialFound):
            packed(root)
