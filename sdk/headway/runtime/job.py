"""A run in its container, as one list of steps."""

from __future__ import annotations

import os
import sys
import traceback
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache, partial
from pathlib import Path

from headway.cloud.storage import split_uri
from headway.errors import ExitCode, HeadwayError, InputError
from headway.runtime import fetch, promotion, trials
from headway.runtime.cluster import Cluster
from headway.runtime.log import fail, say
from headway.runtime.process import TrainingProcess, command, environment, killed_by
from headway.runtime.publish import Targets
from headway.runtime.signals import Signals, Stopped
from headway.runtime.status import Heartbeat
from headway.runtime.store import Store, Stores
from headway.runtime.supervise import Supervision
from headway.runtime.trials import Trial
from headway.spec.layout import PLAN_VARIABLE, ContainerLayout
from headway.spec.plan import Plan
from headway.spec.status import RunStatus


@dataclass(frozen=True)
class Container:
    """The world around a run: the platform's variables, buckets, secrets, and the folders to work in.

    A trial of a sweep has also the `words` of its command, and `cancel`, which ends its tuning job.
    """

    variables: Mapping[str, str]
    stores: Stores
    secret: Callable[[Plan, str], str]
    folders: ContainerLayout
    cancel: Callable[[Plan], None]
    words: Sequence[str] = ()


def main() -> int:
    """Run what HEADWAY_PLAN names; the exit code is the training process's own."""
    from headway.cloud.secrets import access
    from headway.cloud.session import Session
    from headway.cloud.stopping import cancel_sweep
    from headway.cloud.storage import ObjectStore

    session = Session.ambient()

    @cache
    def stores(bucket: str) -> Store:
        return ObjectStore(session, bucket)

    def of(plan: Plan, region: str | None) -> Session:
        return Session(plan.project, region, endpoints=plan.endpoints)

    container = Container(
        variables=dict(os.environ),
        stores=stores,
        secret=lambda plan, reference: access(of(plan, plan.regions[0]), reference),
        folders=ContainerLayout(Path.home() / "run"),
        cancel=lambda plan: cancel_sweep(of(plan, session.region), plan),
        words=sys.argv[1:],
    )
    code = run(container)
    # a request to a server that hangs may still be under way in a thread: nothing is left to wait for
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)


def run(container: Container) -> int:
    """All of a run; returns its exit code. Every end is in the log and in status.json."""
    try:
        uri = _plan_uri(container.variables)
        cluster = Cluster.of(container.variables)
        bucket, name = split_uri(uri)
        folder = trials.folder(name, container.variables)
        store = container.stores(bucket) if cluster.is_chief else None
        before = trials.earlier(store, folder, container.variables)
    except HeadwayError as error:
        fail(str(error))
        return error.exit_code
    heartbeat = Heartbeat(folder.rpartition("/")[2], store, f"{folder}/status.json", container.folders.spool)
    with Signals() as signals, heartbeat:
        try:
            code = _steps(container, uri, cluster, heartbeat, signals, before)
        except Stopped as stop:
            code = _ended(heartbeat, f"stopped by {stop} before training began", 128 + stop.number)
        except HeadwayError as error:
            code = _ended(heartbeat, str(error), error.exit_code)
        except OSError as error:
            code = _ended(heartbeat, str(error), ExitCode.MACHINE)
        except Exception as error:  # noqa: BLE001  a bug must be in the status too, or the laptop sees nothing
            traceback.print_exc()
            code = _ended(heartbeat, f"{type(error).__name__}: {error}", ExitCode.BUG)
        # what a cancel sends now must not keep the last status from being written
        signals.training_is_over()
        heartbeat.update(phase="done")
    return code


def _steps(
    container: Container,
    uri: str,
    cluster: Cluster,
    heartbeat: Heartbeat,
    signals: Signals,
    before: RunStatus | None,
) -> int:
    stores, folders = container.stores, container.folders
    plan = trials.planned(fetch.plan(uri, stores), container.variables, container.words)
    trial = _trial(container, plan, heartbeat, before) if cluster.is_chief else None
    if trial is not None and trial.is_answered():
        return ExitCode.OK
    bundle = fetch.code(plan, stores, folders.code)
    fetch.data(plan, stores, folders.code)
    targets = Targets.of(plan, container.variables)
    resumed = fetch.checkpoints(targets.checkpoints, stores, folders.checkpoints)
    secrets = fetch.secrets(plan, partial(container.secret, plan))
    for folder in (folders.outputs, folders.model, folders.spool):
        folder.mkdir(parents=True, exist_ok=True)
    variables = environment(container.variables, plan, secrets, cluster, folders, resumed)
    words = command(plan, folders.code)

    with signals.start(lambda: TrainingProcess(words, variables, folders.code)) as process:
        heartbeat.update(phase="training")
        supervision = None
        if cluster.is_chief:
            reported = [trial.sink] if trial is not None else []
            supervision = Supervision(plan, folders, targets, heartbeat, variables, stores, resumed, reported)
        code = process.wait()
    stopped = signals.received is not None
    signals.training_is_over()
    _say_end(code, process.seconds, heartbeat)
    heartbeat.update(phase="delivering", exit_code=code)
    if supervision is not None:
        _finish(supervision, code, bundle, signals, heartbeat)
        if plan.promote is not None and code == 0:
            promotion.promote(plan, plan.promote, folders, targets, heartbeat, variables, stores, signals)
    if trial is not None and code == 0 and not stopped:
        trial.finish()
    return code


def _trial(container: Container, plan: Plan, heartbeat: Heartbeat, before: RunStatus | None) -> Trial | None:
    """The trial that this run is; None for a run by itself."""
    if plan.sweep is None:
        return None
    heartbeat.update(run_id=plan.run_id)
    return Trial(
        plan,
        plan.sweep,
        words=container.words,
        variables=container.variables,
        reported=container.folders.reported,
        store=container.stores(plan.bucket),
        heartbeat=heartbeat,
        before=before,
        cancel=container.cancel,
    )


def _finish(
    supervision: Supervision, code: int, bundle: frozenset[str], signals: Signals, heartbeat: Heartbeat
) -> None:
    try:
        supervision.finish(code, bundle, signals)
    except (HeadwayError, OSError) as error:
        if code == 0:
            raise  # a run whose model did not arrive has not succeeded
        heartbeat.warning(str(error))


def _plan_uri(variables: Mapping[str, str]) -> str:
    if uri := variables.get(PLAN_VARIABLE):
        return uri
    raise InputError(
        f"{PLAN_VARIABLE} is not set: this command is the training container's", hint="run: launch submit"
    )


def _say_end(code: int, seconds: float, heartbeat: Heartbeat) -> None:
    if code == 0:
        say(f"training ended well after {seconds:.1f} s")
        return
    reason = f"training ended with exit code {code}{killed_by(code)} after {seconds:.1f} s"
    heartbeat.update(error=reason)
    fail(reason)


def _ended(heartbeat: Heartbeat, error: str, code: int) -> int:
    heartbeat.update(error=error)
    fail(error)
    return code
