"""A program that submits many times from processes of its own, and kills some of them where it is told to.

    python -m tests.integration.submitting < BATCHES

Each line of the input is a batch of orders, answered by a line with their outcomes. An order is done by a
forked process: a fork has Google's clients loaded already, so that hundreds of submits take no longer than a
few.

A kill is after some seconds, or at a boundary of the submit: before and after each HTTP request, while a
request that changes something is on its way (all of it was sent, and nobody is left to read the answer), and
when a step is told. A boundary has a name that is the same in each submit, such as

    while POST us-central1/customJobs

with the number of its occurrence behind it from the second one on. Of a request that is sent until something
happens (POLLS) the first one alone is a boundary.
"""

from __future__ import annotations

import gc
import http.client
import json
import os
import re
import signal
import sys
import tempfile
import threading
import time
import traceback
from collections import Counter, deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from importlib import import_module
from pathlib import Path
from typing import IO, Any
from urllib.parse import unquote, urlsplit

POLLS = ("GET us-central1/builds/*", "GET headway/build-logs/log-*.txt")
"""Looks at a build and at its log, one a second until it ends. Those after the first are no boundaries.

A submit whose build was quicker has fewer of them, so that no death could be asked for there. Nothing is
lost: a look changes nothing, and a submit that dies at a later one leaves what one leaves that dies at the
first (its build still at work) or before the request that follows the last one (its build ended).
"""
ASIDE = "GET bucket"
"""What Google's storage client asks in a thread of its own, for its traces; the submit does not wait for it,
and may be at any of its own boundaries then, or over."""


@dataclass(frozen=True)
class Order:
    """Submit `config` with `overrides`, `times` at once; die at a boundary, or after `dies_after` seconds."""

    config: str
    overrides: tuple[str, ...]
    times: int = 1
    dies_at: str = ""
    dies_after: float = 0.0


@dataclass(frozen=True)
class Outcome:
    """What became of an order: the jobs that its submits gave, their errors, the boundaries they passed.

    Of one that died at a boundary that is the last of them.
    """

    jobs: tuple[str, ...] = ()
    errors: tuple[str, ...] = ()
    boundaries: tuple[str, ...] = ()
    seconds: float = 0.0
    killed: bool = False


class Boundaries:
    """Writes each one down as it is passed, and kills this process at one.

    A request's way goes through requests' one adapter, and then through the standard library's connection.
    """

    def __init__(self, dies_at: str, passed: IO[str]) -> None:
        self._dies_at = dies_at
        self._passed = passed
        self._seen: Counter[str] = Counter()
        self._lock = threading.Lock()
        self._current = threading.local()

    def step(self, name: str, detail: str) -> None:
        self._pass(f"step {name}")

    def line(self, text: str) -> None:
        pass

    @contextmanager
    def watched(self) -> Iterator[None]:
        from requests.adapters import HTTPAdapter

        send: Callable[..., Any] = HTTPAdapter.send
        answer: Callable[..., Any] = http.client.HTTPConnection.getresponse

        def between(adapter: HTTPAdapter, request: Any, *words: Any, **named: Any) -> Any:
            self._current.name = name = named_request(request.method, request.url, request.body)
            self._pass(f"before {name}")
            try:
                return send(adapter, request, *words, **named)
            finally:
                self._pass(f"after {name}")

        def sent(connection: http.client.HTTPConnection) -> Any:
            name = self._current.name
            if not name.startswith("GET "):
                self._pass(f"while {name}")
            return answer(connection)

        HTTPAdapter.send = between  # type: ignore[method-assign,assignment]
        http.client.HTTPConnection.getresponse = sent  # type: ignore[method-assign,assignment]
        try:
            yield
        finally:
            HTTPAdapter.send = send  # type: ignore[method-assign]
            http.client.HTTPConnection.getresponse = answer  # type: ignore[method-assign]

    def _pass(self, name: str) -> None:
        _, _, request = name.partition(" ")
        if request == ASIDE:
            return
        with self._lock:
            self._seen[name] += 1
            if (occurrence := self._seen[name]) > 1:
                if request in POLLS:
                    return
                name += f" ({occurrence})"
            self._passed.write(f"{name}\n")
            self._passed.flush()
            if name == self._dies_at:
                os.kill(os.getpid(), signal.SIGKILL)


_DIFFERS = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}|[0-9a-f]{16,}|\d{6,}")
"""Ids of builds and jobs, digests."""
_OF_A_RUN = re.compile(r"(?<=^headway/)(runs|environments)/[^/.]+")
_NAME_SENT = re.compile(rb'"name": "([^"]+)"')


def named_request(method: str, url: str, body: Any) -> str:
    """Its method and what it is about: an object's name, or region and path. What differs is a `*`."""
    path = unquote(urlsplit(url).path)
    _, _, about = path.partition("/v1/")
    if "/b/" in path and not about.partition("/o")[1]:
        return f"{method} bucket"
    if path.startswith("/upload/"):
        found = _NAME_SENT.search(bytes(body)[:1000])
        assert found, f"no name in what is sent to {url}"
        about = found[1].decode()
    else:
        about = re.sub(r"^(b/[^/]+/o|projects/[^/]+/locations)/", "", about)
    about = _OF_A_RUN.sub(r"\1/*", _DIFFERS.sub("*", about))
    return f"{method} {about}"


def obey(order: Order, passed: IO[str]) -> dict[str, Any]:
    """In a process of its own."""
    from headway.config.profile import default_state, find_place
    from headway.errors import HeadwayError
    from headway.jobs import submit
    from headway.jobs.run import Run

    boundaries = Boundaries(order.dies_at, passed)
    config = Path(order.config)
    place = find_place(profile=None, local=True, start=config, state=default_state())

    def one(_: int) -> Run | str:
        try:
            return submit(config, overrides=order.overrides, place=place, progress=boundaries)
        except HeadwayError as error:
            return "".join(traceback.format_exception(error))

    with boundaries.watched(), ThreadPoolExecutor(order.times) as threads:
        ended = list(threads.map(one, range(order.times)))
    return {
        "jobs": [run.job().name for run in ended if not isinstance(run, str)],
        "errors": [error for error in ended if isinstance(error, str)],
    }


def main() -> None:
    _load()
    for line in sys.stdin:
        batch = json.loads(line)
        orders = [Order(**{**told, "overrides": tuple(told["overrides"])}) for told in batch["orders"]]
        outcomes = [asdict(outcome) for outcome in _outcomes(orders, batch["at_once"])]
        sys.stdout.write(json.dumps(outcomes) + "\n")
        sys.stdout.flush()


def _outcomes(orders: Sequence[Order], at_once: int) -> list[Outcome]:
    """In the order of the orders."""
    outcomes: dict[int, Outcome] = {}
    running: dict[int, tuple[int, IO[str], float, float]] = {}
    waiting = deque(enumerate(orders))
    while waiting or running:
        while waiting and len(running) < at_once:
            number, order = waiting.popleft()
            pid, reader = _fork(order)
            began = time.monotonic()
            running[pid] = (number, reader, began, began + (order.dies_after or float("inf")))
        for pid, (number, reader, began, dies) in list(running.items()):
            if time.monotonic() >= dies:
                os.kill(pid, signal.SIGKILL)
            ended, status = os.waitpid(pid, os.WNOHANG)
            if ended:
                del running[pid]
                took = time.monotonic() - began
                outcomes[number] = _outcome(reader, took, killed=os.WIFSIGNALED(status))
        time.sleep(0.005)
    return [outcomes[number] for number in range(len(orders))]


def _load() -> None:
    """Once, for all forks: what a submit loads as it goes."""
    for name in (
        "google.cloud.aiplatform_v1.services.job_service",
        "google.cloud.devtools.cloudbuild_v1",
        "google.cloud.storage",
        "headway.cloud.build",
        "headway.cloud.vertex",
        "headway.config.profile",
        "headway.jobs.submission",
    ):
        import_module(name)
    gc.freeze()  # or each fork would copy, page by page, what its collector looks at


def _fork(order: Order) -> tuple[int, IO[str]]:
    """What it tells goes through a file: a pipe that nobody reads meanwhile takes no more than 64 KiB."""
    told = tempfile.TemporaryFile("w+")  # noqa: SIM115  read and closed once the fork has ended
    pid = os.fork()
    if pid:
        return pid, told
    code = 1
    try:
        with told as out:
            out.write(json.dumps(obey(order, out)))
        code = 0
    except BaseException:  # noqa: BLE001  a fork must not go on in its parent's code
        traceback.print_exc()
    finally:
        os._exit(code)


def _outcome(told: IO[str], seconds: float, *, killed: bool) -> Outcome:
    with told:
        told.seek(0)
        *boundaries, said = told.read().split("\n")
    if killed:
        return Outcome(boundaries=tuple(boundaries), seconds=seconds, killed=True)
    if not said:
        return Outcome(errors=("it ended without a word",), boundaries=tuple(boundaries), seconds=seconds)
    ended = json.loads(said)
    return Outcome(tuple(ended["jobs"]), tuple(ended["errors"]), tuple(boundaries), seconds)


if __name__ == "__main__":
    main()
