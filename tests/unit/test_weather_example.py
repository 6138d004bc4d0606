"""examples/weather: what it trains on and is judged by; the months themselves are played in tests/e2e."""

from __future__ import annotations

import importlib
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


def test_no_day_is_trained_on_and_held_out(example: Any, station: Any) -> None:
    forecast = example("forecast")
    days = station._months["2012-01"]
    inputs, targets, seasons = forecast.cases(days.reset_index(drop=True), held_out=False)
    held_out, _, _ = forecast.cases(days.reset_index(drop=True), held_out=True)
    span = forecast.DAYS + forecast.AHEAD - 1
    assert inputs.shape == (forecast.HELD_OUT - 1 - span, len(forecast.COLUMNS) * forecast.DAYS + 2)
    assert len(held_out) == 31 - forecast.HELD_OUT + 1
    assert set(seasons) == {"winter"}
    assert targets[0].item() == pytest.approx(days["temp_max"].iloc[span])


def test_a_month_that_is_missing_breaks_no_case(example: Any, station: Any) -> None:
    forecast = example("forecast")
    pandas = importlib.import_module("pandas")
    two = pandas.concat([station._months["2012-01"], station._months["2012-03"]], ignore_index=True)
    inputs, _, _ = forecast.cases(two, held_out=False)
    alone = [
        len(forecast.cases(station._months[month].reset_index(drop=True), held_out=False)[0])
        for month in ("2012-01", "2012-03")
    ]
    assert len(inputs) == sum(alone)


@pytest.mark.slow
def test_a_delivery_in_the_wrong_unit_has_drifted(example: Any, station: Any, tmp_path: Path) -> None:
    drift = example("drift")
    pandas = importlib.import_module("pandas")
    before = pandas.concat([station._months[name] for name in station.names[:30]])
    july = station._months["2014-07"]
    wrong = july.copy()
    wrong[["temp_max", "temp_min"]] = wrong[["temp_max", "temp_min"]] * 1.8 + 32
    honest = drift.report(before, july, tmp_path / "honest")
    assert drift.report(before, wrong, tmp_path / "wrong") >= max(0.5, honest)
    assert (tmp_path / "wrong" / "drift.html").stat().st_size > 100_000
    assert '"share_of_drifted_columns"' in (tmp_path / "wrong" / "drift.json").read_text()
