"""Files that a config names are looked for before anything is sent."""

from __future__ import annotations

from pathlib import Path

import pytest

from headway.config import check_files
from headway.errors import ConfigError

from .conftest import Read


@pytest.fixture
def checked(read: Read, tmp_path: Path) -> Read:
    """Load and check, in a project with train.py, requirements.txt and a package."""
    (tmp_path / "train.py").write_text("def main(): ...\nfrom os import path as there\n", encoding="utf-8")
    (tmp_path / "requirements.txt").write_text("torch==2.13.0\nmy-package>=1\n", encoding="utf-8")
    (tmp_path / "pkg").mkdir()
    (tmp_path / "pkg" / "__init__.py").touch()
    (tmp_path / "pkg" / "run.py").write_text("class Train: ...\n", encoding="utf-8")

    def load_and_check(text: str, *words: str, **flags: object):  # type: ignore[no-untyped-def]
        loaded = read(text, *words, **flags)
        check_files(loaded)
        return loaded

    return load_and_check


def config(entrypoint: str, more: str = "") -> str:
    return f"name: digits\nentrypoint: {entrypoint}\n{more}"


def refusal(checked: Read, text: str) -> ConfigError:
    with pytest.raises(ConfigError) as caught:
        checked(text)
    return caught.value


@pytest.mark.parametrize(
    "entrypoint",
    ["train.py", "pkg/run.py", "train:main", "train:there", "pkg.run:Train", "my_package.cli:main"],
)
def test_an_entrypoint_that_is_there_is_fine(checked: Read, entrypoint: str) -> None:
    assert checked(config(entrypoint)).spec.entrypoint == entrypoint


@pytest.mark.parametrize(
    ("entrypoint", "said", "hint"),
    [
        ("trian.py", "there is no entrypoint trian.py", "did you mean train.py?"),
        ("pkg/rum.py", "there is no entrypoint pkg/rum.py", "did you mean pkg/run.py?"),
        ("zzzzzz.sh", "there is no entrypoint zzzzzz.sh", "there are train.py; write a script"),
        ("../train.py", "../train.py is outside of the project", "a path relative to config.yaml"),
        ("trian:main", "there is no module trian beside config.yaml", "did you mean train?"),
        ("train:mian", "train.py defines no mian", "did you mean train:main?"),
        ("pkg.nope:main", "there is no module pkg.nope beside config.yaml", "write a script"),
        ("'train.py:main'", "train.py is a file, not a module", "did you mean train:main?"),
        ("'train:'", "'train:' is no module:function", "write for example"),
        ("pkg.runn:Train", "there is no module pkg.runn beside config.yaml", "did you mean pkg.run?"),
    ],
)
def test_a_missing_entrypoint_is_named_with_the_nearest_one(
    checked: Read, entrypoint: str, said: str, hint: str
) -> None:
    error = refusal(checked, config(entrypoint))
    assert error.message == f"config.yaml:2:13: {said}"
    assert hint in (error.hint or "")


def test_a_missing_lockfile_says_how_to_make_it(checked: Read, tmp_path: Path) -> None:
    (tmp_path / "requirements.txt").unlink()
    error = refusal(checked, config("train.py"))
    assert (
        error.message == "config.yaml: there is no lockfile requirements.txt, from which the image is built"
    )
    assert "pip freeze > requirements.txt" in (error.hint or "")


def test_a_misnamed_lockfile_gets_the_right_name(checked: Read) -> None:
    error = refusal(checked, config("train.py", "environment: {requirements: reqs.txt}"))
    assert error.message.startswith("config.yaml:3:29: there is no lockfile reqs.txt")
    assert (error.hint or "").startswith("did you mean requirements.txt?")


def test_a_wheelhouse_without_wheels_says_how_to_fill_it(checked: Read) -> None:
    error = refusal(checked, config("train.py", "environment: {wheelhouse: wheels}"))
    assert error.message == "config.yaml:3:27: there are no wheels in wheels"
    assert "runtime-requirements.txt" in (error.hint or "")
    assert "pip download" in (error.hint or "")
