"""What goes on beside training, on the chief: checkpoints, tracking, samples of the machine."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from fnmatch import fnmatchcase
from pathlib import Path

from headway.errors import HeadwayError
from headway.runtime import publish
from headway.runtime.log import say
from headway.runtime.signals import Signals
from headway.runtime.status import Heartbeat
from headway.runtime.store import Stores
from headway.spec.layout import ContainerLayout
from headway.spec.plan import Plan
from headway.tracking import models
from headway.tracking.delivery import Delivery
from headway.tracking.sinks import Opened, Outcome, Sink
from headway.tracking.spool import Spool

PRIMARY = "mlflow"
"""The sink whose run the status names."""
ARTIFACTS = "outputs"
"""The folder of a run's artifacts that outputs are stored in."""
SAMPLE_S = 5.0
TRACKING_DEADLINE_S = 30.0
HURRIED_S = 8.0
"""After a signal the platform kills within some 30 s, of which training had up to 15."""


def sinks(plan: Plan, variables: Mapping[str, str], outputs: Path, stores: Stores) -> list[Sink]:
    """The sinks that a plan asks for; their libraries are imported when they open."""
    from headway.tracking.mlflow_sink import MLflowSink
    from headway.tracking.wandb_sink import WandbSink

    chosen: list[Sink] = [MLflowSink(plan, variables, stores(plan.bucket))]
    if plan.tracking.wandb:
        chosen.append(WandbSink(plan, variables, outputs))
    return chosen


class Supervision:
    """Threads that live while training does. `finish` brings home what training made."""

    def __init__(
        self,
        plan: Plan,
        folders: ContainerLayout,
        targets: publish.Targets,
        heartbeat: Heartbeat,
        variables: Mapping[str, str],
        stores: Stores,
        resumed: Sequence[Path],
        reported: Sequence[Sink] = (),
    ) -> None:
        """`reported` are sinks besides those of the plan; they are ended first."""
        self._plan, self._folders, self._heartbeat, self._stores = plan, folders, heartbeat, stores
        self._targets = targets
        self._mirror = publish.Mirror(folders.checkpoints, targets.checkpoints, stores, known=resumed)
        self._mirroring = publish.MirrorThread(self._mirror, heartbeat.warning, self._uploaded)
        self._outputs = publish.Mirror(folders.outputs, targets.outputs, stores)
        self._deliveries = [
            Delivery(sink, folders.spool, opened=self._tracked(sink), told=heartbeat.warning)
            for sink in (*reported, *sinks(plan, variables, folders.outputs, stores))
        ]
        self._over = threading.Event()
        self._sampler = threading.Thread(target=self._sample, name="machine", daemon=True)
        self._sampler.start()
        for delivery in self._deliveries:
            delivery.start()

    def finish(self, code: int, bundle: frozenset[str], signals: Signals) -> None:
        """Upload the last checkpoints, outputs and model, deliver what tracking has left.

        Raises RemoteError or OSError where something could not be uploaded; tracking that fails is a warning.
        """
        self._over.set()
        started = time.monotonic()
        self._mirroring.end()
        model = publish.model_in(self._folders.model)
        outcome = Outcome(
            state="finished" if code == 0 else "killed" if signals.received else "failed",
            model=model,
            model_uri=self._address(model) if model else None,
        )
        try:
            self._upload(code, bundle)
        except (HeadwayError, OSError):
            # the run fails by it: no version is registered, and no address given at which nothing is
            state = "failed" if outcome.state == "finished" else outcome.state
            outcome = replace(outcome, state=state, model_uri=None)
            raise
        finally:
            self._deliver(outcome, signals, started)
        self._log_artifacts(signals)
        # W&B's offline files lie there, whole only now
        self._outputs.look(final=True)
        say(f"checkpoints, outputs and tracking delivered in {time.monotonic() - started:.1f} s")

    def _address(self, model: Path) -> str:
        """Where the model lies in the bucket: a file, or a folder with a slash at the end."""
        below = model.relative_to(self._folders.model).as_posix()
        return f"{self._targets.model}/{'' if below == '.' else below}"

    def _log_artifacts(self, signals: Signals) -> None:
        """Store in MLflow too what the plan wants of the outputs; a failure is a warning."""
        root, run_id = self._folders.outputs, self._heartbeat.status.tracking_run_id
        chosen = [
            path
            for path in publish.files_below(root)
            if any(
                fnmatchcase(path.relative_to(root).as_posix(), each) for each in self._plan.tracking.artifacts
            )
        ]
        if not chosen or run_id is None or signals.received is not None:
            return
        from headway.tracking.mlflow_sink import log_files

        try:
            log_files(self._plan.tracking.uri, run_id, chosen, root, ARTIFACTS)
        except (HeadwayError, OSError) as error:
            self._heartbeat.warning(f"not all of tracking.artifacts is in MLflow: {error}")

    def _upload(self, code: int, bundle: frozenset[str]) -> None:
        folders, targets, stores = self._folders, self._targets, self._stores
        self._mirror.look(final=True, trusted=code < 128)
        self._uploaded(self._mirror.names)
        data = tuple(pin.path for pin in self._plan.data)
        made = publish.created(folders.code, bundle, data)
        publish.upload(made, folders.code, targets.outputs, stores)
        self._outputs.look(final=True)
        if made or self._outputs.names:
            self._heartbeat.update(outputs=f"{targets.outputs}/")
        if model := list(publish.files_below(folders.model)):
            sent = publish.upload(model, folders.model, targets.model, stores)
            self._heartbeat.update(model_uri=sent[0] if len(sent) == 1 else f"{targets.model}/")

    def _deliver(self, outcome: Outcome, signals: Signals, started: float) -> None:
        size = publish.size_of(outcome.model) if outcome.model else 0
        deadline = time.monotonic() + TRACKING_DEADLINE_S + size / models.BYTES_S

        def hurried() -> bool:
            since = signals.received_at
            return since is not None and time.monotonic() > max(since, started) + HURRIED_S

        for delivery in self._deliveries:
            delivery.end(outcome)
        for delivery in self._deliveries:
            delivery.join(deadline, hurried)
            if delivery.registered is not None:
                self._heartbeat.update(registered=delivery.registered)

    def _tracked(self, sink: Sink) -> Callable[[Opened], None]:
        def opened(run: Opened) -> None:
            if sink.name == PRIMARY:
                self._heartbeat.update(tracking_url=run.url, tracking_run_id=run.run_id)
            if run.url:
                say(f"tracked at {run.url}")

        return opened

    def _uploaded(self, names: tuple[str, ...]) -> None:
        self._heartbeat.update(checkpoints=names)

    def _sample(self) -> None:
        from headway.tracking.system import Machine

        machine, spool, count = Machine(self._folders.root), Spool(self._folders.spool), 0
        while not self._over.wait(SAMPLE_S if count else 1.0):
            spool.system(machine.sample(), step=count)
            count += 1
        spool.close()
