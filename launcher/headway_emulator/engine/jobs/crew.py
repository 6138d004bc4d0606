"""The replicas of one attempt of a job: started, signalled, found again, with their reports brought in order.

Methods are called in the loop's thread; what blocks is done beside it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial

from headway_emulator.engine.clock import Hold
from headway_emulator.engine.executors.protocol import Executor, Exited, Handle, Line, Replica
from headway_emulator.engine.jobs.log import JobLog
from headway_emulator.engine.loop import Lane


class Crew:
    """`started` is told of each start (None or the error), `exited` of each end, never in the wrong order."""

    def __init__(
        self,
        loop: Lane,
        executor: Executor,
        log: JobLog,
        started: Callable[[str, Exception | None], None],
        exited: Callable[[Exited], None],
    ) -> None:
        self._loop = loop
        self._executor = executor
        self._log = log
        self._tell_started = started
        self._tell_exited = exited
        self._handles: dict[str, Handle] = {}
        self._turn: dict[str, int] = {}
        """Which start of a task is the present one: what an earlier one reports is of no interest."""
        self._early: dict[str, Exited] = {}
        """Exits that were reported before the start was."""
        self._dying: dict[str, Hold] = {}
        self.alive: set[str] = set()
        self.starting: set[str] = set()

    @property
    def present(self) -> set[str]:
        """Tasks that were started, whether they still run or not."""
        return set(self._handles)

    @property
    def idle(self) -> bool:
        return not self.alive and not self.starting

    def turn(self, task: str) -> int:
        return self._turn.get(task, 0)

    def start(self, replica: Replica) -> None:
        """Start it, after what its former self held was freed."""
        task, before = replica.task, self._handles.pop(replica.task, None)
        turn = self._turn[task] = self.turn(task) + 1
        events = _Reports(self._log, partial(self._report, turn))
        self.starting.add(task)
        self._early.pop(task, None)

        def work() -> Handle:
            if before is not None:
                before.discard()
            return self._executor.start(replica, events)

        self._loop.beside(work, partial(self._started, task))

    def find(self, job: str, launches: Mapping[str, int], then: Callable[[Exception | None], None]) -> None:
        """Follow again what an earlier emulator started; `then` is called before any exit is told.

        `launches` says which start of each task is the present one: what is left of others is removed.
        """
        self.starting = set(launches)
        events = _Reports(self._log, partial(self._report, 0))

        def found(handles: Mapping[str, Handle] | Exception) -> None:
            self.starting.clear()
            if isinstance(handles, Exception):
                then(handles)
                return
            self._handles = dict(handles)
            self.alive = set(handles)
            then(None)
            for task in launches:
                self._tell_early(task)

        self._loop.beside(lambda: self._executor.reattach(job, launches, events), found)

    def terminate(self, *tasks: str) -> None:
        """SIGTERM; one that has ended meanwhile is no news."""
        for task in sorted(self.alive & set(tasks)):
            self._loop.beside(self._handles[task].terminate, _nothing)

    def kill(self, *tasks: str) -> None:
        """SIGKILL, which ends for sure: virtual time waits until it has."""
        for task in sorted(self.alive & set(tasks)):
            if task not in self._dying:
                self._dying[task] = self._loop.hold()
            self._loop.beside(self._handles[task].kill, _nothing)

    def notice_ends(self) -> None:
        """Virtual time waits for the report of what has ended by itself, and is not reported yet."""
        for task in self.alive - self._dying.keys():
            self._loop.beside(self._handles[task].ended, partial(self._ends, task, self._loop.hold()))

    def _ends(self, task: str, hold: Hold, ended: bool | Exception) -> None:
        if ended is True and task in self.alive and task not in self._dying:
            self._dying[task] = hold
        else:
            hold.release()

    def discard(self, then: Callable[[], None]) -> None:
        """Free what all of them held."""
        handles, self._handles = list(self._handles.values()), {}

        def work() -> None:
            for handle in handles:
                handle.discard()

        self._loop.beside(work, lambda _: then())

    def give_up(self) -> None:
        """What outlives even SIGKILL is left to the executor's sweep."""
        self.alive.clear()
        self._handles.clear()
        for task in tuple(self._dying):
            self._has_died(task)
        self._turn = {task: turn + 1 for task, turn in self._turn.items()}

    def read(self, task: str, path: str) -> bytes | None:
        """A file of a replica, None where there is none; may be called from any thread."""
        handle = self._handles.get(task)
        return None if handle is None else handle.read(path)

    def _started(self, task: str, handle: Handle | Exception) -> None:
        self.starting.discard(task)
        if isinstance(handle, Exception):
            self._tell_started(task, handle)
            return
        self._handles[task] = handle
        self.alive.add(task)
        self._tell_started(task, None)
        self._tell_early(task)

    def _tell_early(self, task: str) -> None:
        if (event := self._early.pop(task, None)) is not None and task in self.alive:
            self.alive.discard(task)
            self._tell_exited(event)
            self._has_died(task)

    def _report(self, turn: int, event: Exited) -> None:
        """From an executor's thread."""
        self._loop.post(partial(self._exited, turn, event))

    def _exited(self, turn: int, event: Exited) -> None:
        if self.turn(event.task) != turn:
            return
        if event.task in self.starting:
            self._early[event.task] = event
        elif event.task in self.alive:
            self.alive.discard(event.task)
            self._tell_exited(event)
            self._has_died(event.task)

    def _has_died(self, task: str) -> None:
        if (hold := self._dying.pop(task, None)) is not None:
            hold.release()


class _Reports:
    """Events of an executor: lines go to the log at once, an exit goes to the loop."""

    def __init__(self, log: JobLog, exited: Callable[[Exited], None]) -> None:
        self._log = log
        self._exited = exited

    def lines(self, task: str, lines: Sequence[Line]) -> None:
        self._log.lines(task, lines)

    def taken(self, task: str, since: str) -> int:
        return self._log.taken(task, since)

    def exited(self, event: Exited) -> None:
        self._log.flush()
        self._exited(event)


def _nothing(result: object) -> None:
    """For work whose failure means that the replica has ended by itself."""
