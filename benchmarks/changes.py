"""How soon a change of a job's state is seen by a client that polls, from the moment when it happened."""

from __future__ import annotations

import http.client
import json
import secrets
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from benchmarks.calls import IMAGE, PARENT, custom_job
from benchmarks.servers import Server

ROUNDS = 7
POLL_SECONDS = 0.004
DEADLINE = 60.0
STAMP = "date +%s.%N"
ENDS = f"sleep 0.3; {STAMP}"
"""Its last line is the moment at which it ends."""
STOPS = f"trap '{STAMP}; exit 0' TERM; echo up; while :; do sleep 0.02; done"
"""Likewise, when it is told to."""


def seen(server: Server, beside: Callable[[], float] | None) -> Mapping[str, tuple[list[float], list[float]]]:
    """Seconds of each round by what changed, and beside them what `beside` took in the same rounds."""
    watcher = _Watcher(server.port)
    exits, others, asked, stopped = [], [], [], []
    for _ in range(ROUNDS):
        if beside is not None:
            others.append(beside())
        exits.append(watcher.exit())
        cancelling, cancelled = watcher.cancel()
        asked.append(cancelling)
        stopped.append(cancelled)
    return {
        "cancel, until CANCELLING is seen": (asked, []),
        "a replica's exit, until SUCCEEDED is seen": (exits, others),
        "its exit after a cancel, until CANCELLED is seen": (stopped, others),
    }


@contextmanager
def network() -> Iterator[str]:
    """A network of the engine's, for the emulator's containers and those beside them."""
    name = f"headway-bench-{secrets.token_hex(4)}"
    _docker("network", "create", name)
    try:
        yield name
    finally:
        _docker("network", "rm", name)


def waited(network: str) -> float:
    """Seconds from a container's last line until `docker wait` says that it has ended."""
    container = _docker("run", "--detach", "--network", network, IMAGE, "sh", "-c", ENDS)
    try:
        _docker("wait", container)
        now = time.time()
        return now - float(_docker("logs", container))
    finally:
        _docker("rm", "--force", container)


def _docker(*words: str) -> str:
    done = subprocess.run(["docker", *words], stdout=subprocess.PIPE, text=True, timeout=DEADLINE, check=True)
    return done.stdout.strip()


class _Watcher:
    """One client on a kept connection."""

    def __init__(self, port: int) -> None:
        self._connection = http.client.HTTPConnection("127.0.0.1", port, timeout=DEADLINE)

    def exit(self) -> float:
        name = self._create(ENDS)
        return self._until(name, "JOB_STATE_SUCCEEDED") - self._stamp(name)

    def cancel(self) -> tuple[float, float]:
        """From the request to CANCELLING, and from the replica's end to CANCELLED."""
        name = self._create(STOPS)
        deadline = time.monotonic() + DEADLINE
        while "up" not in self._lines(name):
            if time.monotonic() > deadline:
                raise RuntimeError(f"{name} did not start within {DEADLINE:g} s")
            time.sleep(0.05)
        asked = time.time()
        self._call("POST", f"/aiplatform/v1/{name}:cancel", {})
        cancelling = self._until(name, "JOB_STATE_CANCELLING", "JOB_STATE_CANCELLED")
        return cancelling - asked, self._until(name, "JOB_STATE_CANCELLED") - self._stamp(name)

    def _create(self, command: str) -> str:
        return str(self._call("POST", f"{PARENT}/customJobs", custom_job("change", command))["name"])

    def _until(self, name: str, *states: str) -> float:
        """When one of the states was seen."""
        deadline = time.monotonic() + DEADLINE
        while (job := self._call("GET", f"/aiplatform/v1/{name}"))["state"] not in states:
            if time.monotonic() > deadline or "error" in job:
                raise RuntimeError(f"{name} is {job['state']}, not {states[0]}: {job.get('error')}")
            time.sleep(POLL_SECONDS)
        return time.time()

    def _stamp(self, name: str) -> float:
        """The time that the replica wrote."""
        return next(float(line) for line in self._lines(name) if line.partition(".")[0].isdecimal())

    def _lines(self, name: str) -> list[str]:
        job = name.rsplit("/", 1)[1]
        wanted = {"resourceNames": ["projects/headway-local"], "filter": f'resource.labels.job_id="{job}"'}
        entries = self._call("POST", "/logging/v2/entries:list", wanted).get("entries", [])
        return [str(entry.get("jsonPayload", {}).get("message", "")) for entry in entries]

    def _call(self, verb: str, path: str, body: Mapping[str, Any] | None = None) -> dict[str, Any]:
        data = None if body is None else json.dumps(body)
        self._connection.request(verb, path, data, {"Content-Type": "application/json"})
        answer = self._connection.getresponse()
        document = answer.read()
        if answer.status != 200:
            raise RuntimeError(f"{verb} {path}: {document[:500]!r}")
        found: dict[str, Any] = json.loads(document)
        return found
