"""A trial of a sweep: a run with values of its own, which Vertex AI gives in words and variables.

Its values may have an answer already, which is reported in place of training; where training ends well, what
it reached is recorded. Only the chief asks and reports: when it ends, Vertex AI ends the trial's other nodes.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from difflib import get_close_matches
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from headway.cloud.storage import split_uri
from headway.errors import HeadwayError, InputError, NotFound, RemoteError, RunFailed
from headway.runtime.log import say
from headway.runtime.status import Heartbeat
from headway.runtime.store import Store
from headway.spec.layout import TRIAL_VARIABLE
from headway.spec.parameter import digest
from headway.spec.plan import Plan
from headway.spec.status import RunStatus
from headway.spec.sweep import SweepPin
from headway.tracking.hypertune_sink import HypertuneSink

FOLDER_VARIABLE = "AIP_CHECKPOINT_DIR"
"""In a trial, a folder of the prefix that Vertex AI gives it."""


def folder(plan_name: str, variables: Mapping[str, str]) -> str:
    """The prefix in which status.json lies: a run's is beside its plan, a trial's is its own."""
    own = variables.get(FOLDER_VARIABLE) if variables.get(TRIAL_VARIABLE) else None
    return (split_uri(own)[1].rstrip("/") if own else plan_name).rpartition("/")[0]


def earlier(store: Store | None, folder: str, variables: Mapping[str, str]) -> RunStatus | None:
    """What a trial's status said when its container was taken away; None on a first start, and for a run."""
    if store is None or not variables.get(TRIAL_VARIABLE):
        return None
    try:
        return RunStatus.model_validate_json(store.read(f"{folder}/status.json"))
    except (NotFound, ValidationError):
        return None


def planned(plan: Plan, variables: Mapping[str, str], words: Sequence[str]) -> Plan:
    """The trial's own plan; one of a run by itself is left as it is.

    Raises InputError where Vertex AI's variable is absent, or a word is no value of the sweep's parameters.
    """
    if plan.sweep is None:
        return plan
    if not (number := variables.get(TRIAL_VARIABLE)):
        raise InputError(
            f"{TRIAL_VARIABLE} is not set: {plan.run_id} is a sweep, whose trials Vertex AI starts",
            hint="run: launch sweep",
        )
    return plan.trial(number, _given(words))


class Trial:
    """One trial, on its chief. `sink` is to be given what training logs before `finish` is called."""

    def __init__(
        self,
        plan: Plan,
        sweep: SweepPin,
        *,
        words: Sequence[str],
        variables: Mapping[str, str],
        reported: Path,
        store: Store,
        heartbeat: Heartbeat,
        before: RunStatus | None,
        cancel: Callable[[Plan], None],
    ) -> None:
        """`reported` is where training may report by itself, `before` the status of an earlier start."""
        self.sink = HypertuneSink(sweep.metric, variables, reported)
        self._plan, self._sweep, self._values = plan, sweep, sweep.values(_given(words))
        self._store, self._heartbeat, self._before, self._cancel = store, heartbeat, before, cancel

    def is_answered(self) -> bool:
        """Whether a trial of the same values ended well before: its value is reported as this one's.

        Raises InputError where an earlier trial found that none can be judged.
        """
        at, sweep = self._plan.layout, self._sweep
        if broken := self._record(at.sweep_broken(sweep.id)):
            raise InputError(f"the sweep {sweep.id} was given up: {broken.get('error')}")
        known = self._record(at.sweep_result(sweep.id, digest(self._values)))
        if known is None or not isinstance(value := known.get("value"), int | float):
            return False
        self.sink.open()
        self.sink.report(float(value))
        self._heartbeat.update(metrics={sweep.metric: float(value)}, exit_code=0)
        say(f"these values were tried as {known.get('run_id')}: {sweep.metric} {value:.6g}")
        return True

    def finish(self) -> None:
        """Training has ended well: see that its value is reported, and record it for trials to come.

        Raises InputError where the metric was never logged, and ends the whole sweep where no trial has a
        value yet; RunFailed where it was never a number; MachineError where it cannot be written.
        """
        metric, sink, before = self._sweep.metric, self.sink, self._before
        if not sink.met and before is not None and metric in before.metrics:
            sink.report(before.metrics[metric], before.step or 0)
        if sink.value is None:
            raise self._without_number() if sink.met else self._unlogged()
        sink.write()
        say(f"trial {self._sweep.trial}: {metric} {sink.value:.6g}")
        record = {
            "trial": self._sweep.trial,
            "run_id": self._plan.run_id,
            "params": self._values,
            "metric": metric,
            "value": sink.value,
        }
        name = self._plan.layout.sweep_result(self._sweep.id, digest(self._values))
        self._write(name, record, "a resumed sweep will run this trial again")

    def _without_number(self) -> RunFailed:
        return RunFailed(
            f"{self._sweep.metric} was logged, but never as a finite number",
            hint="these values made training diverge; a narrower range has fewer such trials",
        )

    def _unlogged(self) -> InputError:
        """The error; where there is no sign that other trials log the metric, the sweep ends with it."""
        sweep, names = self._sweep, sorted(self.sink.logged)
        near = (get_close_matches(sweep.metric, names, 1, 0.0) or ["NAME"])[0]
        error = InputError(
            f"training never logged {sweep.metric}, by which the sweep {sweep.id} judges its trials",
            details=[f"it logged {', '.join(names)}" if names else "it logged no metric at all"],
            hint=f'log it, for example by self.log("{sweep.metric}", ...), '
            f"or begin a sweep by another metric: --metric {near}:{sweep.goal}",
        )
        if self._before is None and not any(self._store.list(self._plan.layout.sweep_results(sweep.id))):
            self._give_up(error)
        return error

    def _give_up(self, error: InputError) -> None:
        """End the sweep: its other trials would train for nothing."""
        sweep = self._sweep
        name, record = self._plan.layout.sweep_broken(sweep.id), {"error": str(error), "trial": sweep.trial}
        self._write(name, record, "trials that begin now are not stopped by it")
        self._heartbeat.update(error=str(error))
        try:
            self._cancel(self._plan)
            say(f"the sweep {sweep.id} is cancelled")
        except HeadwayError as refused:
            self._heartbeat.warning(f"{refused.message}; run: launch sweep cancel {sweep.id}")

    def _write(self, name: str, record: Mapping[str, Any], otherwise: str) -> None:
        try:
            data = json.dumps(record, indent=1).encode()
            self._store.write(name, data, only_if_absent=True, content_type="application/json")
        except RemoteError as error:
            self._heartbeat.warning(f"{error.message}; {otherwise}")

    def _record(self, name: str) -> dict[str, Any] | None:
        try:
            found = json.loads(self._store.read(name))
        except (NotFound, ValueError):
            return None
        return found if isinstance(found, dict) else None


def _given(words: Sequence[str]) -> dict[str, str]:
    """Vertex AI's words, `--lr=0.01`."""
    found: dict[str, str] = {}
    for word in words:
        name, equals, value = word.removeprefix("--").partition("=")
        if not word.startswith("--") or not equals:
            raise InputError(
                f"{word!r} is no value of a trial's parameter", hint="they are given as --lr=0.01"
            )
        found[name] = value
    return found
