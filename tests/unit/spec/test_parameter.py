"""One text grammar says what a parameter of a sweep may be."""

from __future__ import annotations

from typing import Any

import pytest

from headway.spec.parameter import digest, is_swept, parse


@pytest.mark.parametrize(
    ("text", "kind", "low", "high", "scale"),
    [
        ("1e-4..1e-2", "double", 1e-4, 1e-2, "linear"),
        ("1e-4..1e-2:log", "double", 1e-4, 1e-2, "log"),
        ("0.5 .. 0.999:reverse_log", "double", 0.5, 0.999, "reverse_log"),
        ("-1..1.", "double", -1.0, 1.0, "linear"),
        (".5..1", "double", 0.5, 1.0, "linear"),
        ("1..10", "integer", 1, 10, "linear"),
        ("16..1024:log", "integer", 16, 1024, "log"),
        ("interval(0, 1)", "double", 0.0, 1.0, "linear"),
        ("tag(log, interval(1e-4, 1e-2))", "double", 1e-4, 1e-2, "log"),
        ("tag(int, log, interval(1, 100))", "integer", 1, 100, "log"),
        ("int(interval(1, 10))", "integer", 1, 10, "linear"),
        ("range(1, 5)", "integer", 1, 4, "linear"),
        ("range(3)", "integer", 0, 2, "linear"),
    ],
)
def test_a_range_is_between_two_numbers(text: str, kind: str, low: float, high: float, scale: str) -> None:
    found = parse("lr", text)
    assert (found.kind, found.low, found.high, found.scale) == (kind, low, high, scale)
    assert type(found.low) is (int if kind == "integer" else float)
    assert parse("lr", str(found)) == found


@pytest.mark.parametrize(
    ("text", "kind", "values"),
    [
        ("64,128,256", "discrete", (64, 128, 256)),
        ("0.9, 0.1", "discrete", (0.1, 0.9)),
        ("range(1,10,2)", "discrete", (1, 3, 5, 7, 9)),
        ("range(0, 1, 0.25)", "discrete", (0.0, 0.25, 0.5, 0.75)),
        ("choice(64,128)", "discrete", (64, 128)),
        ("adam,sgd", "categorical", ("adam", "sgd")),
        ("choice(adam, sgd)", "categorical", ("adam", "sgd")),
        ("true,false", "categorical", (True, False)),
        ('"1","2"', "categorical", ("1", "2")),
        ("auto,1,0.5", "categorical", ("auto", 1, 0.5)),
        ("[64,64],[32,32]", "categorical", ([64, 64], [32, 32])),
        ("['a,b'],[c]", "categorical", (["a,b"], ["c"])),
        ("float(1,2)", "discrete", (1.0, 2.0)),
    ],
)
def test_a_list_of_values_is_a_choice(text: str, kind: str, values: tuple[Any, ...]) -> None:
    found = parse("x", text)
    assert (found.kind, found.values) == (kind, values)
    assert [type(value) for value in found.values] == [type(value) for value in values]
    assert parse("x", str(found)) == found
    assert tuple(found.value(found.text(value)) for value in found.values) == values


def test_a_condition_names_a_parent_and_its_values() -> None:
    found = parse("momentum", "0.5..0.99 if optimizer=sgd|rmsprop")
    assert (found.low, found.high) == (0.5, 0.99)
    assert found.condition is not None
    assert (found.condition.parent, found.condition.values) == ("optimizer", ("sgd", "rmsprop"))
    assert str(found) == "0.5..0.99 if optimizer=sgd|rmsprop"
    assert parse("momentum", str(found)) == found


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("64", "'64' is no range and no list of values; write for example"),
        ("", "'' is no range and no list"),
        ("1e-2..1e-4", "0.01 is not less than 0.0001; write the smaller one first"),
        ("1..1", "1 is not less than 1"),
        ("1..x", "'1..x' is no range"),
        ("1..", "'1..' is no range"),
        ("0..1:log", "a log scale begins above 0, not at 0; leave out :log"),
        ("1..2:logarithmic", "there is no scale 'logarithmic'; it is log or reverse_log"),
        ("1..2:", "there is no scale"),
        ("a,a", "the value a is there twice"),
        ("1,1.0", "the value 1.0 is there twice"),
        ("a,", "'a,' has an empty value"),
        ("choice(a)", "a is no choice; give two values or more"),
        ("range(5,1)", "'range(5,1)' is empty"),
        ("range(a)", "'range(a)' is no range of numbers"),
        ("range(0,5000,2)", "more than 1,000 values"),
        ("glob(*)", "'glob(*)' is not understood"),
        ("tag(fast, interval(0,1))", "there is no tag 'fast'"),
        ("int(a,b)", "a, b are not all numbers"),
        ("interval(a, 1)", "a to 1 is no range of numbers"),
        ("interval(0, .inf)", "without an end"),
        ("1..2 if", "is no range"),
        ("1..2 if optimizer", "'optimizer' is no condition; write for example if optimizer=sgd"),
        ("1..2 if optimizer=", "is no condition"),
    ],
)
def test_what_cannot_be_read_says_why_and_what_would_be_right(text: str, message: str) -> None:
    with pytest.raises(ValueError) as error:  # noqa: PT011  its text is compared below
        parse("x", text)
    assert message in str(error.value)


@pytest.mark.parametrize(
    "text", ["1e-4..1e-2", "5..1", "1..x", "64,128", "a,b", "choice(a,b)", "[1],[2]", "1..2 if a=b"]
)
def test_a_word_that_asks_for_a_sweep_is_known_though_it_be_faulty(text: str) -> None:
    assert is_swept(text)


@pytest.mark.parametrize(
    "text",
    ["0.01", "adam", "[64,64]", '"a,b"', "../data", "data/v1..v2", "f(1,2)", "{a: 1, b: 2}", "", "1.5"],
)
def test_a_plain_value_is_no_sweep(text: str) -> None:
    assert not is_swept(text)


@pytest.mark.parametrize(
    ("space", "given", "value"),
    [
        ("1..10", "3", 3),
        ("1..10", 3.0, 3),
        ("0..1.0", "0.25", 0.25),
        ("64,128", "64.0", 64),
        ("0.5,1", "1", 1),
        ("true,false", "false", False),
        ("[64,64],[32,32]", "[32,32]", [32, 32]),
        ('"1",a', "1", "1"),
    ],
)
def test_a_trials_word_is_read_as_the_value_that_was_meant(space: str, given: object, value: object) -> None:
    found = parse("x", space).value(given)
    assert found == value
    assert type(found) is type(value)


def test_a_value_that_the_parameter_does_not_have_is_refused() -> None:
    with pytest.raises(ValueError, match="x has no value 3"):
        parse("x", "1,2").value("3")
    with pytest.raises(ValueError, match="x has no value adam"):
        parse("x", "1,2").value("adam")


def test_a_point_has_one_name_whatever_the_order_and_another_point_another() -> None:
    assert digest({"lr": 0.1, "width": 64}) == digest({"width": 64, "lr": 0.1})
    assert len(digest({"lr": 0.1})) == 16
    assert digest({"lr": 0.1}) != digest({"lr": 0.10000000000000002})
