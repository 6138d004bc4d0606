"""One step while it runs: its image fetched, its command followed, its timeout kept, its outcome told."""

from __future__ import annotations

import contextlib
import re
import subprocess
import sys
import threading
import traceback
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from typing import Any

from headway_emulator.engine.builds.site import Ended, Site, span
from headway_emulator.engine.builds.steps import Command, Step, StepError
from headway_emulator.engine.clock import Hold
from headway_emulator.engine.executors.process_groups import ProcessGroup
from headway_emulator.engine.faults import BUILD

STOP_SECONDS = 10
COLOUR = re.compile(r"\x1b\[[0-9;]*m")
"""The classic builder paints a step's stderr red even where nobody looks at a terminal."""
HIDDEN = "***"


@dataclass(frozen=True)
class Outcome:
    """How a step ended; `ended` says why the build ends with it, None where the build goes on."""

    status: str
    ended: Ended | None = None
    warning: str = ""
    exit_code: int | None = None
    timing: Mapping[str, str] = field(default_factory=dict)
    pull: Mapping[str, str] = field(default_factory=dict)

    def fields(self) -> dict[str, Any]:
        """What a BuildStep shows of it, once the build is over."""
        shown: dict[str, Any] = {"status": self.status, "timing": dict(self.timing)}
        if self.pull:
            shown["pullTiming"] = dict(self.pull)
        if self.exit_code:
            shown["exitCode"] = self.exit_code
        return shown


class StepRun:
    """Runs in a thread of its own; `say` takes lines for the build's log."""

    def __init__(self, site: Site, step: Step, say: Callable[[list[str]], None]) -> None:
        self._site = site
        self._step = step
        self._say = say
        self._lock = threading.Lock()
        self._running: tuple[ProcessGroup, Command] | None = None
        self._stopped: Ended | None = None
        self._pull: dict[str, str] = {}
        self._hidden = _hidden(step)
        self.hold: Hold = site.clock.working()
        """Held but while a command runs; whoever takes the outcome releases it."""

    def stop(self, reason: Ended) -> None:
        """End the step from outside, or because its time is up."""
        with self._lock:
            self._stopped = self._stopped or reason
            running = self._running
        if running is not None:
            _stop(*running)

    def run(self) -> Outcome:
        """Never raises: a bug ends the build with INTERNAL_ERROR."""
        began = self._site.now()
        try:
            outcome = self._outcome(self._attempt())
        except Ended as reason:
            outcome = Outcome(_step_status(reason.status), reason)
        except Exception:  # noqa: BLE001 - a bug must not leave the build WORKING for ever; it is printed and recorded
            traceback.print_exc(file=sys.stderr)
            bug = Ended("INTERNAL_ERROR", "Internal error of the emulator; see its log.")
            outcome = Outcome("INTERNAL_ERROR", bug)
        timing = span(began, self._site.now())
        return Outcome(
            outcome.status, outcome.ended, outcome.warning, outcome.exit_code, timing=timing, pull=self._pull
        )

    def _attempt(self) -> int:
        """The exit code; Ended where the step was stopped or a fault says so."""
        if (fault := self._fault()) is not None:
            return self._fail_as_told(fault)
        seconds = float(self._step.spec.get("timeout", "0s").removesuffix("s"))
        alarm = self._site.clock.after(seconds, lambda: self._time_up(seconds)) if seconds else None
        try:
            code = self._fetch() or self._start()
        except StepError as error:
            self._tell([f"ERROR: {error}"])
            code = 1
        finally:
            if alarm is not None:
                alarm.cancel()
        if self._stopped is not None:
            raise self._stopped
        return code

    def _fetch(self) -> int:
        began = self._site.now()
        command = self._site.runner.fetch(self._step)
        code = self._follow(command) if command is not None else 0
        self._pull = span(began, self._site.now())
        return code

    def _start(self) -> int:
        plan = self._site.runner.plan(self._step)
        if isinstance(plan, Command):
            return self._follow(plan)
        self._tell(plan)
        return 0

    def _follow(self, command: Command) -> int:
        """Start the command, log what it prints in order, and give its exit code."""
        self._tell(list(command.notes))
        if self._stopped is not None:
            return 1
        try:
            group = ProcessGroup(
                self._site.store, command.words, env=command.env, folder=command.folder, merged=True
            )
        except OSError as error:
            raise StepError(f"{command.words[0]} did not start: {error.strerror}") from error
        with self._lock:
            self._running = (group, command)
        self.hold.release()
        reaper = threading.Thread(target=_end_all, args=(group,), name="build-step", daemon=True)
        reaper.start()
        try:
            if self._stopped is not None:
                _stop(group, command)
            with group.stdout as stream:
                for raw in stream:
                    self._tell([COLOUR.sub("", raw.rstrip(b"\r\n").decode(errors="replace"))])
            return group.wait()
        finally:
            self.hold = self._site.clock.working()
            with self._lock:
                self._running = None
            group.forget()  # whatever is left of it, so that the reaper ends as well
            reaper.join(STOP_SECONDS)

    def _time_up(self, seconds: float) -> None:
        """In the clock's thread, which only hands on; time waits until the step has been told."""
        text = f'build step {self._step.index} "{self._step.image}" timed out after {seconds:g} s'
        hold = self._site.clock.working()

        def end() -> None:
            with hold:
                self.stop(Ended("TIMEOUT", text))

        threading.Thread(target=end, name="build-step-timeout", daemon=True).start()

    def _outcome(self, code: int) -> Outcome:
        spec = self._step.spec
        if not code:
            return Outcome("SUCCESS")
        where = f'build step {self._step.index} "{self._step.image}"'
        detail = f"{where} failed: step exited with non-zero status: {code}"
        # BuildStep.allow_exit_codes: where both are given, the codes decide
        codes = spec.get("allowExitCodes", [])
        if code in codes if codes else spec.get("allowFailure"):
            return Outcome("FAILURE", warning=detail, exit_code=code)
        ended = Ended("FAILURE", f"Build step failure: {detail}", "USER_BUILD_STEP")
        return Outcome("FAILURE", ended, exit_code=code)

    def _fault(self) -> Mapping[str, Any] | None:
        """A fault names a step by its index or by its id."""
        faults = self._site.faults
        if not faults.armed(BUILD):
            return None
        index, name = str(self._step.index), str(self._step.spec.get("id", ""))
        patterns = [
            str(fault["step"]) for fault in faults.all() if fault["kind"] == BUILD and "step" in fault
        ]
        by_name = name and any(fnmatchcase(name, pattern) for pattern in patterns)
        step = name if by_name else index
        return faults.take(BUILD, build=self._step.build, step=step, image=self._step.image)

    def _fail_as_told(self, fault: Mapping[str, Any]) -> int:
        if status := fault.get("status"):
            raise Ended(status, f"A fault of the emulator ended the build at step {self._step.index}.")
        code = int(fault.get("exit_code", 1))
        self._tell([f"A fault of the emulator ended this step with exit code {code}; nothing was run."])
        return code

    def _tell(self, lines: list[str]) -> None:
        for value in self._hidden:
            lines = [line.replace(value, HIDDEN) for line in lines]
        if lines:
            self._say(lines)


def _hidden(step: Step) -> list[str]:
    """Every line of every secret, longest first, so that none shows through another."""
    lines = {line.strip() for value in step.secrets.values() for line in value.splitlines()}
    return sorted(lines - {""}, key=len, reverse=True)


def _step_status(status: str) -> str:
    """Of a step that was running when its build ended."""
    return status if status in ("TIMEOUT", "CANCELLED", "INTERNAL_ERROR", "EXPIRED") else "CANCELLED"


def _end_all(group: ProcessGroup) -> None:
    """When the command ends, end all that it left: in a container that goes with it, and holds no output."""
    group.wait()
    group.kill()


def _stop(group: ProcessGroup, command: Command) -> None:
    """Stop the command and what it started elsewhere; then all that is left, or its output never ends."""
    group.terminate()
    if command.stop:
        with contextlib.suppress(subprocess.TimeoutExpired):
            subprocess.run(command.stop, env=dict(command.env), timeout=STOP_SECONDS, capture_output=True)
    with contextlib.suppress(subprocess.TimeoutExpired):
        group.wait(STOP_SECONDS)
    group.kill()
