"""Which files are code."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest

from headway.errors import InputError, MachineError
from headway.source.listing import list_code

from .conftest import Fill, git

JUNK = {
    ".env": "A=1",
    ".env.local": "A=1",
    "pkg/.envrc": "A=1",
    "__pycache__/a.pyc": "",
    "pkg/__pycache__/b.cpython-311.pyc": "",
    ".venv/bin/python": "",
    "venv/lib/x.py": "",
    "made-by-hand/pyvenv.cfg": "",
    "made-by-hand/lib/y.py": "",
    "web/node_modules/z/index.js": "",
    "mlruns/0/meta.yaml": "",
    "wandb/run-1/log": "",
    "lightning_logs/version_0/hparams.yaml": "",
    ".ipynb_checkpoints/a.ipynb": "",
    ".DS_Store": "",
    ".dvc/cache/files/md5/ab/cd": "",
    ".dvc/tmp/lock": "",
    ".dvc/config.local": "password = x",
    "sub/.dvc/cache/files/md5/ab/cd": "",
}
CODE = {"train.py": "", "pkg/model.py": "", "pkg/wandb/logger.py": "", ".env.example": "", ".dvc/config": ""}


def test_in_git_code_is_what_git_knows_and_does_not_ignore(repository: Fill) -> None:
    root = repository({"train.py": "", "new.py": "", "out/big.bin": "", ".gitignore": "out/\n"})
    git(root, "add", "train.py")
    assert list(list_code(root)) == [".gitignore", "new.py", "train.py"]


def test_only_the_configs_folder_is_listed(repository: Fill) -> None:
    root = repository({"other/x.py": "", "job/train.py": "", "job/skip.log": "", ".gitignore": "*.log\n"})
    assert list(list_code(root / "job")) == ["train.py"]


def test_junk_is_never_code_in_git(repository: Fill) -> None:
    root = repository({**JUNK, **CODE})
    git(root, "add", "--force", ".")
    assert list(list_code(root)) == sorted(CODE)


def test_junk_is_never_code_without_git(project: Fill) -> None:
    assert list(list_code(project({**JUNK, **CODE}))) == sorted(CODE)


@pytest.mark.parametrize("with_git", [True, False])
def test_headwayignore_leaves_out_more(project: Fill, with_git: bool) -> None:
    files = {"train.py": "", "notes/a.md": "", "deep/b.md": "", "keep.md": "", "big/x": ""}
    root = project({**files, ".headwayignore": "*.md\n!keep.md\n/big/\n"})
    if with_git:
        git(root, "init", "-q")
    assert list(list_code(root)) == [".headwayignore", "keep.md", "train.py"]


@pytest.mark.parametrize("with_git", [True, False])
def test_a_folder_that_ignores_itself_is_no_code_with_git_and_without(project: Fill, with_git: bool) -> None:
    root = project(
        {"train.py": "", "sweeps/.gitignore": "*\n", "sweeps/a.png": "", "b/.gitignore": "*.log\n"}
    )
    if with_git:
        git(root, "init", "-q")
    assert list(list_code(root)) == ["b/.gitignore", "train.py"]


def test_data_that_dvc_tracks_is_never_code(project: Fill) -> None:
    root = project({"data/digits/1.png": "", "data/digits.dvc": "", "raw/x": "", "raw.csv": "", "rawer": ""})
    assert list(list_code(root, ["raw", "./raw.csv"])) == ["data/digits.dvc", "rawer"]


def test_a_file_deleted_but_still_in_gits_index_does_no_harm(repository: Fill) -> None:
    from headway.source.bundle import pack

    root = repository({"a.py": "", "b.py": ""})
    git(root, "add", ".")
    (root / "a.py").unlink()
    assert [file.path for file in pack(root).files] == ["b.py"]


def test_a_deleted_dvc_file_still_keeps_its_data_out(repository: Fill) -> None:
    root = repository({"train.py": "", "raw.dvc": "", "raw/x": ""})
    git(root, "add", "train.py", "raw.dvc")
    (root / "raw.dvc").unlink()
    assert list(list_code(root)) == ["train.py"]


def test_where_all_that_git_knows_is_gone_nothing_that_it_ignores_is_taken_instead(repository: Fill) -> None:
    root = repository({"train.py": "", "out/x": "", ".gitignore": "*\n"})
    git(root, "add", "--force", "train.py")
    (root / "train.py").unlink()
    assert list(list_code(root)) == []


def test_what_may_not_be_looked_at_is_no_matter_where_it_is_ignored(
    repository: Fill, monkeypatch: pytest.MonkeyPatch
) -> None:
    root = repository({"train.py": "", "secret/x": "", ".headwayignore": "secret/\n"})
    lstat = os.lstat

    def refused(path: str) -> os.stat_result:
        if "secret" in path:
            raise PermissionError(13, "Permission denied", path)
        return lstat(path)

    monkeypatch.setattr("headway.source.listing.os.lstat", refused)
    assert list(list_code(root)) == [".headwayignore", "train.py"]


def test_a_file_in_a_folder_that_may_not_be_read_is_named(
    repository: Fill, monkeypatch: pytest.MonkeyPatch
) -> None:
    root = repository({"train.py": ""})
    git(root, "add", ".")

    def refused(path: str) -> os.stat_result:
        raise PermissionError(13, "Permission denied", path)

    monkeypatch.setattr(os, "lstat", refused)
    with pytest.raises(InputError, match=r"train\.py cannot be read: Permission denied"):
        list_code(root)


def test_nested_repositories_and_submodules_are_included(repository: Fill) -> None:
    root = repository({"train.py": "", "lib/core.py": "", "lib/skip.log": "", "lib/.gitignore": "*.log\n"})
    git(root / "lib", "init", "-q")
    assert list(list_code(root)) == ["lib/.gitignore", "lib/core.py", "train.py"]
    git(root / "lib", "add", ".")
    git(root / "lib", "commit", "-q", "-m", "library")
    git(root, "add", ".")
    assert list(list_code(root)) == ["lib/.gitignore", "lib/core.py", "train.py"]


def test_a_project_in_a_folder_that_git_ignores_is_read_without_git(repository: Fill) -> None:
    root = repository({"scratch/train.py": "", "scratch/mlruns/x": "", ".gitignore": "scratch/\n"})
    assert list(list_code(root / "scratch")) == ["train.py"]


def test_names_with_spaces_quotes_and_umlauts_are_kept(repository: Fill) -> None:
    names = ["a b.py", 'q".py', "ü.py", "new\nline.py"]
    assert list(list_code(repository(dict.fromkeys(names, "")))) == sorted(names)


def test_where_git_is_missing_the_whole_folder_is_not_taken_instead(
    repository: Fill, monkeypatch: pytest.MonkeyPatch
) -> None:
    root = repository({"train.py": ""})
    monkeypatch.setenv("PATH", "")
    with pytest.raises(MachineError, match="git is not installed"):
        list_code(root)


def test_where_git_refuses_its_reason_is_shown(repository: Fill) -> None:
    root = repository({"train.py": ""})
    shutil.rmtree(root / ".git")
    (root / ".git").write_text("nonsense", encoding="utf-8")
    with pytest.raises(InputError, match="git cannot list the files") as caught:
        list_code(root)
    assert "invalid gitfile format" in caught.value.details[0]


def test_a_hooks_git_variables_do_not_mislead(repository: Fill, monkeypatch: pytest.MonkeyPatch) -> None:
    root = repository({"train.py": ""})
    monkeypatch.setenv("GIT_DIR", os.devnull)
    assert list(list_code(root)) == ["train.py"]


def test_an_empty_project_has_no_code(tmp_path: Path) -> None:
    assert list(list_code(tmp_path)) == []


def test_an_ignore_file_that_is_none_is_named(project: Fill) -> None:
    root = project({"train.py": "", ".headwayignore": "data\n!\n"})
    with pytest.raises(InputError, match=r"\.headwayignore: Invalid git pattern: '!'"):
        list_code(root)


def test_an_ignore_file_may_name_files_that_are_not_utf_8(project: Fill) -> None:
    root = project({"train.py": "", ".headwayignore": b"caf\xe9.txt\n"})
    (root / os.fsdecode(b"caf\xe9.txt")).write_text("")
    assert list(list_code(root)) == [".headwayignore", "train.py"]
