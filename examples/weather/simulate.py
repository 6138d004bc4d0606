"""Plays the months of 2012 to 2015 on the local stack.

Days arrive, the schedule retrains, the champion changes hands or does not. One delivery is in the wrong unit,
in some months none comes; at the end the champion is rolled back. It fails where a tick has no reason, drift
was missed or imagined, the wrong delivery's model was ever champion, or the way back leads elsewhere.

    python simulate.py --months 48
"""

from __future__ import annotations

import argparse
import io
import json
import shutil
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
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
SHARE = "share_of_drifted_columns"
OVER = 0.25
"""As in config.yaml: what the schedule's watch calls drift."""
WATCH_S = 180.0


@dataclass(frozen=True)
class Story:
    """What became of one tick: whose it was and why, its run, and who is champion after it."""

    month: str
    delivery: str
    drift: Mapping[str, Any] | None
    tick: Mapping[str, Any]
    promotion: str | None
    version: str | None
    champion: str | None

    def __str__(self) -> str:
        run, word = self.tick["run_id"] or "", f"{self.tick['source']}: {self.tick['state']}"
        reason = self.tick["reason"] if self.promotion is None else self.promotion
        told = f"drift {self.drift[SHARE]:.2f}" if self.drift else "no report"
        return (
            f"{self.month}  delivery {self.delivery}, {told}  champion {self.champion}\n"
            f"         {word} {run}: {reason}"
        )


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

    def deliver(self, month: str, *, fahrenheit: bool = False) -> dict[str, Any]:
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
        told = drift.write(known, feed, self.folder / "data" / "drift")
        self._track()
        return told

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


class Play:
    """The months as they go by."""

    def __init__(self, station: Station, name: str, bad: str | None, silent: frozenset[str]) -> None:
        self.station, self.name, self.bad, self.silent = station, name, bad, silent
        self.config = str(station.folder / "config.yaml")
        self.stack: Any = None
        self.stories: list[Story] = []
        self._begun: tuple[str, str, Mapping[str, Any] | None, Any] | None = None

    def play(self, months: int, executor: str, words: Sequence[str]) -> None:
        """The first months are there when the schedule begins; each of the others ends with a tick."""
        self.stack = launch("local", "up", "--executor", executor)
        if any(each["name"] == self.name for each in launch("schedule", "list", "--local")):
            raise SystemExit(
                f"{self.name} was played here before: NAME=weather2 is another, or: launch local reset"
            )
        played = self.station.names[:months]
        reports = [self.station.deliver(month) for month in played[:BEGINNING]]
        launch("data", "push", "--local", self.config)
        launch("schedule", "create", "--local", self.config, *words)
        self._hand_on(played[:BEGINNING][-1], "the first months", reports[-1])
        for month in played[BEGINNING:]:
            if month in self.silent:
                self._end()
                self._tick(month, "none", None)
            elif month == self.bad:
                self._deliver(month, "in Fahrenheit", fahrenheit=True)
                self._deliver(month, "the same, corrected")
            else:
                self._deliver(month, "as ever")
        self._end()

    def _deliver(self, month: str, delivery: str, *, fahrenheit: bool = False) -> None:
        """Days come while the month before is still trained on: its run has its data pinned."""
        report = self.station.deliver(month, fahrenheit=fahrenheit)
        launch("data", "push", "--local", self.config)
        self._end()
        self._hand_on(month, delivery, report)

    def _hand_on(self, month: str, delivery: str, report: Mapping[str, Any]) -> None:
        """The report goes to where the schedule's watch looks; then comes the first of the next month."""
        seen = {tick["time"] for tick in self._watched()}
        self._publish_drift()
        if report[SHARE] > OVER:
            self._begun = (month, delivery, report, self._look_now(seen))
            self._end()
        self._tick(month, delivery, report)

    def _tick(self, month: str, delivery: str, report: Mapping[str, Any] | None) -> None:
        self._begun = (month, delivery, report, launch("schedule", "run", "--local", self.name))

    def _look_now(self, seen: set[str]) -> Any:
        """The tick of the watch, which Cloud Scheduler calls every five minutes, and is told to call now."""
        import requests

        place = f"projects/{self.stack['project']}/locations/{self.stack['region']}"
        address = f"{self.stack['emulator_url']}/v1/{place}/jobs/headway-{self.name}-watch:run"
        requests.post(address, json={}, timeout=60).raise_for_status()
        deadline = time.monotonic() + WATCH_S
        while time.monotonic() < deadline:
            for tick in self._watched():
                if tick["time"] not in seen and tick["state"] in ("started", "skipped", "failed"):
                    return tick
            time.sleep(0.5)
        raise SystemExit(f"the watch of {self.name} has not seen the drift after {WATCH_S:.0f} s")

    def _watched(self) -> list[Any]:
        return [tick for tick in self.history(3) if tick["source"] == "watch"]

    def history(self, limit: int) -> list[Any]:
        """The newest ticks, as `launch schedule history` has them."""
        return launch("schedule", "history", "--local", "--limit", str(limit), self.name)

    def _end(self) -> None:
        """Wait for the run of the last tick, and tell what became of it."""
        if self._begun is None:
            return
        (month, delivery, report, tick), self._begun = self._begun, None
        promotion = version = None
        if tick["state"] == "started":
            ended = launch("wait", "--local", "--timeout", "10m", tick["run_id"])
            told = ended["promotion"] or {"outcome": ended["state"], "reason": ended["error"]}
            promotion, version = f"{told['outcome']}: {told['reason']}", told.get("version")
        story = Story(month, delivery, report, tick, promotion, version, self.champion())
        self.stories.append(story)
        print(story, flush=True)

    def champion(self) -> str | None:
        """The version that has the alias."""
        if not any(one["name"] == self.name for one in launch("models", "list", "--local")):
            return None
        return launch("models", "show", "--local", self.name)["aliases"].get("champion")

    def _publish_drift(self) -> None:
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


def launch(*words: str) -> Any:
    """What `launch WORDS --local --json` prints, run in this process: it is called hundreds of times."""
    from headway_launcher.main import run

    printed = io.StringIO()
    with redirect_stdout(printed):
        code = run([*words, "--json"])
    if code not in (0, 1):  # 1: a run that failed, which its document tells
        raise SystemExit(f"launch {' '.join(words)} ended with {code}:\n{printed.getvalue()}")
    return json.loads(printed.getvalue())


def faults(stories: Sequence[Story], history: Sequence[Mapping[str, Any]]) -> list[str]:
    """What must not be: a tick without a reason, drift missed or imagined, the wrong delivery as champion."""
    found = [f"the tick of {tick['time']} has no reason" for tick in history if not tick["reason"]]
    found += [
        f"nothing tells what became of the model of {tick['run_id']}"
        for tick in history
        if tick["state"] == "started" and not tick["promotion"]
    ]
    found += [f"the tick of {tick['time']} {tick['state']}" for tick in history if tick["state"] == "failed"]
    in_history = {(tick["time"], tick["source"]) for tick in history}
    found += [
        f"the tick of {story.month} is not in the history"
        for story in stories
        if (story.tick["time"], story.tick["source"]) not in in_history
    ]
    wrong = {story.version for story in stories if story.delivery == "in Fahrenheit" and story.version}
    for story in stories:
        is_wrong = story.delivery == "in Fahrenheit"
        if story.drift is not None and (story.drift[SHARE] > OVER) != is_wrong:
            told = f"{SHARE} is {story.drift[SHARE]:g}, the threshold {OVER:g}"
            found.append(f"{story.month}, delivery {story.delivery}: {told}")
        if is_wrong and story.promotion is not None and not story.promotion.startswith("refused: "):
            found.append(f"the model of the wrong delivery of {story.month} was {story.promotion}")
        if story.champion in wrong:
            found.append(
                f"the wrong delivery's model, version {story.champion}, is champion in {story.month}"
            )
    return found


def roll_back(play: Play) -> list[str]:
    """The way back in one command, told; and what is wrong with it."""
    if len({story.champion for story in play.stories} - {None}) < 2:
        print("there was one champion only: nothing to go back to")
        return []
    before = play.champion()
    back = launch("models", "rollback", "--local", play.name)
    print(f"rolled back: champion was version {before}, and is version {play.champion()} again")
    earlier = next(story.champion for story in reversed(play.stories) if story.champion != before)
    if play.champion() == earlier == back["version"]:
        return []
    return [f"the champion before version {before} was version {earlier}, not {play.champion()}"]


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--months", type=int, default=48, help="how many, from January 2012 on")
    parser.add_argument("--bad", default="2014-07", help="the month that is delivered in Fahrenheit")
    parser.add_argument("--silent", default="2013-02,2015-04", help="months without a delivery")
    parser.add_argument("--name", default="weather", help="the job's, the schedule's and the model's name")
    parser.add_argument("--executor", default="process", help="where jobs run: process or docker")
    parser.add_argument("overrides", nargs="*", help="of config.yaml: environment.wheelhouse=FOLDER")
    args = parser.parse_args()
    began = time.monotonic()
    with _folder() as folder:
        play = Play(Station(folder, args.name), args.name, args.bad, frozenset(args.silent.split(",")))
        play.play(args.months, args.executor, args.overrides)
        history = play.history(1000)
        ours = [tick for tick in history if tick["time"] >= play.stories[0].tick["time"]]
        states = [tick["state"] for tick in ours]
        outcomes = [tick["promotion"].partition(":")[0] for tick in ours if tick["promotion"]]
        took = (time.monotonic() - began) / 60
        print(f"\n{len(states)} ticks in {took:.0f} min: {_counted(states)}; models: {_counted(outcomes)}")
        found = faults(play.stories, ours) + roll_back(play)
    for fault in found:
        print(f"wrong: {fault}", file=sys.stderr)
    print(f"see: launch schedule history --local {args.name}; launch models show --local {args.name}")
    if found:
        sys.exit(1)


def _counted(words: list[str]) -> str:
    return ", ".join(f"{words.count(word)} {word}" for word in dict.fromkeys(words)) or "none"


@contextmanager
def _folder() -> Iterator[Path]:
    with tempfile.TemporaryDirectory(prefix="weather-") as name:
        yield Path(name)


if __name__ == "__main__":
    main()
