"""The training process: its command, its environment, its signals, its end."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path

from headway.errors import InputError
from headway.runtime.cluster import CLUSTER_VARIABLE, Cluster
from headway.spec.layout import METRIC_FILE_VARIABLE, ContainerLayout, TrainingVariables
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
    resumed: Sequence[Path],
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
    if plan.sweep is not None:
        # the trial's own file is the runtime's; what the code reports by itself is taken over into it
        variables[METRIC_FILE_VARIABLE] = str(folders.reported)
    if resumed:
        variables[TrainingVariables.RESUME] = str(resumed[0])
    path = [str(folders.code), variables.get("PYTHONPATH", "")]
    variables["PYTHONPATH"] = os.pathsep.join(part for part in path if part)
    variables.setdefault("PYTHONUNBUFFERED", "1")
    return variables


def evaluation_environment(training: Mapping[str, str], outputs: Path) -> dict[str, str]:
    """What the evaluating process sees: training's variables, but it is no run, and no part of a cluster.

    So a Trainer in it tracks nothing, writes no checkpoints, and waits for no other node.
    """
    left_out = {value for name, value in vars(TrainingVariables).items() if name.isupper()}
    left_out |= {CLUSTER_VARIABLE, "MASTER_ADDR", "MASTER_PORT", "NODE_RANK"}
    kept = {name: value for name, value in training.items() if name not in left_out}
    return {**kept, TrainingVariables.OUTPUTS: str(outputs)}


def killed_by(code: int) -> str:
    """In words, where the exit code is a shell's for a signal: 128 and its number."""
    try:
        name = signal.Signals(code - 128).name
    except ValueError:
        return ""
    return f" ({name}: killed, often for want of memory)" if name == "SIGKILL" else f" ({name})"


class TrainingProcess:
    """The entrypoint, or an evaluation, running in a process group of its own, its output on ours.

    `seconds` is what it took, once it has ended.
    """

    def __init__(self, words: list[str], variables: Mapping[str, str], folder: Path) -> None:
        self._process = subprocess.Popen(words, env=dict(variables), cwd=folder, start_new_session=True)
        self._killer: threading.Timer | None = None
        self._started = time.monotonic()
        self.seconds = 0.0

    def __enter__(self) -> TrainingProcess:
        return self

    def __exit__(self, *_: object) -> None:
        # after a fault of ours, too, nothing goes on running
        if self._process.poll() is None:
            self._kill()
            self.wait()

    def stop(self, number: int, grace: float = GRACE_S) -> None:
        """Hand a signal on to the entrypoint; SIGKILL for all its processes follows after `grace` seconds.

        What it started is left to it: data loading workers that died first would fail its last checkpoint.
        """
        self._process.send_signal(number)
        if self._killer is None:
            self._killer = threading.Timer(grace, self._kill)
            self._killer.daemon = True
            self._killer.start()

    def wait(self) -> int:
        """Its exit code, 128+n where signal n ended it, as shells count. Leaves no process of its group."""
        try:
            code = self._process.wait()
        finally:
            if self._killer is not None:
                self._killer.cancel()
            self._kill()
            self.seconds = time.monotonic() - self._started
        return code if code >= 0 else 128 - code

    def _kill(self) -> None:
        with suppress(ProcessLookupError):
            os.killpg(self._process.pid, signal.SIGKILL)
