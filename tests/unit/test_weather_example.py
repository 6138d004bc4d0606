"""examples/weather: what it trains on and is judged by; the months themselves are played in tests/e2e."""

from __future__ import annotations

import importlib
import json
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from headway.config import check_files, load

EXAMPLE = Path(__file__).parents[2] / "examples" / "weather"


@pytest.fixture(scope="module")
def example() -> Iterator[Any]:
    """Imports a module of the example, as a script beside it would."""
    sys.path.insert(0, str(EXAMPLE))
    before = set(sys.modules)

    def module(name: str) -> ModuleType:
        return importlib.import_module(name)

    yield module
    sys.path.remove(str(EXAMPLE))
    for name in ("forecast", "drift", "simulate"):
        if name not in before:
            sys.modules.pop(name, None)


@pytest.fixture(scope="module")
def station(example: Any, tmp_path_factory: pytest.TempPathFactory) -> Any:
    return example("simulate").Station(tmp_path_factory.mktemp("weather"), "weather")


def test_its_config_is_valid_and_names_a_function_that_is_there() -> None:
    loaded = load(EXAMPLE / "config.yaml")
    check_files(loaded)
    assert loaded.spec.tracked == ("data/days", "data/drift", "data/holdout")


def days(example: Any, table: Any) -> Any:
    """A table of days as forecast.py reads them."""
    forecast = example("forecast")
    values = table[forecast.COLUMNS].to_numpy("float32")
    return forecast.Days([day.date() for day in table["date"]], values)


def test_no_day_is_trained_on_and_held_out(example: Any, station: Any) -> None:
    forecast = example("forecast")
    january = station._months["2012-01"]
    inputs, targets, seasons = forecast.cases(days(example, january), held_out=False)
    held_out, _, _ = forecast.cases(days(example, january), held_out=True)
    span = forecast.DAYS + forecast.AHEAD - 1
    assert inputs.shape == (forecast.HELD_OUT - 1 - span, len(forecast.COLUMNS) * forecast.DAYS + 2)
    assert len(held_out) == 31 - forecast.HELD_OUT + 1
    assert set(seasons) == {"winter"}
    assert targets[0].item() == pytest.approx(january["temp_max"].iloc[span])


def test_a_month_that_is_missing_breaks_no_case(example: Any, station: Any) -> None:
    forecast = example("forecast")
    pandas = importlib.import_module("pandas")
    apart = [station._months[month] for month in ("2012-01", "2012-03")]
    inputs, _, _ = forecast.cases(days(example, pandas.concat(apart)), held_out=False)
    alone = [len(forecast.cases(days(example, month), held_out=False)[0]) for month in apart]
    assert len(inputs) == sum(alone)


def test_delivered_days_are_read_as_they_were_written(example: Any, station: Any, tmp_path: Path) -> None:
    for month in ("2012-02", "2012-01"):
        station._months[month].to_csv(tmp_path / f"{month}.csv", index=False)
    read = example("forecast").days(tmp_path)
    pandas = importlib.import_module("pandas")
    both = days(example, pandas.concat([station._months[month] for month in ("2012-01", "2012-02")]))
    assert read.dates == both.dates
    assert (read.values == both.values).all()
    with pytest.raises(FileNotFoundError, match="no days in"):
        example("forecast").days(tmp_path / "absent")


def in_fahrenheit(month: Any) -> Any:
    wrong = month.copy()
    wrong[["temp_max", "temp_min"]] = wrong[["temp_max", "temp_min"]] * 1.8 + 32
    return wrong


def distances(before: Any, month: Any, columns: list[str]) -> dict[str, float]:
    """What Evidently's measure is, without its report, which takes most of a second."""
    stats = importlib.import_module("scipy.stats")
    return {
        name: stats.wasserstein_distance(before[name], month[name]) / max(before[name].std(ddof=0), 0.001)
        for name in columns
    }


def test_any_month_in_the_wrong_unit_has_drifted_and_no_honest_one(example: Any, station: Any) -> None:
    drift, columns = example("drift"), example("forecast").COLUMNS
    pandas = importlib.import_module("pandas")
    honest: dict[bool, list[float]] = {True: [], False: []}
    wrong: list[float] = []
    for number, name in enumerate(station.names[2:], 2):
        month = station._months[name]
        before = pandas.concat([station._months[each] for each in station.names[:number]])
        known, words = drift.reference(before, month)
        assert known["date"].max() < month["date"].min()
        honest[words.endswith("of the same season")] += distances(known, month, columns).values()
        wrong += distances(known, in_fahrenheit(month), ["temp_max", "temp_min"]).values()
    assert len(wrong) == 2 * 46
    told = tuple(round(value, 1) for value in (max(honest[False]), max(honest[True]), min(wrong)))
    assert told == (1.9, 1.4, 5.1)  # README.md and drift.py say so
    assert max(told[:2]) < drift.FAR < min(wrong)


@pytest.mark.slow
def test_the_report_says_what_has_drifted(example: Any, station: Any, tmp_path: Path) -> None:
    drift, columns = example("drift"), example("forecast").COLUMNS
    pandas = importlib.import_module("pandas")
    before = pandas.concat([station._months[name] for name in station.names[:30]])
    july = station._months["2014-07"]
    honest = drift.compared(before, july)[0]
    assert honest["share_of_drifted_columns"] == 0
    told = drift.write(before, in_fahrenheit(july), tmp_path / "wrong")
    assert told == json.loads((tmp_path / "wrong" / "drift.json").read_text())
    assert told["share_of_drifted_columns"] == 0.5
    measured = distances(drift.reference(before, july)[0], in_fahrenheit(july), columns)
    assert told["distances"] == pytest.approx(measured, abs=0.006)
    assert (tmp_path / "wrong" / "drift.html").stat().st_size > 100_000


def a_story(example: Any, delivery: str = "as ever", **more: Any) -> Any:
    tick = {"time": "2026-01-01T00:00:00Z", "source": "run", "state": "started", "run_id": "weather-1"}
    report = {"share_of_drifted_columns": 0.5 if delivery == "in Fahrenheit" else 0.0}
    told = {"drift": report, "promotion": "refused: max of mae", "version": "3", "champion": "2", **more}
    return example("simulate").Story("2014-07", delivery, tick={**tick, "reason": "new data"}, **told)


def in_history(story: Any, **more: Any) -> dict[str, Any]:
    return {**story.tick, "promotion": story.promotion, **more}


def test_a_play_as_it_should_be_has_no_faults(example: Any) -> None:
    stories = [a_story(example, "in Fahrenheit"), a_story(example)]
    assert example("simulate").faults(stories, [in_history(story) for story in stories]) == []


@pytest.mark.parametrize(
    ("story", "tick", "fault"),
    [
        ({}, {"reason": ""}, "the tick of 2026-01-01T00:00:00Z has no reason"),
        ({}, {"promotion": None}, "nothing tells what became of the model of weather-1"),
        ({}, {"time": "2026-01-02T00:00:00Z"}, "the tick of 2014-07 is not in the history"),
        ({"champion": "3"}, {}, "the wrong delivery's model, version 3, is champion in 2014-07"),
        (
            {"promotion": "promoted: version 3 is champion now"},
            {},
            "the model of the wrong delivery of 2014-07 was promoted: version 3 is champion now",
        ),
        (
            {"drift": {"share_of_drifted_columns": 0.25}},
            {},
            "2014-07, delivery in Fahrenheit: share_of_drifted_columns is 0.25, the threshold 0.25",
        ),
    ],
)
def test_a_play_tells_what_must_not_be(example: Any, story: Any, tick: Any, fault: str) -> None:
    played = a_story(example, "in Fahrenheit", **story)
    assert fault in example("simulate").faults([played], [in_history(played, **tick)])


def test_the_config_calls_drift_what_the_play_does(example: Any) -> None:
    drift = load(EXAMPLE / "config.yaml").spec.schedule.triggers.drift  # type: ignore[union-attr]
    assert drift is not None
    assert (drift.key, drift.over) == (example("simulate").SHARE, example("simulate").OVER)
