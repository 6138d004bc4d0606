"""The life of one build: QUEUED, WORKING, then SUCCESS, FAILURE, TIMEOUT, CANCELLED or INTERNAL_ERROR."""

from __future__ import annotations

import contextlib
import re
import shutil
import subprocess
import sys
import tarfile
import threading
import traceback
import zipfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from headway_emulator.engine.build_log import BuildLog
from headway_emulator.engine.build_steps import Command, Step, StepError, StepRunner
from headway_emulator.engine.clock import Clock, timestamp
from headway_emulator.engine.objects import ObjectError, Objects
from headway_emulator.engine.processes import ProcessGroup
from headway_emulator.engine.store import Document, Store

KIND = "build"
FINAL = frozenset(["SUCCESS", "FAILURE", "INTERNAL_ERROR", "TIMEOUT", "CANCELLED", "EXPIRED"])
STOP_SECONDS = 10
COLOUR = re.compile(r"\x1b\[[0-9;]*m")
"""The classic builder paints a step's stderr red even where nobody looks at a terminal."""


class Ended(Exception):
    """The build is over with this status; `kind` is a FailureInfo type where there is one."""

    def __init__(self, status: str, detail: str, kind: str = "") -> None:
        super().__init__(detail)
        self.status = status
        self.detail = detail
        self.kind = kind


class BuildLife(threading.Thread):
    """Runs one build's steps in order; `done` is called with its id at the end."""

    def __init__(
        self,
        build: str,
        folder: Path,
        store: Store,
        clock: Clock,
        objects: Objects,
        runner: StepRunner,
        done: Callable[[str], None],
    ) -> None:
        super().__init__(name=f"build-{build}", daemon=True)
        self._id = build
        self._folder = folder
        self._store = store
        self._clock = clock
        self._objects = objects
        self._runner = runner
        self._done = done
        self._lock = threading.Lock()
        self._running: tuple[ProcessGroup, Command] | None = None
        self._stopped: Ended | None = None
        self._log: BuildLog | None = None
        self._step_status: dict[int, str] = {}

    def stop(self, status: str, detail: str) -> None:
        """End the build from outside: by a cancel, the build's timeout, or the emulator's own end."""
        with self._lock:
            self._stopped = self._stopped or Ended(status, detail)
            running = self._running
        if running is not None:
            _stop(*running)

    def run(self) -> None:
        try:
            self._work()
        except Exception:  # noqa: BLE001 - a bug must not leave the build WORKING for ever; it is printed and recorded
            traceback.print_exc(file=sys.stderr)
            self._finish(Ended("INTERNAL_ERROR", "Internal error of the emulator; see its log."))
        finally:
            shutil.rmtree(self._folder, ignore_errors=True)
            self._done(self._id)

    def _work(self) -> None:
        build = self._change(status="WORKING", startTime=timestamp(self._clock.now_ns()))
        self._log = BuildLog(self._store, self._clock, self._objects, self._id, build.get("logsBucket", ""))
        seconds = float(build["timeout"].removesuffix("s"))
        alarm = threading.Timer(seconds, self.stop, ("TIMEOUT", f"build timed out after {seconds:g} s"))
        alarm.daemon = True
        alarm.start()
        try:
            self._say(f'starting build "{self._id}"', "")
            self._fetch(build)
            self._say("BUILD")
            for index in range(len(build["steps"])):
                self._step(build, index)
            ended, results = None, self._results(build)
        except Ended as reason:
            ended, results = reason, {}
        finally:
            alarm.cancel()
        self._finish(ended, results)

    def _fetch(self, build: Mapping[str, Any]) -> None:
        workspace = self._folder / "workspace"
        for folder in (workspace, self._folder / "home"):
            folder.mkdir(parents=True, exist_ok=True)
        source = build.get("source", {}).get("storageSource")
        if source is None:
            return
        generation = source.get("generation", "")
        where = f"gs://{source['bucket']}/{source['object']}" + (f"#{generation}" if generation else "")
        self._say("FETCHSOURCE", f"Fetching storage object: {where}")
        archive = self._folder / "source"
        try:
            self._objects.fetch(source["bucket"], source["object"], generation, archive)
            _extract(archive, workspace)
        except (ObjectError, tarfile.TarError, zipfile.BadZipFile, OSError) as error:
            raise Ended("FAILURE", f"failed to fetch source: {error}", "FETCH_SOURCE_FAILED") from error

    def _step(self, build: Mapping[str, Any], index: int) -> None:
        spec = build["steps"][index]
        env = [*build.get("options", {}).get("env", []), *spec.get("env", [])]
        step = Step(self._id, index, spec, env, self._folder)
        prefix = (
            ""
            if len(build["steps"]) == 1
            else f"Step #{index}" + (f' - "{i}"' if (i := spec.get("id")) else "")
        )
        self._check_stopped()
        try:
            plan = self._runner.plan(step)
            code = self._run(plan, prefix, spec) if isinstance(plan, Command) else self._tell(plan, prefix)
        except StepError as error:
            self._tell([f"ERROR: {error}"], prefix)
            code = 1
        self._check_stopped()
        if code and not spec.get("allowFailure") and code not in spec.get("allowExitCodes", []):
            self._step_status[index] = "FAILURE"
            detail = f'build step {index} "{step.image}" failed: step exited with non-zero status: {code}'
            self._say("ERROR", f"ERROR: {detail}")
            raise Ended("FAILURE", f"Build step failure: {detail}", "USER_BUILD_STEP")
        self._step_status[index] = "SUCCESS"

    def _run(self, command: Command, prefix: str, spec: Mapping[str, Any]) -> int:
        """Start the command, log what it prints in order, and give its exit code."""
        try:
            group = ProcessGroup(
                self._store, command.words, env=command.env, folder=command.folder, merged=True
            )
        except OSError as error:
            raise StepError(f"{command.words[0]} did not start: {error.strerror}") from error
        with self._lock:
            self._running = (group, command)
        alarm = self._step_alarm(spec)
        try:
            if self._stopped is not None:
                _stop(group, command)
            with group.stdout as stream:
                for raw in stream:
                    text = raw.rstrip(b"\r\n").decode(errors="replace")
                    self._tell([COLOUR.sub("", text)], prefix)
            return group.wait()
        finally:
            if alarm is not None:
                alarm.cancel()
            with self._lock:
                self._running = None
            group.forget()

    def _step_alarm(self, spec: Mapping[str, Any]) -> threading.Timer | None:
        if not (timeout := spec.get("timeout")):
            return None
        seconds = float(timeout.removesuffix("s"))
        text = f'build step "{spec["name"]}" timed out after {seconds:g} s'
        alarm = threading.Timer(seconds, self.stop, ("TIMEOUT", text))
        alarm.daemon = True
        alarm.start()
        return alarm

    def _results(self, build: Mapping[str, Any]) -> Document:
        """Every image that was promised must exist; what Google pushes is kept on the engine here."""
        names = build.get("images", [])
        self._say("PUSH") if names else None
        found = {name: self._runner.images.digest(name) for name in names}
        if missing := [name for name, digest in found.items() if not digest]:
            quoted = ", ".join(f'"{name}"' for name in missing)
            detail = f"failed to find one or more images after execution of build steps: [{quoted}]"
            self._say("ERROR", f"ERROR: {detail}")
            raise Ended("FAILURE", detail, "PUSH_IMAGE_NOT_FOUND")
        for name, digest in found.items():
            self._say(f"{name}: digest: {digest} (kept on the local engine)")
        return {"images": [{"name": name, "digest": digest} for name, digest in found.items()]}

    def _finish(self, ended: Ended | None, results: Document | None = None) -> None:
        """The log is complete before the status says that the build is over."""
        if ended is None:
            self._say("DONE")
        elif ended.status != "FAILURE":
            self._say(ended.status, f"ERROR: {ended.detail}")
        if self._log is not None:
            self._log.close()
            if self._log.failure and ended is None:
                ended = Ended("FAILURE", f"failed to write the log: {self._log.failure}", "LOGGING_FAILURE")
        changes: Document = {"status": ended.status if ended else "SUCCESS", "results": results or {}}
        if ended is not None:
            changes["statusDetail"] = ended.detail
            if ended.kind:
                changes["failureInfo"] = {"type": ended.kind, "detail": ended.detail}
        self._change(**changes, finishTime=timestamp(self._clock.now_ns()))

    def _change(self, **changes: Any) -> Document:
        with self._store.transaction():
            build = self._store.get(KIND, self._id) or {}
            steps = [
                {**step, "status": self._step_status[index]} if index in self._step_status else step
                for index, step in enumerate(build["steps"])
            ]
            build = {**build, "steps": steps, **changes}
            self._store.put(KIND, self._id, build)
        return build

    def _check_stopped(self) -> None:
        if self._stopped is not None:
            raise self._stopped

    def _tell(self, lines: list[str], prefix: str) -> int:
        if self._log is not None:
            self._log.write(*(f"{prefix}: {line}" if prefix else line for line in lines), task=prefix)
        return 0

    def _say(self, *lines: str) -> None:
        self._tell(list(lines), "")


def _stop(group: ProcessGroup, command: Command) -> None:
    """Stop the command and what it started elsewhere; then all that is left, or its output never ends."""
    group.terminate()
    if command.stop:
        with contextlib.suppress(subprocess.TimeoutExpired):
            subprocess.run(command.stop, env=dict(command.env), timeout=STOP_SECONDS, capture_output=True)
    with contextlib.suppress(subprocess.TimeoutExpired):
        group.wait(STOP_SECONDS)
    group.kill()


def _extract(archive: Path, workspace: Path) -> None:
    """A .tgz, .tar or .zip; members that would land outside are refused.

    Tar is asked first: a stored .tgz that ends with a wheel ends as a .zip does.
    """
    if tarfile.is_tarfile(archive) or not zipfile.is_zipfile(archive):
        with tarfile.open(archive) as packed_tar:
            packed_tar.extractall(workspace, filter="data")
    else:
        with zipfile.ZipFile(archive) as packed:
            packed.extractall(workspace)
    archive.unlink()
