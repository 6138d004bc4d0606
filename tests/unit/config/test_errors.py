"""What a person sees when a config is wrong."""

from __future__ import annotations

import contextlib
import tempfile
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from headway.config import load
from headway.errors import ConfigError

from .conftest import Refused

SMALL = "name: digits\nentrypoint: train.py\n"


def test_an_unknown_key_is_named_with_its_place_and_the_nearest_right_one(refused: Refused) -> None:
    error = refused(f"{SMALL}resources:\n  gpus: a100\n")
    assert str(error) == "config.yaml:4:3: there is no key 'gpus' in resources\n→ did you mean resources.gpu?"
    assert (error.line, error.column, error.exit_code) == (4, 3, 2)


def test_a_key_in_the_wrong_section_is_sent_to_the_right_one(refused: Refused) -> None:
    error = refused(f"{SMALL}timeout: 2h\n")
    assert error.message == "config.yaml:3:1: there is no key 'timeout'"
    assert error.hint == "did you mean limits.timeout?"


def test_a_key_like_no_other_is_answered_with_those_there_are(refused: Refused) -> None:
    assert (
        refused(f"{SMALL}tracking: {{colour: red}}").hint
        == "tracking has experiment, wandb, register, artifacts"
    )


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("resources: {nodes: two}", "3:20: resources.nodes must be a whole number, not the text 'two'"),
        ("resources: {nodes: 1.5}", "3:20: resources.nodes must be a whole number, not the number 1.5"),
        ("resources: {nodes: null}", "3:20: resources.nodes must be a whole number, not nothing"),
        ("resources: {nodes: [1]}", "3:20: resources.nodes must be a whole number, not a list"),
        ("resources: {nodes: 0}", "3:20: resources.nodes must be at least 1, not 0"),
        ("resources: {disk_gb: 70000}", "3:22: resources.disk_gb must be at most 64000, not 70000"),
        ("resources: {spot: maybe}", "3:19: resources.spot must be true or false, not the text 'maybe'"),
        (
            "resources: {reservation: acme/b}",
            "3:26: resources.reservation 'acme/b' is no reservation's full name",
        ),
        ("resources: 3", "3:12: resources must be a mapping of keys to values, not the number 3"),
        ("args: [1]", "3:7: args must be a mapping of keys to values, not a list"),
        (
            "args: {x: [[1]]}",
            "3:11: args.x must be a number, text, true, false, or a list of these, not a list",
        ),
        (
            "tracking: {register: a/b}",
            "3:22: tracking.register: 'a/b' cannot be the name of a model in MLflow",
        ),
        (
            "tracking: {register: 'a:b'}",
            "3:22: tracking.register: 'a:b' cannot be the name of a model in MLflow",
        ),
        ('tracking: {register: ""}', "3:22: tracking.register: '' cannot be the name of a model in MLflow"),
        ("limits: {timeout: 2 hours}", "3:19: limits.timeout: '2 hours' is no duration"),
        ("limits: {timeout: -5}", "3:19: limits.timeout: -5 is no duration"),
        ("limits: {timeout: .inf}", "3:19: limits.timeout: inf is no duration"),
        ("limits: {timeout: 0}", "3:19: limits.timeout: 0s is less than a second"),
        ("limits: {timeout: 0.4}", "3:19: limits.timeout: 0.4s is less than a second"),
        ("args: {best: .inf}", "3:14: args.best is inf, which no JSON carries to the job"),
        ("args: {xs: [1, .nan]}", "3:12: args.xs is nan, which no JSON carries to the job"),
        ("limits: {budget: true}", "3:18: limits.budget: true is no number"),
        ("resources: {nodes: true}", "3:20: resources.nodes: true is no number"),
        (
            "resources: {regions: [us-central1-a]}",
            "3:22: resources.regions: 'us-central1-a' is a zone, and jobs are sent to a region",
        ),
        ("resources: {regions: [mars]}", "3:22: resources.regions: 'mars' is no region's name"),
        ("limits: {budget: .inf}", "3:18: limits.budget: it should be a finite number"),
        (
            "environment: {env: {A-B: x}}",
            "3:21: 'A-B' cannot be the name of an environment variable",
        ),
    ],
)
def test_a_wrong_value_says_what_is_expected_and_what_was_found(
    refused: Refused, line: str, said: str
) -> None:
    error = refused(f"{SMALL}{line}\n")
    assert error.message == f"config.yaml:{said}"
    assert "pydantic" not in str(error)
    assert "type=" not in str(error)


@pytest.mark.parametrize(
    ("line", "hint"),
    [
        ("data: data/digits", "write [data/digits]"),
        ("environment: {env: {N: 4}}", 'write "4", with the quotes'),
        ("environment: {env: {N: true}}", 'write "true", with the quotes'),
        ("args: {trainer: {max_epochs: 5}}", "arguments are flat: write  trainer.max_epochs: ..."),
        ("tracking: {register: a/b}", "leave out / : and quotes"),
        ("limits: {timeout: 2 hours}", "write for example 90s, 45m, 2h or 1h30m"),
    ],
)
def test_a_wrong_value_says_how_to_write_it(refused: Refused, line: str, hint: str) -> None:
    assert refused(f"{SMALL}{line}\n").hint == hint


def test_a_name_that_google_would_refuse_gets_a_better_one(refused: Refused) -> None:
    error = refused("name: My Digits_2\nentrypoint: train.py\n")
    assert error.message.startswith("config.yaml:1:7: name 'My Digits_2' must be lowercase letters")
    assert error.hint == "write for example my-digits-2"


def test_a_missing_key_says_what_to_add(refused: Refused) -> None:
    error = refused("name: digits\n")
    assert str(error) == "config.yaml: entrypoint is missing\n→ add  entrypoint: train.py"


def test_a_misspelt_key_is_not_said_to_be_missing_too(refused: Refused) -> None:
    assert refused("nmae: digits\nentrypoint: train.py").details == ()


def test_all_errors_are_told_at_once_in_the_order_of_the_file(refused: Refused) -> None:
    error = refused(f"{SMALL}resources: {{nodes: two, gpus: 1}}\nlimits: {{timeout: x}}\n", "args.y=${nope}")
    assert error.message.startswith("config.yaml:3:20:")
    assert [line.split(": ")[0] for line in error.details if not line.startswith("→")] == [
        "config.yaml:3:25",
        "config.yaml:4:19",
        "command line",
    ]


@pytest.mark.parametrize(
    ("text", "place", "said"),
    [
        ("name: [digits\nentrypoint: x\n", "2:11", "expected ',' or ']'"),
        ("name: a: b\n", "1:8", "mapping values are not allowed here"),
        ("name: x\nresources:\n\tgpu: y\n", "3:1", "found character"),
        ("name: @x\n", "1:7", "cannot start any token"),
        ("name: x\nname: y\n", "2:1", "the key 'name' is there twice"),
        ("args: &a {x: *a}\n", "1:7", "an anchor contains itself"),
        ("args: !!python/name:os.system x\n", "1:7", "is not understood here"),
        ("- name\n", "1:1", "is no mapping of keys to values"),
        ("? [a]\n: b\n", "1:3", "a key must be a word"),
        ("a: *nope\n", "1:4", "undefined alias"),
        ("name: x\n---\nname: y\n", "2:1", "expected a single document"),
    ],
)
def test_unreadable_yaml_says_line_and_column(refused: Refused, text: str, place: str, said: str) -> None:
    error = refused(text)
    assert error.message.startswith(f"config.yaml:{place}: ")
    assert said in error.message


def test_unreadable_yaml_shows_the_line(refused: Refused) -> None:
    assert refused("name: a: b\n").details == ("name: a: b", "       ^")
    assert refused("name: x\nresources:\n\tgpu: y\n").hint == "indent with spaces: YAML takes no tabs"


def test_an_empty_file_is_said_to_be_empty(refused: Refused) -> None:
    assert refused("# nothing\n").message == "config.yaml: is empty"


def test_a_file_that_is_not_there_gets_the_nearest_one(tmp_path: Path) -> None:
    (tmp_path / "config.yaml").write_text(SMALL, encoding="utf-8")
    with pytest.raises(ConfigError, match="there is no such file") as caught:
        load(tmp_path / "confg.yaml")
    assert caught.value.hint == f"did you mean {tmp_path / 'config.yaml'}?"


def test_a_file_that_is_no_text_is_refused(tmp_path: Path) -> None:
    (tmp_path / "config.yaml").write_bytes(b"name: \xff\xfe")
    with pytest.raises(ConfigError, match="is not UTF-8 text"):
        load(tmp_path)


def test_a_word_without_equals_is_named(refused: Refused) -> None:
    error = refused(SMALL, "args.lr")
    assert error.message == "command line: args.lr: is no override"
    assert error.hint == "write key=value, for example args.lr=0.01"


@pytest.mark.parametrize(
    ("word", "hint"),
    [
        ("resource.gpu=a100", "did you mean resources.gpu?"),
        ("gpu=a100", "did you mean resources.gpu?"),
        ("limits.timout=2h", "did you mean limits.timeout?"),
        ("data.0=x", "a list is set as a whole, for example data=[data/a,data/b]"),
        ("zzz=1", "`launch config schema` lists the keys; args.NAME sets an argument"),
    ],
)
def test_a_word_to_an_unknown_key_gets_the_nearest_one(refused: Refused, word: str, hint: str) -> None:
    error = refused(SMALL, word)
    assert error.message == f"command line: {word}: there is no key {word.partition('=')[0]!r}"
    assert error.hint == hint


def test_a_wrong_value_in_a_word_names_the_word(refused: Refused) -> None:
    error = refused(SMALL, "resources.nodes=two")
    assert error.message == (
        "command line: resources.nodes=two: resources.nodes must be a whole number, not the text 'two'"
    )
    assert error.file is None


def test_a_word_that_is_broken_yaml_is_named(refused: Refused) -> None:
    error = refused(SMALL, "args.x=[1, 2")
    assert error.message.startswith("command line: args.x=[1, 2: the value is not readable as YAML")


def test_a_wrong_value_in_a_flag_names_the_flag(refused: Refused) -> None:
    error = refused(SMALL, resources__nodes=0)
    assert error.message == "--nodes: resources.nodes must be at least 1, not 0"


@pytest.mark.parametrize(
    ("value", "said"),
    [
        ("${nope}", "interpolation key 'nope' not found"),
        ("${args.x}", "recursive interpolation"),
        ("${oc.env:HEADWAY_SURELY_NOT_SET}", "environment variable 'HEADWAY_SURELY_NOT_SET' not found"),
        ("${made_up:1}", "unsupported interpolation type"),
        ("${open", "no viable alternative"),
    ],
)
def test_an_interpolation_that_fails_is_named_with_its_place(refused: Refused, value: str, said: str) -> None:
    error = refused(f"{SMALL}args:\n  x: '{value}'\n")
    assert error.message.startswith("config.yaml:4:6: args.x cannot be filled in: ")
    assert said in error.message


@pytest.mark.parametrize(
    ("line", "said", "hint"),
    [
        ("gpu: a1000", "3:18: there is no GPU named 'a1000'", "did you mean a100"),
        ("gpu: a100:3", "3:18: a100:3 does not exist on Vertex AI", "a100:2 on a2-highgpu-2g or a100:4"),
        ("gpu: a100:x", "3:18: 'a100:x' is no GPU: 'x' is not a count", "a100:1"),
        ("machine: n1-standard-4, gpu: h100", "3:22: n1-standard-4 does not carry h100", "a3-highgpu-1g"),
    ],
)
def test_a_gpu_that_no_machine_has_is_refused_where_it_is_written(
    refused: Refused, line: str, said: str, hint: str
) -> None:
    error = refused(f"{SMALL}resources: {{{line}}}\n")
    assert error.message == f"config.yaml:{said}"
    assert hint in (error.hint or "")


def test_a_gpu_given_as_a_flag_is_refused_by_the_flags_name(refused: Refused) -> None:
    assert refused(SMALL, resources__gpu="l4:3").message == "--gpu: l4:3 does not exist on Vertex AI"


@settings(max_examples=100, deadline=None)
@given(
    st.one_of(
        st.text(max_size=60),
        st.text(alphabet="ab:- \n\t[]{}&*!|>'\"%@#?,<0.${}~", max_size=60),
        st.lists(
            st.sampled_from(
                [
                    "name: x\n",
                    "entrypoint: y\n",
                    "args:",
                    " {a: &b 1}",
                    "\n  c: *b",
                    "\n  <<: ",
                    "!!set",
                    "resources: ",
                    "~\n",
                ]
            ),
            max_size=8,
        ).map("".join),
    )
)
def test_whatever_the_file_says_the_answer_is_a_spec_or_a_config_error(text: str) -> None:
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder, "config.yaml")
        file.write_text(text, encoding="utf-8", errors="ignore")
        with contextlib.suppress(ConfigError):
            load(file)


@settings(max_examples=100, deadline=None)
@given(st.text(alphabet="argsenvironment.resources=[]{}:,'\"\\${}*&! 01e-\n", max_size=40))
def test_whatever_a_word_says_the_answer_is_a_spec_or_a_config_error(word: str) -> None:
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder, "config.yaml")
        file.write_text(SMALL, encoding="utf-8")
        for text in (word, f"args.x={word}", f"name={word}", f"resources={word}"):
            with contextlib.suppress(ConfigError):
                load(file, [text])
