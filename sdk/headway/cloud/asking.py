"""Questions asked at once, each in a thread that no exit waits for: Ctrl-C need not wait for an answer.

A ThreadPoolExecutor's threads are joined, at its end and at the interpreter's: a server that does not answer
would hold a command for minutes after Ctrl-C. So these are for questions only, never for a change.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from concurrent.futures import Future
from functools import partial
from threading import Semaphore, Thread
from typing import TypeVar

T = TypeVar("T")
R = TypeVar("R")


def ask(question: Callable[[], R]) -> Future[R]:
    """Call it in a thread of its own; the future has its answer or its error."""
    future: Future[R] = Future()

    def answer() -> None:
        try:
            future.set_result(question())
        except BaseException as error:  # noqa: BLE001  the asker's to handle, whatever it is
            future.set_exception(error)

    Thread(target=answer, name="asking", daemon=True).start()
    return future


def ask_each(question: Callable[[T], R], items: Iterable[T], *, at_once: int = 8) -> list[R]:
    """The answers in the order of the items, a few asked at a time. Raises the first error in that order."""
    turn = Semaphore(at_once)

    def one(item: T) -> R:
        with turn:
            return question(item)

    return [future.result() for future in [ask(partial(one, item)) for item in items]]
