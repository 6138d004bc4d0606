"""Plays the months of 2012 to 2015 on the local stack.

Days arrive, the schedule retrains, the champion changes hands or does not. One delivery is in the wrong unit,
in some months none comes; at the end the champion is rolled back.

    python simulate.py --months 48
"""

from __future__ import annotations

import argparse
import io
import json
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stdout
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import drift
import pandas as pd
from forecast import AHEAD, DAYS, HELD_OUT

HERE = Path(__file__).parent
CODE = ("train.py", "forecast.py", "requirements.txt", "config.yaml", ".dvcignore")
BEGINNING = 3
"""So many months are there at the beginning: of less nothing can be learned."""
REMEMBERED = 12
"""The holdout is of so many months."""


@dataclass(frozen=True)
class Month:
    """What became of a month: the tick and why, its run, and who is champion after it."""

    name: str
    delivery: str
    drift: float | None
    tick: str
    why: str
    run: str | None
    promotion: str | None
    champion: str | None


class Station:
    """A project folder to which a weather station delivers a month at a time, tracked by DVC."""

    def __init__(self, folder: Path, name: str) -> None:
        from vega_datasets import local_data

        self.folder = folder
        days = local_data.seattle_weather()
        self._months = dict(list(days.groupby(days["date"].dt.strftime("%Y-%m"))))
        self.names = sorted(self._months)
        for file in CODE:
            shutil.copy(HERE / file, folder)
        shutil.copytree(HERE / ".dvc", folder / ".dvc", ignore=shutil.ignore_patterns("cache", "tmp"))
        (folder / ".dvc" / "config").write_text("[core]\n    no_scm = True\n    analytics = false\n")
        config = (HERE / "config.yaml").read_text(encoding="utf-8")
        config = config.replace("name: weather", f"name: {name}").replace(
            "register: weather", f"register: {name}"
        )
        config = config.replace("report: weather/", f"report: {name}/")
        (folder / "config.yaml").write_text(config, encoding="utf-8")

    def deliver(self, month: str, *, fahrenheit: bool = False) -> float:
        """Put a month's days, and the checked record of its last ones, into the data; how far it has drifted.

        The record of the last days is checked by people before it becomes holdout: it is right in any case.
        """
        days = self._months[month]
        feed = days.copy()
        if fahrenheit:
            feed[["temp_max", "temp_min"]] = feed[["temp_max", "temp_min"]] * 1.8 + 32
        self._write("days", month, feed)
        context = HELD_OUT - (DAYS + AHEAD - 1)
        self._write("holdout", month, days[days["date"].dt.day >= context])
        for old in sorted((self.folder / "data" / "holdout").glob("*.csv"))[:-REMEMBERED]:
            old.unlink()
        before = [self._read(file) for file in sorted((self.folder / "data" / "days").glob("*.csv"))]
        known = pd.concat(
            [table for table in before if table["date"].iloc[0] < days["date"].iloc[0]] or [feed]
        )
        share = drift.report(known, feed, self.folder / "data" / "drift")
        self._track()
        return share

    def _track(self) -> None:
        """`dvc add`, in this process: it takes seconds to import."""
        from dvc.repo import Repo

        with Repo(str(self.folder)) as repo:
            repo.add([str(self.folder / "data" / name) for name in ("days", "holdout", "drift")])

    def _write(self, kind: str, month: str, table: pd.DataFrame) -> None:
        file = self.folder / "data" / kind / f"{month}.csv"
        file.parent.mkdir(parents=True, exist_ok=True)
        # dvc links its cache's files: written beside, and put in its place
        part = file.with_suffix(".part")
        table.to_csv(part, index=False)
        part.replace(file)

    @staticmethod
    def _read(file: Path) -> pd.DataFrame:
        return pd.read_csv(file, parse_dates=["date"])


def launch(*words: str) -> Any:
    """What `launch WORDS --local --json` prints, run in this process: it is called hundreds of times."""
    from headway_launcher.main import run

    printed = io.StringIO()
    with redirect_stdout(printed):
        code = run([*words, "--json"])
    if code not in (0, 1):  # 1: a run that failed, which its document tells
        raise SystemExit(f"launch {' '.join(words)} ended with {code}:\n{printed.getvalue()}")
    return json.loads(printed.getvalue())


class Story:
    """The months as they go by."""

    def __init__(self, station: Station, name: str, bad: str | None, silent: frozenset[str]) -> None:
        self.station, self.name, self.bad, self.silent = station, name, bad, silent
        self.config = str(station.folder / "config.yaml")
        self.stack = launch("local", "up", "--executor", "process")
        self.months: list[Month] = []

    def play(self, months: int) -> None:
        """The first months are there when the schedule begins; each of the others ends with a tick."""
        played = self.station.names[:months]
        for month in played[:BEGINNING]:
            share = self.station.deliver(month)
        self._push()
        launch("schedule", "create", "--local", self.config)
        self._tick(played[:BEGINNING][-1], "the first months", share)
        for month in played[BEGINNING:]:
            wrong = month == self.bad
            if month in self.silent:
                self._tick(month, "none", None)
                continue
            share = self.station.deliver(month, fahrenheit=wrong)
            self._push()
            self._tick(month, "in Fahrenheit" if wrong else "as ever", share)
            if wrong:
                self.station.deliver(month)
                self._push()
                self._tick(month, "the same, corrected", None)

    def _push(self) -> None:
        launch("data", "push", "--local", self.config)

    def _tick(self, month: str, delivery: str, share: float | None) -> None:
        tick = launch("schedule", "run", "--local", self.name)
        run = tick["run_id"] if tick["state"] == "started" else None
        promotion = None
        if run is not None:
            ended = launch("wait", "--local", "--timeout", "10m", run)
            told = ended["promotion"] or {"outcome": ended["state"], "reason": ended["error"]}
            promotion = f"{told['outcome']}: {told['reason']}"
        if share is not None:
            self._publish_drift()
        story = Month(month, delivery, share, tick["state"], tick["reason"], run, promotion, self.champion())
        self.months.append(story)
        shown = f"{story.drift:.2f}" if story.drift is not None else "-"
        print(f"{month}  delivery {delivery}, drift {shown}  champion {story.champion}", flush=True)
        print(f"         {story.tick} {run or ''}: {promotion or story.why}", flush=True)

    def champion(self) -> str | None:
        """The version that has the alias."""
        if not any(one["name"] == self.name for one in launch("models", "list", "--local")):
            return None
        return launch("models", "show", "--local", self.name)["aliases"].get("champion")

    def _publish_drift(self) -> None:
        """The report's number goes to where the schedule's drift trigger looks."""
        from google.auth.credentials import AnonymousCredentials
        from google.cloud import storage

        client = storage.Client(
            project=self.stack["project"],
            credentials=AnonymousCredentials(),
            client_options={"api_endpoint": self.stack["emulator_url"]},
        )
        document = self.station.folder / "data" / "drift" / "drift.json"
        blob = client.bucket(self.stack["bucket"]).blob(f"{self.name}/drift.json")
        blob.upload_from_filename(str(document), content_type="application/json")


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--months", type=int, default=48, help="how many, from January 2012 on")
    parser.add_argument("--bad", default="2014-07", help="the month that is delivered in Fahrenheit")
    parser.add_argument("--silent", default="2013-02,2015-04", help="months without a delivery")
    parser.add_argument("--name", default="weather", help="the job's, the schedule's and the model's name")
    args = parser.parse_args()
    with _folder() as folder:
        silent = frozenset(args.silent.split(","))
        story = Story(Station(folder, args.name), args.name, args.bad, silent)
        story.play(args.months)
        told(story)


def told(story: Story) -> None:
    """The history and the champions, as the commands show them, and the way back in one command."""
    states = [month.tick for month in story.months]
    outcomes = [month.promotion.partition(":")[0] for month in story.months if month.promotion]
    print(f"\n{len(states)} ticks: {_counted(states)}; models: {_counted(outcomes)}")
    before = story.champion()
    back = launch("models", "rollback", "--local", story.name)
    print(f"rolled back: champion was version {before}, and is version {story.champion()} again")
    assert (back["before"], back["version"]) == (before, story.champion())
    print(f"see: launch schedule history --local {story.name}; launch models show --local {story.name}")


def _counted(words: list[str]) -> str:
    return ", ".join(f"{words.count(word)} {word}" for word in dict.fromkeys(words)) or "none"


@contextmanager
def _folder() -> Iterator[Path]:
    with tempfile.TemporaryDirectory(prefix="weather-") as name:
        yield Path(name)


if __name__ == "__main__":
    main()
