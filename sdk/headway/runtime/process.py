"""The training process: its command, its environment, its signals, its end."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path

from headway.errors import InputError
from headway.runtime.cluster import Cluster
from headway.spec.layout import ContainerLayout, TrainingVariables
from headway.spec.plan import Plan

GRACE_S = 15.0
"""From SIGTERM to SIGKILL. A preempted machine has about 30 s: the rest is for uploads and tracking."""


def command(plan: Plan, code: Path) -> list[str]:
    """The words that start the entrypoint. Raises InputError where the bundle does not hold it."""
    script, colon, _ = plan.entrypoint.partition(":")
    if colon:
        arguments = json.dumps(plan.config.get("args", {}))
        return [sys.executable, "-m", "headway.runtime.call", plan.entrypoint, arguments]
    if not (code / script).is_file():
        raise InputError(
            f"the entrypoint {script} is not in the code bundle",
            hint="it is relative to config.yaml, and git must know it (or it must not be ignored)",
        )
    return [sys.executable, script, *plan.argv]


def environment(
    ambient: Mapping[str, str],
    plan: Plan,
    secrets: Mapping[str, str],
    cluster: Cluster,
    folders: ContainerLayout,
    resume: Path | None,
) -> dict[str, str]:
    """What the training process sees: the container's own, the config's, the secrets, and our variables."""
    variables = {**ambient, **plan.env, **secrets}
    cluster.apply(variables)
    variables |= {
        TrainingVariables.RUN_ID: plan.run_id,
        TrainingVariables.CHECKPOINTS: str(folders.checkpoints),
        TrainingVariables.OUTPUTS: str(folders.outputs),
        TrainingVariables.MODEL: str(folders.model),
        TrainingVariables.SPOOL: str(folders.spool),
        TrainingVariables.NODES: str(cluster.nodes),
    }
    if resume is not None:
        variables[TrainingVariables.RESUME] = str(resume)
    path = [str(folders.code), variables.get("PYTHONPATH", "")]
    variables["PYTHONPATH"] = os.pathsep.join(part for part in path if part)
    variables.setdefault("PYTHONUNBUFFERED", "1")
    return variables


class TrainingProcess:
    """The entrypoint, running in a process group of its own, its output on ours."""

    def __init__(self, words: list[str], variables: Mapping[str, str], folder: Path) -> None:
        self._process = subprocess.Popen(words, env=dict(variables), cwd=folder, start_new_session=True)
        self._killer: threading.Timer | None = None
        self.stopped_by: int | None = None

    def stop(self, number: int, grace: float = GRACE_S) -> None:
        """Hand a signal on to all its processes; SIGKILL follows after `grace` seconds."""
        self._send(number)
        if self._killer is None:
            self.stopped_by = number
            self._killer = threading.Timer(grace, self._send, (signal.SIGKILL,))
            self._killer.daemon = True
            self._killer.start()

    def wait(self) -> int:
        """Its exit code, 128+n where signal n ended it, as shells count. Leaves no process of its group."""
        try:
            code = self._process.wait()
        finally:
            if self._killer is not None:
                self._killer.cancel()
            self._send(signal.SIGKILL)
        return code if code >= 0 else 128 - code

    def _send(self, number: int) -> None:
        with suppress(ProcessLookupError):
            os.killpg(self._process.pid, number)
