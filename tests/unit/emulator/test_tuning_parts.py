"""What a study suggests, and what is made of the metrics that a trial reports."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from headway_emulator.engine.tuning import measurements, study
from headway_emulator.engine.tuning.measurements import falls_behind, final, merged, read
from headway_emulator.engine.tuning.study import Seen, arguments, at, names, suggest

UNITS = st.floats(0, 1, exclude_max=True)
LOSS: dict[str, Any] = {"metrics": [{"metricId": "loss", "goal": "MINIMIZE"}]}


def double(low: float, high: float, scale: str = "UNIT_LINEAR_SCALE", name: str = "x") -> dict[str, Any]:
    bounds = {"minValue": low, "maxValue": high}
    return {"parameterId": name, "doubleValueSpec": bounds, "scaleType": scale}


@given(UNITS, st.sampled_from(["", "UNIT_LINEAR_SCALE", "UNIT_LOG_SCALE", "UNIT_REVERSE_LOG_SCALE"]))
def test_every_value_is_within_its_bounds(unit: float, scale: str) -> None:
    assert 0.001 <= float(at(double(0.001, 10, scale), unit)) <= 10
    whole = {"parameterId": "n", "integerValueSpec": {"minValue": "2", "maxValue": "5"}, "scaleType": scale}
    assert at(whole, unit) in (2, 3, 4, 5)
    listed = {"parameterId": "d", "discreteValueSpec": {"values": [1, 10, 100]}, "scaleType": scale}
    assert at(listed, unit) in (1, 10, 100)


def test_a_logarithmic_scale_gives_each_power_of_ten_the_same_room() -> None:
    assert at(double(0.01, 1, "UNIT_LOG_SCALE"), 0.5) == pytest.approx(0.1)
    assert at(double(0.01, 1, "UNIT_REVERSE_LOG_SCALE"), 0.5) == pytest.approx(0.91)
    assert at(double(0, 1), 0.5) == 0.5


CONDITIONAL = [
    {
        "parameterId": "model",
        "categoricalValueSpec": {"values": ["linear", "deep"]},
        "conditionalParameterSpecs": [
            {
                "parentCategoricalValues": {"values": ["deep"]},
                "parameterSpec": {
                    "parameterId": "layers",
                    "integerValueSpec": {"minValue": "1", "maxValue": "2"},
                },
            }
        ],
    }
]


def test_a_conditional_parameter_is_there_only_with_its_parents_value() -> None:
    found = [suggest({**LOSS, "parameters": CONDITIONAL}, n, []) for n in range(1, 21)]
    values = [suggestion.values for suggestion in found if suggestion is not None]
    assert {tuple(v) for v in values} == {("model",), ("model", "layers")}
    assert all(("layers" in v) == (v["model"] == "deep") for v in values)
    assert names(CONDITIONAL) == ["model", "layers"]


def test_a_grid_has_every_point_once() -> None:
    grid = {**LOSS, "parameters": CONDITIONAL, "algorithm": "GRID_SEARCH"}
    found = [suggest(grid, n, []) for n in range(1, 5)]
    assert [suggestion and suggestion.values for suggestion in found] == [
        {"model": "linear"},
        {"model": "deep", "layers": 1},
        {"model": "deep", "layers": 2},
        None,
    ]


def test_the_first_trials_are_spread_and_later_ones_gather_at_the_best() -> None:
    """On a bowl with its bottom at (0.3, 0.3), the default finds it nearer than random search does."""

    def best(algorithm: str) -> float:
        spec = {**LOSS, "parameters": [double(0, 1), double(0, 1, name="y")], "algorithm": algorithm}
        seen: list[Seen] = []
        for number in range(1, 41):
            suggestion = suggest(spec, number, seen)
            assert suggestion is not None
            loss = sum((float(value) - 0.3) ** 2 for value in suggestion.values.values())
            seen.append(Seen(suggestion.units, -loss))
        return -max(trial.objective for trial in seen)

    first = [suggest({**LOSS, "parameters": [double(0, 1)]}, n, []) for n in range(1, 5)]
    quarters = {int(float(suggestion.values["x"]) * 4) for suggestion in first if suggestion is not None}
    assert len(quarters) >= 3
    assert best("ALGORITHM_UNSPECIFIED") < min(0.003, best("RANDOM_SEARCH"))


def test_arguments_are_written_as_a_program_reads_them() -> None:
    given: dict[str, study.Value] = {"lr": 0.1, "units": 64.0, "depth": 3, "kind": "adam", "tiny": 1e-07}
    assert arguments(given) == ["--lr=0.1", "--units=64", "--depth=3", "--kind=adam", "--tiny=1e-07"]


def line(value: float, step: int, when: float = 101.0, metric: str = "loss") -> str:
    body = {
        "timestamp": when,
        "trial": "1",
        metric: str(value),
        "global_step": str(step),
        "checkpoint_path": "",
    }
    return json.dumps(body)


def test_reports_are_read_and_what_is_none_is_left_out() -> None:
    text = "\n".join(
        [line(0.5, 1), "[]", line(1, 2, metric="other"), line(float("nan"), 3), '{"timestamp": 1']
    )
    assert read(text, LOSS, began=100.0) == [
        {
            "stepCount": "1",
            "elapsedDuration": "1.000000s",
            "metrics": [{"metricId": "loss", "value": 0.5}],
        }
    ]


def test_the_same_file_read_again_adds_nothing() -> None:
    found = merged([], read(f"{line(0.5, 1)}\n{line(0.25, 2, 102.0)}", LOSS, 100.0))
    again = merged(found, read(f"{line(0.5, 1)}\n{line(0.25, 2, 102.0)}\n{line(0.2, 3, 103.0)}", LOSS, 100.0))
    assert [m["stepCount"] for m in again] == ["1", "2", "3"]
    assert merged(again, read(line(0.25, 2, 102.0), LOSS, 100.0)) == again, (
        "the file keeps only the last ones"
    )


def test_metrics_of_one_step_are_one_measurement() -> None:
    both = {"metrics": [*LOSS["metrics"], {"metricId": "accuracy", "goal": "MAXIMIZE"}]}
    text = f"{line(0.5, 1)}\n{line(0.9, 1, 101.5, 'accuracy')}"
    found = merged(merged([], read(text, both, 100.0)), read(text, both, 100.0))
    assert [[metric["metricId"] for metric in m["metrics"]] for m in found] == [["loss", "accuracy"]]


def test_the_final_measurement_must_have_the_objective() -> None:
    found = merged([], read("\n".join(line(v, s) for s, v in enumerate((0.5, 0.0, 0.2))), LOSS, 100.0))
    last = final(found, LOSS)
    best = final(found, {**LOSS, "measurementSelectionType": "BEST_MEASUREMENT"})
    assert last is not None
    assert best is not None
    assert (last["stepCount"], best["stepCount"]) == ("2", "1")
    assert final([{**found[0], "metrics": []}], LOSS) is None


def test_the_median_rule_compares_with_running_averages_up_to_the_same_step() -> None:
    spec = {**LOSS, "medianAutomatedStoppingSpec": {}}

    def curve(*values: float) -> list[Any]:
        return merged([], read("\n".join(line(v, s, 100.0 + s) for s, v in enumerate(values)), LOSS, 100.0))

    others = [curve(1.0, 0.5, 0.1), curve(0.9, 0.5, 0.1), curve(0.8, 0.4, 0.1)]
    assert falls_behind(curve(2.0, 1.5), others, spec)
    assert not falls_behind(curve(2.0, 0.6), others, spec), "its best counts, against averages so far"
    assert not falls_behind(curve(9.0), [], spec)
    assert not falls_behind([], others, spec)


def test_the_objective_is_turned_so_that_more_is_better() -> None:
    (measurement,) = read(line(0.5, 1), LOSS, 100.0)
    assert measurements.objective(measurement, LOSS) == -0.5
    upward = {"metrics": [{"metricId": "loss", "goal": "MAXIMIZE"}]}
    assert measurements.objective(measurement, upward) == 0.5
    assert study.written(2.5) == "2.5"


@pytest.mark.parametrize(
    "text",
    [
        '{"loss": null}',
        '{"loss": [1]}',
        '{"loss": 1, "global_step": Infinity}',
        '{"loss": 1, "global_step": [1]}',
        '{"loss": 1, "timestamp": Infinity}',
        '{"loss": 1, "timestamp": null}',
        "[" * 100_000,
    ],
)
def test_a_wrong_report_hangs_no_trial(text: str) -> None:
    """A trial's end is written with its last measurements: what cannot be read must not stop that."""
    assert len(read(f"{text}\n{line(0.5, 1)}", LOSS, 100.0)) == 1
