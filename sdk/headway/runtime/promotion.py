"""After training: the new model and the champion are compared, and the alias moves where all gates pass."""

from __future__ import annotations

import json
import math
import shutil
import signal
import sys
import threading
import traceback
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any, Protocol

from pydantic import ValidationError

from headway.cloud.storage import split_uri
from headway.data.disk import full_disk_told, require_space
from headway.errors import HeadwayError, NotFound, RemoteError, RunFailed
from headway.runtime import publish
from headway.runtime.log import say
from headway.runtime.process import TrainingProcess, evaluation_environment, killed_by
from headway.runtime.signals import Signals
from headway.runtime.status import Heartbeat
from headway.runtime.store import Stores
from headway.spec import layout
from headway.spec.layout import ContainerLayout
from headway.spec.plan import Plan
from headway.spec.promotion import Metrics, Promoted, PromotePin, judge, tag_replaced
from headway.spec.status import ModelVersion
from headway.tracking.registry import Registry, Version

DOCUMENT, TABLE = "promotion.json", "promotion.md"
EVALUATIONS = "evaluation"
"""Folder of the outputs for what `evaluate` writes to HEADWAY_OUTPUTS, one below it for each model."""
ROUNDS = 3
"""So often the new model is compared with one that became champion meanwhile."""


class Versions(Protocol):
    """What is asked of the model registry; `headway.tracking.registry.Registry` is one."""

    def holder(self, name: str, alias: str) -> str | None: ...

    def version(self, name: str, version: str) -> Version: ...

    def tag(self, name: str, version: str, tags: Mapping[str, str]) -> None: ...

    def move(self, name: str, alias: str, version: str) -> None: ...


def registry(plan: Plan, variables: Mapping[str, str]) -> Versions:
    """The registry that a plan's model is registered in."""
    return Registry(plan.tracking.uri, variables)


def promote(
    plan: Plan,
    pin: PromotePin,
    folders: ContainerLayout,
    targets: publish.Targets,
    heartbeat: Heartbeat,
    variables: Mapping[str, str],
    stores: Stores,
    signals: Signals,
) -> None:
    """Compare, and move the alias or not. Nothing here fails the run: its model is trained and delivered.

    What became of it is in the status, the log, the outputs, the run's artifacts and the version's tags.
    """
    heartbeat.update(phase="evaluating")
    bench = Bench(plan, pin, folders, variables, stores, signals)
    files = _Files(plan, folders, targets, heartbeat, stores)
    comparison = Comparison(plan, pin, registry(plan, variables), bench, files.store)
    result = files.completed(comparison.result(heartbeat.status.registered))
    heartbeat.update(promotion=result)
    (say if result.outcome != "failed" else heartbeat.warning)(f"{result.outcome}: {result.reason}")
    files.deliver(result)
    comparison.note(result, files.address, heartbeat.warning)


class Comparison:
    """The new version and the champion, by the same code on the same data.

    `store` is called with a result that has passed, before the alias moves: it is never moved untold.
    """

    def __init__(
        self,
        plan: Plan,
        pin: PromotePin,
        registry: Versions,
        bench: Bench,
        store: Callable[[Promoted], None],
    ) -> None:
        self._plan, self._pin, self._registry, self._bench, self._store = plan, pin, registry, bench, store
        self._name = plan.tracking.register_as or ""
        self._known: dict[str, Any] = {
            "alias": pin.alias,
            "model": self._name,
            "on": pin.on,
            "md5": next((data.md5 for data in plan.data if _is_within(pin.on, data.path)), None),
        }

    def result(self, registered: ModelVersion | None) -> Promoted:
        """What became of the new version. Raises nothing: what went wrong is the result's reason."""
        try:
            return self._compared(registered)
        except HeadwayError as error:
            return self._told("failed", " ".join(str(error).split()))
        except OSError as error:
            return self._told("failed", str(error))
        except Exception as error:  # noqa: BLE001  the run has its model: not even a bug of ours may lose it
            traceback.print_exc()
            return self._told("failed", f"{type(error).__name__}: {error}")

    def note(self, result: Promoted, table: str, warn: Callable[[str], None]) -> None:
        """Tag the version with what became of it; a failure is a warning."""
        if result.version is None:
            return
        tags = {layout.TAG_PROMOTION: f"{result.outcome}: {result.reason}"[:4000]}
        try:
            self._registry.tag(self._name, result.version, {**tags, layout.TAG_COMPARISON: table})
        except HeadwayError as error:
            warn(f"the version is not tagged with what became of it: {error.message}")

    def _compared(self, registered: ModelVersion | None) -> Promoted:
        if registered is None:
            raise RunFailed(f"no version of {self._name} was registered: the run left no model, or see above")
        alias, version = self._pin.alias, registered.version
        self._known["version"] = version
        holder = self._registry.holder(self._name, alias)
        if holder == version:
            return self._told("promoted", f"version {version} has the alias {alias} already")
        ours = self._known["challenger_metrics"] = self._bench.challenger()
        for _ in range(ROUNDS):
            self._known |= {"champion": holder, "champion_metrics": {}}
            theirs = None if holder is None else self._champion(holder)
            self._known |= {"champion_metrics": theirs or {}, "gates": judge(self._pin, ours, theirs)}
            if refusing := [gate for gate in self._known["gates"] if not gate.passed]:
                return self._told("refused", "; ".join(f"{g.gate} of {g.metric}: {g.text}" for g in refusing))
            self._store(self._told("failed", f"all gates passed; {alias} was about to move"))
            if (now := self._registry.holder(self._name, alias)) == holder:
                self._tag_before_move(holder, version)
                # the tags may have taken long
                if (now := self._registry.holder(self._name, alias)) == holder:
                    return self._moved(holder, version)
            if now == version:
                return self._told("promoted", f"somebody gave version {version} the alias {alias} meanwhile")
            holder = now
        raise RemoteError(f"{alias} was moved {ROUNDS} times while models were compared; it is left alone")

    def _champion(self, version: str) -> Metrics:
        try:
            return self._bench.champion(self._registry.version(self._name, version))
        except HeadwayError as error:
            raise RunFailed(
                f"the {self._pin.alias}, version {version}, could not be evaluated: {error.message}",
                hint=error.hint,
            ) from error

    def _tag_before_move(self, before: str | None, version: str) -> None:
        """So whoever sees the alias there can go back."""
        by = {tag_replaced(self._pin.alias): before or "", layout.TAG_PROMOTED_BY: self._plan.run_id}
        self._registry.tag(self._name, version, by)

    def _moved(self, before: str | None, version: str) -> Promoted:
        self._registry.move(self._name, self._pin.alias, version)
        whom = f"in place of version {before}" if before else "the first one"
        return self._told("promoted", f"version {version} is {self._pin.alias} now, {whom}")

    def _told(self, outcome: str, reason: str) -> Promoted:
        return Promoted.model_validate({**self._known, "outcome": outcome, "reason": reason})


@dataclass(frozen=True)
class Bench:
    """Evaluates models, each in a process of its own, on the run's pinned data."""

    plan: Plan
    pin: PromotePin
    folders: ContainerLayout
    variables: Mapping[str, str]
    stores: Stores
    signals: Signals

    def challenger(self) -> Metrics:
        """The metrics of the run's own model. Raises RunFailed with what happened."""
        model = publish.model_in(self.folders.model)
        if model is None:
            raise RunFailed("the run left no model", hint="it belongs into the folder HEADWAY_MODEL")
        return self._evaluate("challenger", model)

    def champion(self, version: Version) -> Metrics:
        """The metrics of a registered version, whose model is fetched from the bucket it was delivered to."""
        uri = version.tags.get(layout.TAG_MODEL)
        if uri is None:
            raise NotFound(
                f"it has no tag {layout.TAG_MODEL} with the gs:// address of its model",
                hint="no run registered it: set the tag, or move the alias by: launch models promote",
            )
        return self._evaluate("champion", self._fetch(uri))

    def _fetch(self, uri: str) -> Path:
        """The model's file, or its folder where the address ends with a slash."""
        into = self.folders.champion
        shutil.rmtree(into, ignore_errors=True)
        into.mkdir(parents=True)
        bucket, name = split_uri(uri)
        store = self.stores(bucket)
        if not uri.endswith("/"):
            target = into / PurePosixPath(name).name
            store.download(name, target)
            return target
        prefix = name.rstrip("/") + "/"
        # `weights/` is no file but a folder, as gcsfuse and the console leave one
        found = [item for item in store.list(prefix) if not item.name.endswith("/")]
        if not found:
            raise NotFound(f"there is nothing at {uri}", hint="was its run removed from the bucket?")
        size = sum(item.size for item in found)
        require_space(into, size)
        with full_disk_told(into, size):
            for item in found:
                below = PurePosixPath(item.name.removeprefix(prefix))
                if ".." in below.parts or below.is_absolute() or not below.parts:
                    continue
                (into / below).parent.mkdir(parents=True, exist_ok=True)
                store.download(item.name, into / below)
        return into

    def _evaluate(self, who: str, model: Path) -> Metrics:
        if self.signals.received is not None:
            raise RunFailed(f"stopped by {_name(self.signals.received)} before the {who} was evaluated")
        outputs = self.folders.outputs / EVALUATIONS / who
        outputs.mkdir(parents=True, exist_ok=True)
        answer = self.folders.root / f"evaluation-{who}.json"
        answer.unlink(missing_ok=True)
        data = self.folders.code / self.pin.on
        words = [sys.executable, "-m", "headway.runtime.evaluate", self.pin.evaluate]
        words += [str(model), str(data), str(answer)]
        variables = evaluation_environment(self.variables, outputs)
        code, late, seconds = self._run(words, variables)
        metrics = self._answer(who, answer, code, late)
        say(f"evaluated the {who} on {self.pin.on}: {len(metrics)} metrics, {seconds:.1f} s")
        return metrics

    def _run(self, words: list[str], variables: Mapping[str, str]) -> tuple[int, bool, float]:
        """Exit code, whether the deadline ended it, and seconds. Signals are handed on to it."""
        passed = threading.Event()

        def end() -> None:
            passed.set()
            process.stop(signal.SIGTERM)

        with self.signals.start(
            lambda: TrainingProcess(list(words), variables, self.folders.code)
        ) as process:
            timer = threading.Timer(self.pin.timeout_s, end)
            timer.daemon = True
            timer.start()
            try:
                code = process.wait()
            finally:
                timer.cancel()
                self.signals.training_is_over()
        return code, passed.is_set(), process.seconds

    def _answer(self, who: str, answer: Path, code: int, late: bool) -> Metrics:
        call = f"{self.pin.evaluate} of the {who}"
        if code != 0 and self.signals.received is not None:
            raise RunFailed(f"{call} was stopped by {_name(self.signals.received)}")
        if code != 0 and late:
            raise RunFailed(
                f"{call} was not done after {self.pin.timeout_s} s", hint="give it more by promote.timeout"
            )
        try:
            said = json.loads(answer.read_text(encoding="utf-8"))
        except (OSError, ValueError):
            said = {"error": f"it ended with exit code {code}{killed_by(code)} and gave no metrics"}
        if error := said.get("error"):
            raise RunFailed(f"{call} failed: {error}")
        metrics: dict[str, float] = said["metrics"]
        return {name: value if math.isfinite(value) else None for name, value in metrics.items()}


@dataclass(frozen=True)
class _Files:
    """The comparison as files: in the run's outputs, and among its artifacts in MLflow."""

    plan: Plan
    folders: ContainerLayout
    targets: publish.Targets
    heartbeat: Heartbeat
    stores: Stores

    @property
    def address(self) -> str:
        return f"{self.targets.outputs}/{TABLE}"

    def completed(self, result: Promoted) -> Promoted:
        """With the table's address. A run that is started again after its promotion keeps its comparison."""
        if result.outcome == "promoted" and not result.gates:
            before = self._before()
            if before is not None and (before.version, before.alias) == (result.version, result.alias):
                result = before.model_copy(update={"outcome": result.outcome, "reason": result.reason})
        return result.model_copy(update={"table": self.address})

    def _before(self) -> Promoted | None:
        bucket, name = split_uri(f"{self.targets.outputs}/{DOCUMENT}")
        try:
            return Promoted.model_validate_json(self.stores(bucket).read(name))
        except (HeadwayError, ValidationError):
            return None

    def store(self, result: Promoted) -> None:
        """Write the files anew and send them to the outputs. Raises RemoteError or OSError."""
        folder = self.folders.outputs
        told = result.model_copy(update={"table": self.address})
        (folder / DOCUMENT).write_text(told.model_dump_json(indent=1) + "\n", encoding="utf-8")
        (folder / TABLE).write_text(table(self.plan.run_id, told), encoding="utf-8")
        made = [folder / DOCUMENT, folder / TABLE, *publish.files_below(folder / EVALUATIONS)]
        publish.upload(made, folder, self.targets.outputs, self.stores)
        self.heartbeat.update(outputs=f"{self.targets.outputs}/")

    def deliver(self, result: Promoted) -> None:
        """Store the last word, here and in MLflow; a failure is a warning."""
        from headway.tracking.mlflow_sink import log_files

        folder, run_id = self.folders.outputs, self.heartbeat.status.tracking_run_id
        try:
            self.store(result)
            if run_id is not None:
                files = [folder / DOCUMENT, folder / TABLE]
                log_files(self.plan.tracking.uri, run_id, files, folder, "promotion")
        except (HeadwayError, OSError) as error:
            self.heartbeat.warning(f"the comparison is not stored everywhere: {error}")


def table(run_id: str, result: Promoted) -> str:
    """The comparison for people, as Markdown."""
    model = f"{result.model}" + (f" version {result.version}" if result.version else "")
    before = f"version {result.champion}" if result.champion else "none yet"
    lines = [f"# {model}: {result.outcome}", "", _cell(result.reason), ""]
    lines += [f"- run: {run_id}", f"- compared on: {result.on}, md5 {result.md5}"]
    lines += [f"- {result.alias} before: {before}", ""]
    if result.gates:
        lines += ["| gate | metric | limit | new | " + result.alias + " | passed | |", "|" + "---|" * 7]
        for gate in result.gates:
            values = (_number(gate.limit), _number(gate.challenger), _number(gate.champion))
            cells = (gate.gate, gate.metric, *values, "yes" if gate.passed else "**no**", gate.text)
            lines.append("| " + " | ".join(map(_cell, cells)) + " |")
        lines.append("")
    if names := sorted({*result.challenger_metrics, *result.champion_metrics}):
        lines += [f"| metric | new | {result.alias} |", "|---|---|---|"]
        for name in names:
            ours, theirs = result.challenger_metrics.get(name), result.champion_metrics.get(name)
            lines.append(f"| {_cell(name)} | {_number(ours)} | {_number(theirs)} |")
        lines.append("")
    return "\n".join(lines)


def _cell(text: str) -> str:
    return " ".join(text.split()).replace("|", "\\|")


def _number(value: float | None) -> str:
    return "" if value is None else f"{value:.6g}"


def _name(number: int) -> str:
    return signal.Signals(number).name


def _is_within(path: str, whole: str) -> bool:
    return PurePosixPath(path).is_relative_to(PurePosixPath(whole))
