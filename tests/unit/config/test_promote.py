"""What a person sees when `promote:` is wrong, before anything is sent."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from headway.config import check_files
from headway.errors import ConfigError
from headway.jobs.preparing import prepare
from headway.spec.place import UNSTARTED

from .conftest import Read, Refused

SMALL = "name: digits\nentrypoint: train.py\n"
SECTION = "metric: acc, on: data/holdout, evaluate: train:evaluate"
REGISTERED = f"{SMALL}tracking: {{register: digits}}\n"


@pytest.mark.parametrize(
    ("promote", "said", "hint"),
    [
        (
            f"{SECTION}, evaluate: train.py",
            "the key 'evaluate' is there twice",
            "keep one of them",
        ),
        (
            "metric: acc, on: d, min: 1, evaluate: train.py",
            "promote.evaluate: 'train.py' is no module:function",
            "write for example  train:evaluate",
        ),
        (SECTION, "promote: there is no gate: any model would take over", "add min, max, or  better_than"),
        ("min: 1, on: d, evaluate: t:e", "promote.metric is missing", "add  metric: test_acc"),
        (f"{SECTION}, better: champion", "there is no key 'better' in promote", "promote.better_than"),
        (f"{SECTION}, min: high", "promote.min: it should be a valid number", None),
        (
            f"{SECTION}, min: 0, max_regression: {{'slice/*': -1}}",
            "promote.max_regression.slice/* must be at least 0.0, not -1",
            None,
        ),
    ],
)
def test_a_wrong_section_is_told_with_its_place(
    refused: Refused, promote: str, said: str, hint: str | None
) -> None:
    error = refused(f"{REGISTERED}promote: {{{promote}}}\n")
    assert said in error.message
    assert (hint or "") in (error.hint or "")
    assert error.exit_code == 2


def test_promote_without_a_registered_model_says_what_to_add(refused: Refused) -> None:
    error = refused(f"{SMALL}promote: {{{SECTION}, min: 0.5}}\n")
    assert error.message.startswith("config.yaml:3:1: promote moves an alias of a registered model")
    assert error.hint == "add  tracking: {register: digits}"


def test_a_function_that_is_not_there_is_found_before_anything_is_sent(read: Read) -> None:
    loaded = read(f"{REGISTERED}promote: {{{SECTION}, min: 0.5}}\n")
    Path("train.py").write_text("def evaluat(model, data): ...\n")
    Path("requirements.txt").write_text("")
    with pytest.raises(ConfigError) as caught:
        check_files(loaded)
    assert "train.py defines no evaluate" in caught.value.message
    assert caught.value.hint == "did you mean train:evaluat?"
    assert caught.value.line == 4


def test_a_holdout_that_dvc_does_not_track_is_told_at_its_key(read: Read) -> None:
    loaded = read(f"{REGISTERED}promote: {{{SECTION}, min: 0.5}}\n")
    Path("train.py").write_text("def evaluate(model, data): ...\n")
    Path("requirements.txt").write_text("")
    Path("data/holdout").mkdir(parents=True)
    Path("data/holdout/a.txt").write_text("1")
    subprocess.run(["git", "init", "-q"], check=True)
    with pytest.raises(ConfigError) as caught:
        prepare(loaded.path, place=UNSTARTED)
    assert caught.value.message == "config.yaml:4:28: data/holdout is not tracked by DVC"
    assert caught.value.hint == "run: dvc init && dvc add data/holdout"
