"""A program that submits many times from processes of its own, and kills some of them where it is told to.

    python -m tests.integration.submitting < ORDERS

Each line of the input is an order, done by a forked process: a fork has Google's clients loaded already, so
that hundreds of submits take no longer than a few. A kill is at the n-th boundary of a submit, which are the
moments before and after each HTTP request and each step told, or after some seconds.
"""

from __future__ import annotations

import json
import os
import signal
import sys
import tempfile
import time
import traceback
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from itertools import count
from pathlib import Path
from typing import IO, Any

NEVER = -1


@dataclass(frozen=True)
class Order:
    """Submit `config` with `overrides`, `times` at once; die at a boundary, or after `dies_after` seconds."""

    config: str
    overrides: tuple[str, ...]
    times: int = 1
    dies_at: int = NEVER
    dies_after: float = 0.0


@dataclass(frozen=True)
class Outcome:
    """What became of an order: the jobs that its submits gave, their errors, the boundaries it passed."""

    jobs: tuple[str, ...] = ()
    errors: tuple[str, ...] = ()
    boundaries: int = 0
    killed: bool = False


class Boundaries:
    """Counts them, and kills this process at one; a request's way goes through requests' one adapter."""

    def __init__(self, dies_at: int) -> None:
        self.passed = 0
        self._dies_at = dies_at
        self._numbers = count()

    def step(self, name: str, detail: str) -> None:
        self._pass()

    def line(self, text: str) -> None:
        pass

    def watch(self) -> None:
        from requests.adapters import HTTPAdapter

        send: Callable[..., Any] = HTTPAdapter.send

        def between(adapter: HTTPAdapter, *words: Any, **named: Any) -> Any:
            self._pass()
            try:
                return send(adapter, *words, **named)
            finally:
                self._pass()

        HTTPAdapter.send = between  # type: ignore[method-assign,assignment]

    def _pass(self) -> None:
        if next(self._numbers) == self._dies_at:
            os.kill(os.getpid(), signal.SIGKILL)
        self.passed += 1


def obey(order: Order) -> Outcome:
    """In a process of its own."""
    from headway.config.profile import default_state, find_place
    from headway.errors import HeadwayError
    from headway.jobs import submit

    boundaries = Boundaries(order.dies_at)
    boundaries.watch()
    config = Path(order.config)
    place = find_place(profile=None, local=True, start=config, state=default_state())

    def one(_: int) -> tuple[str | None, str | None]:
        try:
            run = submit(config, overrides=order.overrides, place=place, progress=boundaries)
            return run.job().name, None
        except HeadwayError as error:
            return None, "".join(traceback.format_exception(error))

    with ThreadPoolExecutor(order.times) as threads:
        ended = list(threads.map(one, range(order.times)))
    jobs, errors = zip(*ended, strict=True)
    return Outcome(tuple(filter(None, jobs)), tuple(filter(None, errors)), boundaries.passed)


def main(orders: Iterable[Order], at_once: int) -> None:
    """Print one outcome a line, in the order of the orders."""
    # loaded once, for all forks
    from google.cloud.aiplatform_v1.services.job_service import JobServiceClient

    assert JobServiceClient
    outcomes: dict[int, Outcome] = {}
    running: dict[int, tuple[int, IO[str], float]] = {}
    waiting = list(enumerate(orders))
    numbers = range(len(waiting))
    while waiting or running:
        while waiting and len(running) < at_once:
            number, order = waiting.pop(0)
            pid, reader = _fork(order)
            dies = time.monotonic() + order.dies_after if order.dies_after else float("inf")
            running[pid] = (number, reader, dies)
        for pid, (number, reader, dies) in list(running.items()):
            if time.monotonic() >= dies:
                os.kill(pid, signal.SIGKILL)
            ended, status = os.waitpid(pid, os.WNOHANG)
            if ended:
                del running[pid]
                outcomes[number] = _outcome(reader, killed=os.WIFSIGNALED(status))
        time.sleep(0.005)
    for number in numbers:
        sys.stdout.write(json.dumps(asdict(outcomes[number])) + "\n")


def _fork(order: Order) -> tuple[int, IO[str]]:
    """What it tells goes through a file: a pipe that nobody reads meanwhile takes no more than 64 KiB."""
    told = tempfile.TemporaryFile("w+")  # noqa: SIM115  read and closed once the fork has ended
    pid = os.fork()
    if pid:
        return pid, told
    code = 1
    try:
        with told as out:
            out.write(json.dumps(asdict(obey(order))))
        code = 0
    except BaseException:  # noqa: BLE001  a fork must not go on in its parent's code
        traceback.print_exc()
    finally:
        os._exit(code)


def _outcome(told: IO[str], *, killed: bool) -> Outcome:
    with told:
        told.seek(0)
        text = told.read()
    if killed or not text:
        return Outcome(killed=killed, errors=() if killed else ("it ended without a word",))
    said = json.loads(text)
    return Outcome(tuple(said["jobs"]), tuple(said["errors"]), said["boundaries"])


if __name__ == "__main__":
    main(
        [Order(**{**line, "overrides": tuple(line["overrides"])}) for line in map(json.loads, sys.stdin)],
        at_once=int(sys.argv[1]),
    )
