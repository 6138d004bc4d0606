"""One thread in which jobs change; what blocks runs beside it and reports back. So no state needs a lock."""

from __future__ import annotations

import itertools
import queue
import sqlite3
import sys
import threading
import time
import traceback
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

from headway_emulator.engine.clock import Clock, Hold

T = TypeVar("T")
WORKERS = 16
"""Threads for what blocks: starting, signalling and removing replicas."""
ASK_SECONDS = 30.0


class Closed(Exception):
    """The emulator is ending, or did not come to the call in time: it was not made."""


class Loop:
    """Calls are made one after another, in the order they came; virtual time waits for them."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._calls: queue.SimpleQueue[tuple[Callable[[], None], Hold] | None] = queue.SimpleQueue()
        self._workers = ThreadPoolExecutor(WORKERS, thread_name_prefix="beside")
        self._closed = False
        self._insisting = False
        self._thread = threading.Thread(target=self._run, name="loop", daemon=True)
        self._thread.start()

    def post(self, call: Callable[[], None]) -> None:
        """Make the call in the loop's thread, soon."""
        self._calls.put((call, self._clock.working()))

    def ask(self, call: Callable[[], T]) -> T:
        """Make the call in the loop's thread and wait for what it returns or raises; Closed at the end."""
        answer: Future[T] = Future()

        def made() -> None:
            if not answer.set_running_or_notify_cancel():
                return  # nobody waits for it any more
            try:
                answer.set_result(call())
            except Exception as error:  # noqa: BLE001 - it is raised again where it was asked
                answer.set_exception(error)

        if self._closed:
            raise Closed
        self.post(made)
        try:
            return answer.result(ASK_SECONDS)
        except TimeoutError as error:
            answer.cancel()
            raise Closed from error

    def beside(self, work: Callable[[], T], then: Callable[[T | Exception], None]) -> None:
        """Do the work in another thread, and hand what it gave or raised to `then`, in this one."""
        hold = self._clock.working()

        def done() -> None:
            result: T | Exception
            try:
                result = work()
            except Exception as error:  # noqa: BLE001 - `then` gets it
                result = error
            self.post(lambda: then(result))
            hold.release()

        try:
            self._workers.submit(done)
        except RuntimeError:
            hold.release()  # the emulator is ending: nothing new is begun

    def insist(self, write: Callable[[], T]) -> T:
        """In this thread, again and again while the state takes no more: nothing goes on without it.

        Inside of another it is the other one that begins anew, with no lock held in between.
        """
        if self._insisting:
            return write()
        self._insisting = True
        try:
            return self._repeated(write)
        finally:
            self._insisting = False

    def _repeated(self, write: Callable[[], T]) -> T:
        waits = itertools.chain((0.05, 0.1, 0.2, 0.5), itertools.repeat(1.0))
        while True:
            try:
                return write()
            except sqlite3.OperationalError as error:
                if self._closed:
                    raise
                sys.stderr.write(f"headway-emulator: jobs wait, for the state cannot be written: {error}\n")
            time.sleep(next(waits))

    def hold(self) -> Hold:
        """Virtual time waits until it is released."""
        return self._clock.working()

    def lane(self, broken: Callable[[Exception], None]) -> Lane:
        """The same for one owner, who is told of a call of its own that went wrong."""
        return Lane(self, broken)

    def close(self, patience: float) -> None:
        """No further call is made; waits for the one that is being made."""
        self._closed = True
        self._calls.put(None)
        self._thread.join(patience)
        self._workers.shutdown(wait=False, cancel_futures=True)

    def _run(self) -> None:
        while (item := self._calls.get()) is not None and not self._closed:
            call, hold = item
            try:
                call()
            except Exception:  # noqa: BLE001 - one wrong call must not end all jobs; it is printed
                traceback.print_exc(file=sys.stderr)
            finally:
                hold.release()


class Lane:
    """A loop as one owner sees it: what fails in its calls is printed, and told to it."""

    def __init__(self, loop: Loop, broken: Callable[[Exception], None]) -> None:
        self._loop = loop
        self._broken = broken

    def post(self, call: Callable[[], None]) -> None:
        self._loop.post(lambda: self._made(call))

    def beside(self, work: Callable[[], T], then: Callable[[T | Exception], None]) -> None:
        self._loop.beside(work, lambda result: self._made(lambda: then(result)))

    def insist(self, write: Callable[[], T]) -> T:
        return self._loop.insist(write)

    def hold(self) -> Hold:
        return self._loop.hold()

    def _made(self, call: Callable[[], None]) -> None:
        try:
            call()
        except Exception as error:  # noqa: BLE001 - a bug in one job is the end of that job alone
            traceback.print_exc(file=sys.stderr)
            self._broken(error)
