"""The hypertune sink: a sweep's metric in the file from which Vertex AI takes a trial's measurements.

The file's form is that of cloudml-hypertune 0.1.0.dev6, which the image need not have: a JSON object a line,
all values but the timestamp as text, rewritten in its place at each report, and cut to the last hundred.
"""

from __future__ import annotations

import json
import math
import time
from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from headway.errors import MachineError
from headway.spec.layout import METRIC_FILE_VARIABLE, TRIAL_VARIABLE
from headway.spec.status import ModelVersion
from headway.tracking.sinks import Opened, Outcome
from headway.tracking.spool import Event

METRIC_FILE = "/var/hypertune/output.metrics"
"""Where Vertex AI looks where it sets no variable."""
REPORTS = 100
_BESIDE = frozenset({"timestamp", "trial", "global_step", "checkpoint_path"})


class HypertuneSink:
    """Reports one metric. Code that uses cloudml-hypertune itself writes to `theirs`, which is taken over.

    `value` is what was reported last, `met` whether the metric was logged at all (a NaN is not reported), and
    `logged` the names of all metrics.
    """

    name = "hypertune"

    def __init__(self, metric: str, variables: Mapping[str, str], theirs: Path) -> None:
        self.value: float | None = None
        self.met = False
        self.logged: set[str] = set()
        self._metric, self._theirs = metric, theirs
        self._path = Path(variables.get(METRIC_FILE_VARIABLE) or METRIC_FILE)
        self._trial = variables.get(TRIAL_VARIABLE, "0")
        self._reports: deque[dict[str, Any]] = deque(maxlen=REPORTS)
        self._step = 0
        self._taken = 0.0
        """Time of the newest report of the code's own."""

    def open(self) -> Opened:
        """Go on after what this trial reported before its container started again on the same disk."""
        self._reports.clear()
        for report in _read(self._path):
            if (value := _number(report.get(self._metric))) is not None:
                self._add(value, report["timestamp"], int(report.get("global_step") or 0))
                self._taken = max(self._taken, report["timestamp"])
        return Opened(None, None)

    def deliver(self, events: Sequence[Event]) -> None:
        """What the disk does not take now is in the next write; `finish` is the one to fail."""
        for event in events:
            if event["kind"] == "metrics":
                self.logged |= set(event["values"])
                self._take(event["values"].get(self._metric), event["time"], int(event.get("step") or 0))
        self._take_theirs()
        with suppress(MachineError):
            self.write()

    def finish(self, outcome: Outcome) -> ModelVersion | None:  # noqa: ARG002
        """Raises MachineError where the file cannot be written."""
        self._take_theirs()
        self.write()
        return None

    def report(self, value: float, step: int = 0) -> None:
        """Report a value that training did not log just now. Raises MachineError."""
        self._take(value, time.time(), step)
        self.write()

    def _take(self, given: object, moment: float, step: int) -> None:
        if given is None:
            return
        self.met = True
        if (value := _number(given)) is not None:
            self._add(value, moment, step)

    def _take_theirs(self) -> None:
        for report in _read(self._theirs):
            if report["timestamp"] > self._taken:
                self._taken = report["timestamp"]
                self.logged |= set(report) - _BESIDE
                self._take(report.get(self._metric), self._taken, int(report.get("global_step") or 0))

    def _add(self, value: float, moment: float, step: int) -> None:
        # measurements are ordered by step: what a second trainer logs, counting from 0 again, is the later
        step = self._step = max(step, self._step)
        report = {
            "timestamp": moment,
            "trial": self._trial,
            self._metric: str(value),
            "global_step": str(step),
            "checkpoint_path": "",
        }
        last = self._reports[-1] if self._reports else {}
        # Lightning's callbacks see a value of one step several times
        if (last.get("global_step"), last.get(self._metric)) != (str(step), str(value)):
            self._reports.append(report)
        self.value, self.met = value, True

    def write(self) -> None:
        """Bring all that is to be reported into the file. Raises MachineError."""
        if not self._reports:
            return
        text = "".join(json.dumps(report, sort_keys=True) + "\n" for report in self._reports)
        try:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            # in its place, as cloudml-hypertune does: whoever follows the file need not find it anew
            self._path.write_text(text, encoding="utf-8")
        except OSError as error:
            raise MachineError(
                f"the trial's metric cannot be written to {self._path}: {error.strerror}"
            ) from error


def _read(path: Path) -> Iterator[dict[str, Any]]:
    """The reports of a file; a line that is being written, or is none, is left out."""
    try:
        lines = path.read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return
    for line in lines:
        try:
            report = json.loads(line)
            int(report.get("global_step") or 0)
        except (ValueError, TypeError, OverflowError, AttributeError, RecursionError):
            continue
        if isinstance(report.get("timestamp"), int | float):
            yield report


def _number(given: object) -> float | None:
    """A finite number, None for all else."""
    try:
        value = float(str(given))
    except ValueError:
        return None
    return value if math.isfinite(value) else None
