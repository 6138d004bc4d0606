"""What a study suggests, and what is made of the metrics that a trial reports."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from statistics import median
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from headway_emulator.engine.tuning import grid, measurements, space
from headway_emulator.engine.tuning.measurements import falls_behind, final, merged, read
from headway_emulator.engine.tuning.space import Tried, Value, arguments, at
from headway_emulator.engine.tuning.study import suggest

UNITS = st.floats(0, 1, exclude_max=True)
SCALES = ["", "UNIT_LINEAR_SCALE", "UNIT_LOG_SCALE", "UNIT_REVERSE_LOG_SCALE"]
LOSS: dict[str, Any] = {"metrics": [{"metricId": "loss", "goal": "MINIMIZE"}]}
pytestmark = pytest.mark.filterwarnings("ignore::optuna.exceptions.ExperimentalWarning")
SAMPLED = ["ALGORITHM_UNSPECIFIED", "RANDOM_SEARCH"]


def double(low: float, high: float, scale: str = "UNIT_LINEAR_SCALE", name: str = "x") -> dict[str, Any]:
    bounds = {"minValue": low, "maxValue": high}
    return {"parameterId": name, "doubleValueSpec": bounds, "scaleType": scale}


def integers(low: int, high: int, scale: str = "UNIT_LINEAR_SCALE", name: str = "n") -> dict[str, Any]:
    given = {"minValue": str(low), "maxValue": str(high)}
    return {"parameterId": name, "integerValueSpec": given, "scaleType": scale}


def discrete(*values: float, scale: str = "", name: str = "d") -> dict[str, Any]:
    return {"parameterId": name, "discreteValueSpec": {"values": list(values)}, "scaleType": scale}


def words(*values: str, name: str = "w", **more: Any) -> dict[str, Any]:
    return {"parameterId": name, "categoricalValueSpec": {"values": list(values)}, **more}


def trials(
    parameters: Sequence[Mapping[str, Any]],
    count: int,
    loss: Callable[[Mapping[str, Value]], float | None] = lambda values: None,
    *,
    algorithm: str = "ALGORITHM_UNSPECIFIED",
    parallel: int = 1,
    seed: int = 0,
) -> list[dict[str, Value]]:
    """What a job tries whose trials end in their order; a trial without a loss has failed."""
    spec = {**LOSS, "parameters": parameters, "algorithm": algorithm, "seed": seed}
    found: list[dict[str, Value]] = []
    for number in range(1, count + 1):
        over = [Tried(values, True, _turned(loss(values))) for values in found[: max(0, number - parallel)]]
        values = suggest(spec, number, over + [Tried(values) for values in found[len(over) :]])
        if values is not None:
            found.append(values)
    return found


def _turned(loss: float | None) -> float | None:
    return None if loss is None else -loss


@given(UNITS, st.sampled_from(SCALES))
def test_every_value_is_within_its_bounds(unit: float, scale: str) -> None:
    assert 0.001 <= float(at(double(0.001, 10, scale), unit)) <= 10
    assert at(integers(2, 5, scale), unit) in (2, 3, 4, 5)
    assert at(discrete(1, 10, 100, scale=scale), unit) in (1, 10, 100)


def test_a_logarithmic_scale_gives_each_power_of_ten_the_same_room() -> None:
    assert at(double(0.01, 1, "UNIT_LOG_SCALE"), 0.5) == pytest.approx(0.1)
    assert at(double(0.01, 1, "UNIT_REVERSE_LOG_SCALE"), 0.5) == pytest.approx(0.91)
    assert at(double(0, 1), 0.5) == 0.5


@given(st.floats(0.01, 1), st.integers(1, 10**6), st.sampled_from(SCALES))
def test_the_place_of_a_value_leads_back_to_it(value: float, whole: int, scale: str) -> None:
    unit = double(0.01, 1, scale)
    assert at(unit, space.unit(unit, value)) == pytest.approx(value)
    wide = integers(1, 10**6, scale)
    assert at(wide, space.unit(wide, whole)) == whole


@pytest.mark.parametrize("algorithm", SAMPLED)
@pytest.mark.parametrize("scale", SCALES)
def test_what_is_suggested_is_within_its_bounds_at_every_extreme(algorithm: str, scale: str) -> None:
    """Of doubles and of 64 bits; among the earlier trials are some that failed."""
    most = 2**63 - 1
    least = 1 if "LOG" in scale else -(2**63)
    low = 5e-324 if "LOG" in scale else -1.7e308
    parameters = [
        double(low, 1.7e308, scale, "wide"),
        double(1, 1, scale, "single"),
        integers(least, most, scale, "whole"),
        integers(3, 9, scale, "few"),
        discrete(1e-300, 1, 1e300, scale=scale, name="listed"),
        words("a", "", name="word"),
    ]
    found = trials(parameters, 12, lambda v: None if v["word"] else float(v["few"]), algorithm=algorithm)
    for values in found:
        assert list(values) == ["wide", "single", "whole", "few", "listed", "word"]
        assert low <= float(values["wide"]) <= 1.7e308
        assert values["single"] == 1
        assert least <= int(values["whole"]) <= most
        assert values["few"] in range(3, 10)
        assert values["listed"] in (1e-300, 1, 1e300)
        assert values["word"] in ("a", "")
        assert json.loads(json.dumps(values)) == values


def test_a_reverse_logarithmic_scale_gathers_at_the_upper_end() -> None:
    found = trials([integers(1, 1000, "UNIT_REVERSE_LOG_SCALE")], 40, algorithm="RANDOM_SEARCH")
    assert median(int(values["n"]) for values in found) > 900
    found = trials([integers(1, 1000, "UNIT_LOG_SCALE")], 40, algorithm="RANDOM_SEARCH")
    assert median(int(values["n"]) for values in found) < 100


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


@pytest.mark.parametrize("algorithm", SAMPLED)
def test_a_conditional_parameter_is_there_only_with_its_parents_value(algorithm: str) -> None:
    model = {"linear": 1.0, "deep": 0.5}
    parameters = [*CONDITIONAL, double(0, 1)]
    found = trials(parameters, 20, lambda v: model[str(v["model"])], algorithm=algorithm, parallel=3)
    assert {tuple(values) for values in found} == {("model", "x"), ("model", "x", "layers")}
    assert all(("layers" in values) == (values["model"] == "deep") for values in found)


def test_two_branches_may_have_parameters_of_one_name() -> None:
    def branch(parent: str, below: dict[str, Any]) -> dict[str, Any]:
        return {"parentCategoricalValues": {"values": [parent]}, "parameterSpec": below}

    size = [branch("tree", integers(2, 4, name="size")), branch("net", double(100, 200, name="size"))]
    parameters = [words("tree", "net", name="model", conditionalParameterSpecs=size)]
    found = trials(parameters, 20, lambda values: float(values["size"]))
    for values in found:
        low, high = (2, 4) if values["model"] == "tree" else (100, 200)
        assert low <= float(values["size"]) <= high


def test_a_grid_has_every_point_once() -> None:
    assert trials(CONDITIONAL, 4, algorithm="GRID_SEARCH") == [
        {"model": "linear"},
        {"model": "deep", "layers": 1},
        {"model": "deep", "layers": 2},
    ]
    parameters = [*CONDITIONAL, discrete(1, 2), words("a", "b", "c")]
    points = [json.dumps(values) for values in trials(parameters, 100, algorithm="GRID_SEARCH")]
    assert len(points) == len(set(points)) == grid.size(parameters) == 18


def test_a_grid_beyond_all_measure_is_not_listed() -> None:
    below = {"parentIntValues": {"values": ["1"]}, "parameterSpec": discrete(1, 2)}
    wide = {**integers(0, 2**62, name="wide"), "conditionalParameterSpecs": [below]}
    first = trials([integers(-(2**63), 2**63 - 1), wide], 4, algorithm="GRID_SEARCH")
    assert [values["wide"] for values in first] == [0, 1, 1, 2]
    assert [values.get("d") for values in first] == [None, 1, 2, None]


@pytest.mark.parametrize("algorithm", SAMPLED)
def test_no_values_come_twice_before_all_have_come(algorithm: str) -> None:
    """Whether the others are still running or over; a job of more trials than there are points goes on."""
    parameters = [integers(1, 3), discrete(16, 32), words("a", "b"), *CONDITIONAL]
    assert grid.size(parameters) == 36
    for parallel in (1, 36):
        found = trials(
            parameters, 38, lambda v: float(v["n"]), algorithm=algorithm, parallel=parallel, seed=parallel
        )
        assert len({json.dumps(values, sort_keys=True) for values in found[:36]}) == 36
        assert len(found) == 38
    assert len(trials([words("a", "a")], 3, algorithm=algorithm)) == 3


def test_a_branch_of_one_point_is_tried_once_beside_one_of_doubles() -> None:
    child = {"parentCategoricalValues": {"values": ["deep"]}, "parameterSpec": double(0, 1)}
    parameters = [words("linear", "deep", name="model", conditionalParameterSpecs=[child])]
    found = trials(parameters, 20, lambda values: 0.0 if values["model"] == "linear" else 1.0)
    assert found.count({"model": "linear"}) == 1


def bowl(values: Mapping[str, Value]) -> float:
    return sum((float(value) - 0.3) ** 2 for value in values.values())


def test_the_default_comes_nearer_to_the_best_than_random_search() -> None:
    """On a bowl with its bottom at (0.3, 0.3), in 24 trials, four at a time: the median of five studies."""

    def best(algorithm: str, seed: int) -> float:
        axes = [double(0, 1), double(0, 1, name="y")]
        return min(map(bowl, trials(axes, 24, bowl, algorithm=algorithm, parallel=4, seed=seed)))

    default, uniform = (median(best(algorithm, seed) for seed in range(5)) for algorithm in SAMPLED)
    assert default < uniform


def test_a_trial_that_failed_is_kept_away_from() -> None:
    """Where everything above a half fails, and the rest is all the same, little is tried there."""
    axis = [double(0, 1)]
    found = trials(axis, 30, lambda values: None if float(values["x"]) > 0.5 else 1.0)
    assert sum(float(values["x"]) > 0.5 for values in found[10:]) < 7


def test_trials_under_way_are_kept_away_from() -> None:
    """With the best known at 0.5, ten more at once are not all beside it."""
    known = [Tried({"x": x / 10}, True, -abs(x / 10 - 0.5)) for x in range(11)]
    spec = {**LOSS, "parameters": [double(0, 1)]}
    running: list[Tried] = []
    for number in range(12, 22):
        values = suggest(spec, number, known + running)
        assert values is not None
        running.append(Tried(values))
    places = sorted(float(trial.values["x"]) for trial in running)
    assert places[-1] - places[0] > 0.3
    assert len(set(places)) == 10


MIXED = [*CONDITIONAL, double(1e-4, 1, "UNIT_LOG_SCALE"), integers(1, 9), discrete(16, 32, 64)]
PROGRAM = f"""
import json
from tests.unit.emulator import test_tuning_parts as parts
print(json.dumps([parts.mixed(algorithm) for algorithm in {SAMPLED}]))
"""


def mixed(algorithm: str, seed: int = 0) -> list[dict[str, Value]]:
    """Trials of all kinds of parameters, three at a time, of which some fail."""

    def loss(values: Mapping[str, Value]) -> float | None:
        return None if values["n"] == 5 else float(values["x"]) + float(values.get("layers", 0))

    return trials(MIXED, 14, loss, algorithm=algorithm, parallel=3, seed=seed)


def test_the_same_study_with_the_same_results_gets_the_same_trials_in_another_process() -> None:
    environment = {**os.environ, "PYTHONHASHSEED": "7"}
    asked = subprocess.run(
        [sys.executable, "-c", PROGRAM], env=environment, capture_output=True, timeout=60, check=True
    )
    here = [mixed(algorithm) for algorithm in SAMPLED]
    assert json.loads(asked.stdout) == here
    assert asked.stderr == b"", "Optuna says nothing"
    assert here[0] != mixed(SAMPLED[0], seed=1), "another study has others"


def test_optuna_is_loaded_for_the_first_suggestion_and_not_before() -> None:
    program = """
import sys
import headway_emulator.assembly
from headway_emulator.engine.tuning import study
axis = {"parameterId": "n", "integerValueSpec": {"minValue": "1", "maxValue": "2"}}
study.suggest({"parameters": [axis], "algorithm": "GRID_SEARCH"}, 1, [])
study.prepare({"parameters": [axis], "algorithm": "GRID_SEARCH"})
assert "optuna" not in sys.modules
study.prepare({"parameters": [axis]})
assert "optuna" in sys.modules
"""
    subprocess.run([sys.executable, "-c", program], timeout=60, check=True)


def test_arguments_are_written_as_a_program_reads_them() -> None:
    given: dict[str, Value] = {"lr": 0.1, "units": 64.0, "depth": 3, "kind": "adam", "tiny": 1e-07}
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
    assert space.written(2.5) == "2.5"


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
