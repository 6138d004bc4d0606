"""The bounds of what is kept of time series."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from headway_emulator.engine.store import Document, Store
from headway_emulator.engine.time_series import TimeSeriesTable, series_name


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    made = Store(tmp_path / "state.sqlite3")
    yield made
    made.close()


def head(metric: str, **labels: str) -> Document:
    return {"metric": {"type": metric, "labels": labels}, "resource": {"type": "global"}}


def write(
    table: TimeSeriesTable, number: int, metric: str = "custom.googleapis.com/a", **labels: str
) -> None:
    of = head(metric, **labels)
    end = f"2026-01-01T00:{number // 60:02d}:{number % 60:02d}Z"
    point = {"interval": {"endTime": end}, "value": {"int64Value": str(number)}}
    table.add(series_name(of["metric"], of["resource"]), of, point)


def values(series: Document) -> list[int]:
    return [int(point["value"]["int64Value"]) for point in series["points"]]


def test_the_newest_points_of_a_series_are_kept(store: Store) -> None:
    table = TimeSeriesTable(store, points=3)
    for number in range(5):
        write(table, number)
    (found,) = table.of_metric("custom.googleapis.com/a")
    assert values(found) == [4, 3, 2]


def test_the_series_made_last_are_kept_also_after_a_restart(store: Store) -> None:
    table = TimeSeriesTable(store, series=3)
    for number in range(3):
        write(table, number, run=str(number))
    write(table, 9, run="0")
    again = TimeSeriesTable(store, series=3)
    write(again, 4, run="new")
    runs = {found["metric"]["labels"]["run"] for found in again.of_metric("custom.googleapis.com/a")}
    assert runs == {"1", "2", "new"}


def test_a_metric_does_not_include_those_below_its_name(store: Store) -> None:
    table = TimeSeriesTable(store)
    write(table, 1, "custom.googleapis.com/a")
    write(table, 2, "custom.googleapis.com/a/b")
    assert [values(found) for found in table.of_metric("custom.googleapis.com/a")] == [[1]]
    table.delete_metric("custom.googleapis.com/a")
    assert list(table.of_metric("custom.googleapis.com/a")) == []
    assert [values(found) for found in table.of_metric("custom.googleapis.com/a/b")] == [[2]]
