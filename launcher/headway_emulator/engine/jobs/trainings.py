"""Every training that is not over: begun, queued for quota, cancelled, picked up again after a restart."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from headway_emulator.engine.clock import Clock, timestamp
from headway_emulator.engine.executors.protocol import Executor
from headway_emulator.engine.faults import QUOTA_EXCEEDED, Faults
from headway_emulator.engine.jobs.outcome import FINAL
from headway_emulator.engine.jobs.quotas import Quotas, exceeded, needs
from headway_emulator.engine.jobs.record import machine_facts
from headway_emulator.engine.jobs.training import Parts, Training, admitted
from headway_emulator.engine.jobs.waiting import Waiting, Wanted
from headway_emulator.engine.loop import Closed, Loop
from headway_emulator.engine.store import Document, Store
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
    log: str = ""
    """Whose log its replicas write to, where that is not the job's own."""
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
        """Those that were begun; one in the queue is read from the state when it is its turn."""
        self._queue = Waiting()
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
            training = self._known(name)
            if training is None:
                return False
            training.cancel()
            return True

        return bool(self._ask(cancel))

    def read(self, name: str, task: str, path: str) -> bytes | None:
        """A file of a replica that was started in this attempt; None where there is none."""
        training = self._trainings.get(name)
        return None if training is None else training.read(task, path)

    def notice_ends(self) -> None:
        """To be called before the virtual clock is stepped: what has ended by then ends at its own time."""

        def notice() -> None:
            for training in tuple(self._trainings.values()):
                training.notice_ends()

        self._ask(notice)

    def meet_new_fault(self) -> None:
        """A fault was added: one that is meant for running replicas takes effect now."""

        def meet() -> None:
            for training in tuple(self._trainings.values()):
                training.meet_new_fault()

        self._loop.post(meet)

    def recover(self) -> None:
        """Pick up what the emulator before this one left; called once, when all observers are there."""
        jobs: set[str] = set()
        begun: list[Document] = []
        queued: list[tuple[str, Wanted]] = []
        for _, document in self._store.scan(KIND):
            jobs.add(document["job"])
            if document["phase"] == "queued":
                queued.append((document["name"], _wanted(document)))
            else:
                begun.append(document)
        self._executor.sweep(jobs)
        for document in reversed(begun):
            self._trainings[document["name"]] = Training(document, self._parts)
            self._quotas.admit(document["name"], document["region"], document["spec"])
        for name, wanted in reversed(queued):
            self._queue.add(name, wanted)
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
            text = "The emulator is ending, or cannot write its state: see what it has printed."
            raise ApiError("UNAVAILABLE", text) from error

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
            "log": order.log or order.job,
            "keep": order.keep,
            "phase": "queued",
            "state": "JOB_STATE_QUEUED",
            "createTime": now,
            "updateTime": now,
        }
        wanted = _wanted(document)
        training = None if self._queue.holds_back(wanted) else Training(document, self._parts)
        may_begin = training is not None and training.admit()
        if may_begin:
            document.update(admitted(self._clock.now_ns()))
        try:
            with self._store.transaction():
                owner(document)
                self._changed(document)
        except BaseException:
            self._quotas.release(order.name)
            raise
        if training is not None:
            self._trainings[order.name] = training
        if training is not None and may_begin:
            self._loop.post(training.provision)
        else:
            self._queue.add(order.name, wanted)

    def _refuse_by_fault(self, order: Order) -> None:
        """Documented is a job that waits for quota; users also see the 429, which is a fault of its own."""
        if not self._faults.armed(QUOTA_EXCEEDED):
            return
        for facts in machine_facts(order.region, order.spec):
            if self._faults.take(QUOTA_EXCEEDED, **facts) is not None:
                metrics = [metric for _, metric in needs(order.region, order.spec)]
                raise exceeded(metrics or ["aiplatform.googleapis.com/custom_model_training_cpus"])

    def _known(self, name: str) -> Training | None:
        """None for one that is over, or never was."""
        if name not in self._trainings and name in self._queue:
            document = self._store.get(KIND, name)
            if document is not None:
                self._trainings[name] = Training(document, self._parts)
        return self._trainings.get(name)

    def _changed(self, document: Document) -> None:
        with self._store.transaction():
            if document["phase"] == "over":
                self._store.delete(KIND, document["name"])
            else:
                self._store.put(KIND, document["name"], document)
            self._observers[document["kind"]](document)

    def _over(self, name: str) -> None:
        self._trainings.pop(name, None)
        self._queue.remove(name)
        self._quotas.release(name)
        self._loop.post(self._admit_waiting)

    def _admit_waiting(self) -> None:
        """In the order they came; one that must wait holds back those behind it with the same needs."""
        taken: set[tuple[str, str]] = set()
        for name, wanted in self._queue.turns(taken):
            training = self._known(name)
            if training is not None and training.document["phase"] == "queued":
                if not training.admit():
                    taken.update(wanted)
                    continue
                training.leave_queue()
            self._queue.remove(name)


def _wanted(document: Document) -> Wanted:
    return frozenset(needs(document["region"], document["spec"]))


__all__ = ["FINAL", "KIND", "Order", "Trainings"]
