"""The life of one build: QUEUED, WORKING, then SUCCESS, FAILURE, TIMEOUT, CANCELLED or INTERNAL_ERROR."""

from __future__ import annotations

import queue
import shutil
import sys
import threading
import traceback
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from headway_emulator.engine.builds import results as build_results
from headway_emulator.engine.builds import secrets as build_secrets
from headway_emulator.engine.builds import source as build_source
from headway_emulator.engine.builds.log import BuildLog
from headway_emulator.engine.builds.rules import dependencies
from headway_emulator.engine.builds.site import KIND, REQUEST, Ended, Site, span
from headway_emulator.engine.builds.step_run import Outcome, StepRun
from headway_emulator.engine.builds.steps import Step
from headway_emulator.engine.builds.substitutions import environment
from headway_emulator.engine.clock import Hold
from headway_emulator.engine.store import Document
from headway_emulator.settings import Settings

Finished = tuple[int, Outcome, Hold]


class BuildLife(threading.Thread):
    """Runs one build; `done` is called with its name in the state at the end.

    Time stands still while the build does work of its own, and goes on while its steps run: their length is
    the machine's, and a timeout can pass over them.
    """

    def __init__(self, name: str, settings: Settings, site: Site, done: Callable[[str], None]) -> None:
        super().__init__(name=f"build-{name}", daemon=True)
        self._key = name
        self._id = name.split("/")[1]
        self._settings = settings
        self._site = site
        self._folder = site.folder / self._id
        self._done = done
        self._lock = threading.Lock()
        self._running: dict[int, StepRun] = {}
        self._outcomes: dict[int, Outcome] = {}
        self._stopped: Ended | None = None
        self._log: BuildLog | None = None
        self._timing: dict[str, dict[str, str]] = {}
        self._late: list[Hold] = []
        self._over = False
        self._hold = site.clock.working()

    def stop(self, reason: Ended) -> None:
        """End the build: by a cancel, its timeout, a failed step, or the emulator's own end."""
        with self._lock:
            self._stopped = self._stopped or reason
            running = list(self._running.values())
        for step in running:
            threading.Thread(target=step.stop, args=(reason,), name="build-stop", daemon=True).start()

    def run(self) -> None:
        try:
            self._work()
        except Exception:  # noqa: BLE001 - a bug must not leave the build WORKING for ever; it is printed and recorded
            traceback.print_exc(file=sys.stderr)
            bug = Ended("INTERNAL_ERROR", "Internal error of the emulator; see its log.")
            self.stop(bug)  # other steps may be running
            self._finish({}, bug)
        finally:
            shutil.rmtree(self._folder, ignore_errors=True)
            self._done(self._key)
            with self._lock:
                self._over = True
            for hold in (self._hold, *self._late):
                hold.release()

    def _work(self) -> None:
        build = self._change(status="WORKING", startTime=self._site.now())
        self._log = BuildLog(
            self._site.store,
            self._site.clock,
            self._site.objects,
            self._id,
            build.get("logsBucket", ""),
            build.get("options", {}),
        )
        seconds = float(build["timeout"].removesuffix("s"))
        alarm = self._site.clock.after(seconds, lambda: self._time_up(seconds))
        ended, results = None, {}
        try:
            self._say(f'starting build "{self._id}"', "")
            self._fetch(build)
            self._say("BUILD")
            with self._timed("BUILD"):
                self._run_steps(build)
            results = self._push(build)
        except Ended as reason:
            ended = reason
        finally:
            alarm.cancel()
        self._finish(self._step_results(build) | results, ended)

    def _time_up(self, seconds: float) -> None:
        """In the clock's thread, which only hands on; time waits until the build has ended."""
        with self._lock:
            if self._over:
                return
            self._late.append(self._site.clock.working())
        self.stop(Ended("TIMEOUT", f"build timed out after {seconds:g} s"))

    def _fetch(self, build: Mapping[str, Any]) -> None:
        for name in ("workspace", "home"):
            (self._folder / name).mkdir(parents=True, exist_ok=True)
        if (source := build.get("source", {}).get("storageSource")) is None:
            return
        self._say("FETCHSOURCE", f"Fetching storage object: {build_source.place(source)}")
        hashes = build.get("options", {}).get("sourceProvenanceHash", [])
        with self._timed("FETCHSOURCE"):
            provenance = build_source.fetch(self._site.objects, source, hashes, self._folder)
        self._change(sourceProvenance=provenance)

    def _run_steps(self, build: Mapping[str, Any]) -> None:
        """Each step starts when those it waits for have ended well; the first failure ends all others."""
        settings = self._settings
        secrets = build_secrets.values(
            self._site.store,
            build.get("availableSecrets", {}).get("secretManager", []),
            settings.project,
            settings.project_number,
            self._site.now(),
        )
        waits = dependencies(build["steps"])
        finished: queue.SimpleQueue[Finished] = queue.SimpleQueue()
        good: set[int] = set()
        begun: set[int] = set()
        while True:
            for index, needed in enumerate(waits):
                if index not in begun and needed <= good and self._stopped is None:
                    begun.add(index)
                    self._start(self._step(build, index, secrets), _label(build, index), finished)
            if not self._running:
                break
            self._hold.release()
            index, outcome, self._hold = finished.get()
            with self._lock:
                del self._running[index]
            self._outcomes[index] = outcome
            if outcome.ended is None:
                good.add(index)
            else:
                self.stop(outcome.ended)
        self._check_stopped()

    def _step(self, build: Mapping[str, Any], index: int, secrets: Mapping[str, str]) -> Step:
        options, spec = build.get("options", {}), build["steps"][index]
        automap = spec.get("automapSubstitutions", options.get("automapSubstitutions", False))
        mapped = environment(build, self._request().get("builtIns", {})) if automap else []
        wanted = (*options.get("secretEnv", []), *spec.get("secretEnv", []))
        step = Step(
            build=self._id,
            index=index,
            spec=spec,
            env=[*mapped, *options.get("env", []), *spec.get("env", [])],
            folder=self._folder,
            secrets={name: secrets[name] for name in wanted},
            volumes=[*options.get("volumes", []), *spec.get("volumes", [])],
        )
        step.make_folders()
        return step

    def _request(self) -> Document:
        return self._site.store.get(REQUEST, self._id) or {}

    def _start(self, step: Step, label: str, finished: queue.SimpleQueue[Finished]) -> None:
        """In a thread of its own, with its lines marked by the label where there is one."""
        run = StepRun(self._site, step, lambda lines: self._tell(lines, label))

        def work() -> None:
            if label:
                self._say(f"Starting {label}")
            outcome = run.run()
            if label:
                self._say(f"Finished {label}")
            finished.put((step.index, outcome, run.hold))

        with self._lock:
            self._running[step.index] = run
            if self._stopped is not None:
                run.stop(self._stopped)
        threading.Thread(target=work, name=f"build-{self._id}-{step.index}", daemon=True).start()

    def _push(self, build: Mapping[str, Any]) -> Document:
        names, objects = build.get("images", []), build.get("artifacts", {}).get("objects")
        if not names and objects is None:
            return {}
        self._say("PUSH")
        results: Document = {}
        with self._timed("PUSH"):
            if objects is not None:
                workspace = self._folder / "workspace"
                results |= build_results.files(self._site, self._id, objects, workspace, self._say)
            if names:
                results["images"] = build_results.images(self._site, names, self._say)
        self._check_stopped()
        return results

    def _step_results(self, build: Mapping[str, Any]) -> Document:
        """Of the steps that ran: the digests of their images, and what they wrote as their output."""
        steps = build["steps"]
        digest = self._site.runner.images.digest if self._outcomes else lambda _: ""
        shown: Document = {
            "buildStepImages": [
                digest(step["name"]) if i in self._outcomes else "" for i, step in enumerate(steps)
            ]
        }
        paths = [self._folder / "outputs" / str(index) / "output" for index in range(len(steps))]
        if found := build_results.outputs(paths):
            shown["buildStepOutputs"] = found
        return shown

    def _finish(self, results: Document, ended: Ended | None) -> None:
        """The log is complete before the status says that the build is over."""
        if ended is None:
            self._say("DONE")
        else:
            word = "ERROR" if ended.status == "FAILURE" else ended.status
            self._say(word, f"ERROR: {ended.detail.removeprefix('Build step failure: ')}")
        if self._log is not None:
            self._log.close()
            if self._log.failure and ended is None:
                ended = Ended("FAILURE", f"failed to write the log: {self._log.failure}", "LOGGING_FAILURE")
        changes: Document = {"status": ended.status if ended else "SUCCESS", "results": results}
        if ended is not None:
            changes["statusDetail"] = ended.detail
            if ended.kind:
                changes["failureInfo"] = {"type": ended.kind, "detail": ended.detail}
        if warnings := [o.warning for _, o in sorted(self._outcomes.items()) if o.warning]:
            changes["warnings"] = [{"text": text, "priority": "WARNING"} for text in warnings]
        self._change(**changes, steps=self._steps_shown(), timing=self._timing, finishTime=self._site.now())

    def _steps_shown(self) -> list[Document]:
        """A step's status is told only now (BuildStep.status: "only updated on build completion")."""
        steps = (self._site.store.get(KIND, self._key) or {}).get("steps", [])
        none: Document = {"status": "QUEUED"}
        return [
            {**step, **(self._outcomes[index].fields() if index in self._outcomes else none)}
            for index, step in enumerate(steps)
        ]

    def _change(self, **changes: Any) -> Document:
        with self._site.store.transaction():
            build = {**(self._site.store.get(KIND, self._key) or {}), **changes}
            self._site.store.put(KIND, self._key, build)
        return build

    @contextmanager
    def _timed(self, phase: str) -> Iterator[None]:
        began = self._site.now()
        try:
            yield
        finally:
            self._timing[phase] = span(began, self._site.now())

    def _check_stopped(self) -> None:
        if self._stopped is not None:
            raise self._stopped

    def _tell(self, lines: list[str], prefix: str) -> None:
        if self._log is not None:
            self._log.write(*(f"{prefix}: {line}" if prefix else line for line in lines), task=prefix)

    def _say(self, *lines: str) -> None:
        self._tell(list(lines), "")


def _label(build: Mapping[str, Any], index: int) -> str:
    """What marks a step's lines in the log, as Cloud Build does where a build has several steps."""
    if len(build["steps"]) == 1:
        return ""
    name = build["steps"][index].get("id")
    return f"Step #{index}" + (f' - "{name}"' if name else "")
