"""config.yaml, words and flags become a JobSpec, and each value knows where it came from."""

from __future__ import annotations

import json
from datetime import timedelta
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from headway.config import load

from .conftest import Read, Refused

SMALL = "name: digits\nentrypoint: train.py\n"
FULL = f"""{SMALL}args: {{lr: 1e-4, max_epochs: 5}}
resources:
  gpu: a100:2
  regions: [us-central1]
limits: {{timeout: 2h}}
"""


def test_a_file_becomes_a_spec(read: Read) -> None:
    spec = read(FULL).spec
    assert spec.args == {"lr": 0.0001, "max_epochs": 5}
    assert spec.resources.gpu == "a100:2"
    assert spec.resources.regions == ("us-central1",)
    assert spec.limits.timeout == timedelta(hours=2)


def test_words_win_over_the_file_and_flags_over_words(read: Read) -> None:
    loaded = read(FULL, "resources.gpu=l4:1", "args.lr=0.5", resources__gpu="a100:4", resources__nodes=None)
    assert loaded.spec.resources.gpu == "a100:4"
    assert loaded.spec.args["lr"] == 0.5
    assert loaded.spec.resources.nodes == 1


def test_each_value_knows_where_it_came_from(read: Read) -> None:
    origins = read(FULL, "args.lr=0.01", "args.fresh=[1,2]", resources__spot=True).origins
    assert origins["name"] == "config.yaml:1"
    assert origins["resources.gpu"] == "config.yaml:5"
    assert origins["args.lr"] == "command line: args.lr=0.01"
    assert origins["args.fresh"] == "command line: args.fresh=[1,2]"
    assert origins["args.max_epochs"] == "config.yaml:3"
    assert origins["resources.spot"] == "--spot"
    assert origins["resources.nodes"] == "default"
    assert origins["environment.base"] == "default"


def test_a_section_set_by_a_word_replaces_the_files(read: Read) -> None:
    loaded = read(FULL, "args={lr: 3e-3}")
    assert loaded.spec.args == {"lr": 0.003}
    assert loaded.origins["args.lr"] == "command line: args={lr: 3e-3}"


@pytest.mark.parametrize(
    ("word", "value"),
    [
        ("args.x=1e-4", 0.0001),
        ("args.x=-3", -3),
        ("args.x=.5", 0.5),
        ("args.x=010", 10),
        ("args.x=true", True),
        ("args.x=null", None),
        ("args.x=", ""),
        ("args.x=no", "no"),
        ("args.x=2026-01-01", "2026-01-01"),
        ("args.x=1:30", "1:30"),
        ("args.x=*.png", "*.png"),
        ("args.x=#3", "#3"),
        ("args.x=a: b", "a: b"),
        ("args.x=a=b", "a=b"),
        ("args.x='7'", "7"),
        ('args.x=["1", 2]', ["1", 2]),
    ],
)
def test_a_words_value_is_typed_as_one_would_expect(read: Read, word: str, value: object) -> None:
    assert read(SMALL, word).spec.args["x"] == value
    assert type(read(SMALL, word).spec.args["x"]) is type(value)


@pytest.mark.parametrize(
    ("text", "value"), [("1e-4", 0.0001), ("5", 5), ("no", "no"), ("~", None), ("'5'", "5"), ("!!str 5", "5")]
)
def test_a_files_value_is_typed_the_same(read: Read, text: str, value: object) -> None:
    assert read(f"{SMALL}args: {{x: {text}}}").spec.args["x"] == value


def test_yes_and_no_are_fine_where_true_or_false_is_meant(read: Read) -> None:
    assert read(f"{SMALL}resources: {{spot: yes}}").spec.resources.spot is True


def test_an_argument_may_have_dots_in_its_name(read: Read) -> None:
    loaded = read(f"{SMALL}args: {{trainer.max_epochs: 5}}", "args.trainer.max_epochs=3")
    assert loaded.spec.argv() == ["--trainer.max_epochs", "3"]


def test_an_environment_variable_given_as_a_word_is_text(read: Read) -> None:
    assert read(SMALL, "environment.env.OMP_NUM_THREADS=4").spec.environment.env == {"OMP_NUM_THREADS": "4"}


def test_a_section_with_everything_commented_out_is_as_good_as_absent(read: Read) -> None:
    loaded = read(f"{SMALL}resources:\n  # gpu: a100\nargs:\ndata:\nenvironment:\n  env:\n")
    assert loaded.spec.resources.gpu is None
    assert loaded.spec.data == ()
    assert loaded.spec.environment.env == {}


def test_anchors_and_merges_work(read: Read) -> None:
    text = f"{SMALL}args: &base {{lr: 1, n: 2}}\nenvironment:\n  env: {{<<: {{A: x, B: y}}, B: z}}\n"
    assert read(text).spec.environment.env == {"A": "x", "B": "z"}


def test_a_key_takes_its_value_from_another(read: Read) -> None:
    text = (
        SMALL + "args: {lr: 0.1, out: '${name}/lr-${args.lr}', again: '${args.lr}', n: '${resources.nodes}'}"
    )
    assert read(text).spec.args == {"lr": 0.1, "out": "digits/lr-0.1", "again": 0.1, "n": 1}


def test_a_key_takes_its_value_from_the_environment(read: Read, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TEAM", "vision")
    loaded = read(SMALL, "tracking.experiment=${oc.env:TEAM}-${name}", "args.x=${oc.env:NOT_SET,7}")
    assert loaded.spec.tracking.experiment == "vision-digits"
    assert loaded.spec.args["x"] == "7"


def test_a_folder_stands_for_the_config_in_it(tmp_path: Path) -> None:
    (tmp_path / "config.yaml").write_text(SMALL, encoding="utf-8")
    loaded = load(tmp_path)
    assert loaded.path == tmp_path / "config.yaml"
    assert loaded.root == tmp_path


NAMES = st.from_regex(r"[a-z][a-z0-9_]{0,10}", fullmatch=True)
VALUES = st.one_of(st.booleans(), st.integers(), st.floats(allow_nan=False, allow_infinity=False), st.none())


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=40, deadline=None)
@given(name=NAMES, value=VALUES)
def test_a_word_and_a_line_of_the_file_mean_the_same(read: Read, name: str, value: object) -> None:
    written = json.dumps(value)
    by_file = read(f"{SMALL}args:\n  {name}: {written}\n").spec.args[name]
    by_word = read(SMALL, f"args.{name}={written}").spec.args[name]
    assert by_file == by_word == value


def test_nothing_deeper_is_lost_when_the_section_is_no_mapping(refused: Refused) -> None:
    error = refused(f"{SMALL}resources: a100", "resources.nodes=2")
    assert (
        error.message
        == "config.yaml:3:12: resources must be a mapping of keys to values, not the text 'a100'"
    )


def test_interpolation_reaches_lists_dotted_names_and_variables(read: Read) -> None:
    text = f"""{SMALL}args: {{trainer.out: "${{name}}/x", some: ["${{name}}", 2], literal: '\\${{name}}'}}
environment: {{env: {{RUN: "${{name}}"}}}}
"""
    spec = read(text).spec
    assert spec.args == {"trainer.out": "digits/x", "some": ["digits", 2], "literal": "${name}"}
    assert spec.environment.env == {"RUN": "digits"}


def test_a_region_flag_is_named_as_it_is_typed(read: Read) -> None:
    loaded = read("name: a\nentrypoint: train.py\n", resources__regions=["us-east1"])
    assert loaded.origins["resources.regions"] == "--region"


def test_a_word_counts_over_a_sweeps_argument_that_the_file_writes_with_args_before_it(
    read: Read,
) -> None:
    read(SMALL + "sweep: {metric: 'loss:min', trials: 3, parameters: {args.lr: '1e-4..1e-1', b: '1,2'}}")
    for word, varied in (("args.lr=0.01", {"b": "1,2"}), ("args.lr=1..2", {"b": "1,2", "lr": "1..2"})):
        sweep = load(Path("config.yaml"), [word], {}, sweep=True).spec.sweep
        assert sweep is not None
        assert sweep.parameters == varied
