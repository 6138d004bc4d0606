"""examples/weather: some months of it, as `make weather` plays them."""

from __future__ import annotations

import subprocess
import sys
from typing import Any

import pytest
import requests

from tests.e2e.conftest import ROOT, Launcher


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_the_months_go_by_and_a_wrong_delivery_does_not_take_the_alias(
    launch_without_engine: Launcher,
) -> None:
    words = ["--months", "6", "--bad", "2012-05", "--silent", "2012-06"]
    played = subprocess.run(
        [sys.executable, "-W", "ignore", "simulate.py", *words],
        cwd=ROOT / "examples" / "weather",
        env=launch_without_engine.variables,
        capture_output=True,
        text=True,
        timeout=1700,
        check=False,
    )
    assert played.returncode == 0, played.stdout + played.stderr
    assert "rolled back: champion was version 2, and is version 1 again" in played.stdout

    assert "6 ticks in " in played.stdout

    ticks: Any = launch_without_engine.json("schedule", "history", "--local", "weather")
    assert [(tick["source"], tick["state"]) for tick in ticks] == [
        ("run", "skipped"),  # June brought nothing
        ("run", "started"),  # May, corrected
        ("run", "skipped"),  # its drift had started the one before
        ("watch", "started"),  # May, in Fahrenheit
        ("run", "started"),
        ("run", "started"),
    ]
    assert all(tick["reason"] for tick in ticks)
    assert all(tick["promotion"] for tick in ticks if tick["state"] == "started")
    assert ticks[3]["reason"].startswith("drift: share_of_drifted_columns is 0.5, over 0.25; new data (")
    for skipped in (ticks[0], ticks[2]):
        assert skipped["reason"].startswith("nothing changed since weather-")
    shown = launch_without_engine.json("models", "show", "--local", "weather")
    assert shown["aliases"] == {"champion": "1"}
    corrected, wrong, second, first = shown["versions"]
    assert (first["promotion"], second["replaced"]) == (
        "promoted: version 1 is champion now, the first one",
        "1",
    )
    assert wrong["promotion"].startswith("refused: max of mae")
    assert corrected["promotion"].startswith("refused: ")
    outputs = {path.rpartition("/")[2] for path in pulled(launch_without_engine, wrong["run_id"])}
    assert {"drift.html", "drift.json", "promotion.md", "promotion.json"} <= outputs
    assert artifacts(launch_without_engine, wrong["run_id"]) == {"outputs/drift.html", "outputs/drift.json"}


def artifacts(launch: Launcher, run_id: str) -> set[str]:
    """What MLflow keeps below `outputs/` of a run's artifacts."""
    server, _, rest = launch.json("status", "--local", run_id)["tracking_url"].partition("/#/")
    query = {"run_id": rest.rpartition("/")[2], "path": "outputs"}
    reply = requests.get(f"{server}/api/2.0/mlflow/artifacts/list", params=query, timeout=30)
    return {file["path"] for file in reply.json()["files"]}


def pulled(launch: Launcher, run_id: str) -> list[str]:
    """The names of a run's files."""
    folder = launch.state / "pulled"
    document = launch.json("pull", "--local", run_id, str(folder))
    return [str(file) for file in document["files"]]
