"""Every training that is not over: begun, queued for quota, cancelled, picked up again after a restart."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from headway_emulator.engine.clock import Clock, timestamp
from headway_emulator.engine.executor import Executor
from headway_emulator.engine.faults import QUOTA_EXCEEDED, Faults
from headway_emulator.engine.loop import Closed, Loop
from headway_emulator.engine.quotas import Quotas, exceeded, needs
from headway_emulator.engine.store import Document, Store
from headway_emulator.engine.training import ADMITTED, FINAL, Parts, Training, machine_facts
from headway_emulator.errors import ApiError
from headway_emulator.settings import Settings

KIND = "training"
"""These documents exist only while a training is not over; what came of it is in its owner's."""
LEAVE_SECONDS = 5.0


@dataclass(frozen=True)
class Order:
    """What to run, for whom. `name` is the owner's resource name, `job` the id in labels, names and logs."""

    kind: str
    """Whose it is: the observers of this kind are told of each change."""
    name: str
    job: str
    region: str
    spec: Mapping[str, Any]
    display_name: str = ""
    trial: str = ""
    env: Mapping[str, str] = field(default_factory=dict)
    keep: str = ""
    """A file of the primary replica that the document holds as `kept`, once the training is over."""


class Trainings:
    """The collection; its methods may be called from any thread."""

    def __init__(
        self, settings: Settings, store: Store, clock: Clock, executor: Executor, faults: Faults
    ) -> None:
        self._store = store
        self._clock = clock
        self._executor = executor
        self._faults = faults
        self._quotas = Quotas(settings.quotas)
        self._loop = Loop(clock)
        self._trainings: dict[str, Training] = {}
        self._queue: dict[str, Training] = {}
        """Those that wait for quota, in the order they came."""
        self._waited_for: set[tuple[str, str]] = set()
        """Region and metric that somebody in the queue waits for."""
        self._observers: dict[str, Callable[[Document], None]] = {}
        self._parts = Parts(
            settings,
            store,
            clock,
            self._loop,
            executor,
            faults,
            self._quotas,
            self._changed,
            self._over,
            self._admit_waiting,
        )

    def observe(self, kind: str, observer: Callable[[Document], None]) -> None:
        """Be told of each change, in the loop's thread and in the transaction that writes it: be quick.

        The document has state, createTime, updateTime, and startTime, endTime and error once they are known.
        """
        self._observers[kind] = observer

    def start(self, order: Order, owner: Callable[[Document], None]) -> None:
        """Begin; `owner` writes the owner's own document in the same transaction as the training's first.

        ApiError RESOURCE_EXHAUSTED, and nothing is written, where quota can never allow it.
        """
        self._ask(lambda: self._begin(order, owner))

    def cancel(self, name: str) -> bool:
        """False where it is over, or was never there."""

        def cancel() -> bool:
            training = self._trainings.get(name)
            if training is None:
                return False
            training.cancel()
            return True

        return bool(self._ask(cancel))

    def read(self, name: str, task: str, path: str) -> bytes | None:
        """A file of a replica that was started in this attempt; None where there is none."""
        training = self._trainings.get(name)
        return None if training is None else training.read(task, path)

    def meet_new_fault(self) -> None:
        """A fault was added: one that is meant for running replicas takes effect now."""

        def meet() -> None:
            for training in tuple(self._trainings.values()):
                training.consider_preemption()

        self._loop.post(meet)

    def recover(self) -> None:
        """Pick up what the emulator before this one left; called once, when all observers are there."""
        left = list(reversed(self._store.list(KIND)))
        self._executor.sweep({document["job"] for document in left})
        for document in left:
            self._trainings[document["name"]] = Training(document, self._parts)
            if document["phase"] == "queued":
                self._queue[document["name"]] = self._trainings[document["name"]]
            else:
                self._quotas.admit(document["name"], document["region"], document["spec"])
        for training in tuple(self._trainings.values()):
            self._loop.post(training.resume)
        self._loop.post(self._admit_waiting)

    def close(self) -> None:
        """End the supervision; what becomes of running replicas is the executor's own rule."""
        self._loop.close(LEAVE_SECONDS)
        self._executor.close()

    def _ask(self, call: Callable[[], Any]) -> Any:
        try:
            return self._loop.ask(call)
        except Closed as error:
            raise ApiError("UNAVAILABLE", "The emulator is ending.") from error

    def _begin(self, order: Order, owner: Callable[[Document], None]) -> None:
        self._quotas.refuse_what_never_fits(order.region, order.spec)
        self._refuse_by_fault(order)
        now = timestamp(self._clock.now_ns())
        document: Document = {
            "kind": order.kind,
            "name": order.name,
            "job": order.job,
            "region": order.region,
            "spec": order.spec,
            "displayName": order.display_name,
            "trial": order.trial,
            "env": dict(order.env),
            "keep": order.keep,
            "phase": "queued",
            "state": "JOB_STATE_QUEUED",
            "createTime": now,
            "updateTime": now,
        }
        training = Training(document, self._parts)
        admitted = not self._blocked(training) and training.admit()
        if admitted:
            document.update(ADMITTED)
        try:
            with self._store.transaction():
                owner(document)
                self._changed(document)
        except BaseException:
            self._quotas.release(order.name)
            raise
        self._trainings[order.name] = training
        if admitted:
            self._loop.post(training.provision)
        else:
            self._queue[order.name] = training
            self._waited_for.update(_needs(training))

    def _refuse_by_fault(self, order: Order) -> None:
        """Documented is a job that waits for quota; users also see the 429, which is a fault of its own."""
        if not self._faults.armed(QUOTA_EXCEEDED):
            return
        for facts in machine_facts(order.region, order.spec):
            if self._faults.take(QUOTA_EXCEEDED, **facts) is not None:
                metrics = [metric for _, metric in needs(order.region, order.spec)]
                raise exceeded(metrics or ["aiplatform.googleapis.com/custom_model_training_cpus"])

    def _blocked(self, training: Training) -> bool:
        """Whether one that came earlier waits for the same quota: who comes first is served first."""
        return bool(self._queue) and not self._waited_for.isdisjoint(_needs(training))

    def _changed(self, document: Document) -> None:
        with self._store.transaction():
            if document["phase"] == "over":
                self._store.delete(KIND, document["name"])
            else:
                self._store.put(KIND, document["name"], document)
            self._observers[document["kind"]](document)

    def _over(self, name: str) -> None:
        self._trainings.pop(name, None)
        self._queue.pop(name, None)
        self._quotas.release(name)
        self._loop.post(self._admit_waiting)

    def _admit_waiting(self) -> None:
        """In the order they came; one that must wait holds back those behind it with the same needs."""
        self._waited_for.clear()
        for name, training in tuple(self._queue.items()):
            if training.document["phase"] == "queued":
                if self._blocked(training) or not training.admit():
                    self._waited_for.update(_needs(training))
                    continue
                training.leave_queue()
            self._queue.pop(name, None)


def _needs(training: Training) -> set[tuple[str, str]]:
    return set(needs(training.document["region"], training.document["spec"]))


__all__ = ["FINAL", "KIND", "Order", "Trainings"]
