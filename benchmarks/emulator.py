"""The emulator's speed and size with thousands of jobs, beside moto's server doing the same for SageMaker.

Both run side by side on the same jobs and take turns; the load comes from one thread of this process. moto
runs no training, so a change of state has nothing beside it but, with Docker, the engine's own `docker wait`.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from statistics import median

from benchmarks import changes, servers
from benchmarks.calls import PARENT, QUOTA, Api, SageMaker, Vertex, alternately, listed
from benchmarks.load import Clients, Load, request
from benchmarks.measure import Figure
from benchmarks.servers import Server

JOBS = int(os.environ.get("HEADWAY_BENCH_JOBS", "10000"))
CLIENTS = 20
STARTS, ROUNDS = 5, 3
PACE = 200.0
"""Requests a second of all clients; Vertex AI itself allows 60 submissions and 600 reads a minute."""
PACED, UNPACED = 800, 2000
GOALS = {"start": 1.0, "memory": 120.0, "p95": 10.0, "visible": 100.0}
"""Seconds, MB, ms, ms."""
ENGINE = Path("/var/run/docker.sock")
OTHERS = {
    "Vertex AI v1beta1": PARENT.replace("/v1/", "/v1beta1/") + "/customJobs?pageSize=1",
    "Cloud Build": "/cloudbuild/v1/projects/headway-local/builds",
    "Cloud Scheduler": "/cloudscheduler/v1/projects/headway-local/locations/us-central1/jobs",
    "Cloud Logging": "/logging/v2/projects/headway-local/logs",
    "Artifact Registry": "/artifactregistry/v1/projects/headway-local/locations/us-central1/repositories",
    "Secret Manager": "/secretmanager/v1/projects/headway-local/secrets",
    "Cloud Storage": "/storage/v1/b?project=headway-local",
}
"""A request of each other service: what it loads stays in memory."""


@dataclass
class Side:
    """One of the two, with what was measured of it."""

    server: Server
    api: Api
    paced: list[Load] = field(default_factory=list)
    unpaced: list[Load] = field(default_factory=list)
    page: float = 0.0
    resident: float = 0.0
    peak: float = 0.0

    def fill(self, say: Callable[[str], None]) -> None:
        """Make the jobs, read all pages of the listing, and see what that costs."""
        made = Clients(self.server.port, CLIENTS).load(self.api.create, JOBS, seen=self.api.seen)
        pages, found = listed(self.server, self.api)
        if found != JOBS:
            raise RuntimeError(f"{found} jobs are listed of {JOBS}")
        self.page, self.resident, self.peak = median(pages), self.server.resident(), self.server.peak()
        say(f"  {JOBS:,} jobs, {made.rate:.0f} a second")

    def work(self) -> None:
        """One round: creating and getting in turns, at a pace and then as fast as it is answered."""
        clients, both = Clients(self.server.port, CLIENTS), alternately(self.api.create, self.api.get)
        self.paced.append(clients.load(both, PACED, rate=PACE, seen=self.api.seen))
        self.unpaced.append(clients.load(both, UNPACED, seen=self.api.seen))


def figures(folder: Path, say: Callable[[str], None]) -> tuple[list[Figure], Mapping[str, str]]:
    """The figures, and what else is good to know, by name."""
    found = _starting(folder)
    with (
        servers.emulator(folder / "jobs", settings=QUOTA) as emulator,
        servers.moto(folder / "moto") as moto,
    ):
        ours, theirs = Side(emulator, Vertex()), Side(moto, SageMaker())
        for side in (ours, theirs):
            side.fill(say)
        memory, notes = _others(ours)
        for _ in range(ROUNDS):
            ours.work()
            theirs.work()
        found += [*_sizes(ours, theirs, memory), *_speeds(ours, theirs), *_visible(emulator, "process")]
    with servers.emulator(folder / "jobs", settings=QUOTA) as again:
        notes[f"started again with more than {JOBS:,} jobs in its queue"] = f"{again.started:.3f} s"
    if ENGINE.exists():
        with (
            changes.network() as network,
            servers.emulator(folder / "docker", "docker", network=network) as emulator,
        ):
            found += _visible(emulator, "docker", partial(changes.waited, network))
    notes["the load generator took of one core, at most"] = _busiest(ours, theirs)
    return found, notes


def _starting(folder: Path) -> list[Figure]:
    """From nothing to the first answer to GET /, and to the first listing, each time on an empty state."""
    sides: Mapping[str, tuple[Callable[[Path], AbstractContextManager[Server]], Api]] = {
        "emulator": (servers.emulator, Vertex()),
        "moto": (servers.moto, SageMaker()),
    }
    taken: dict[str, list[float]] = {name: [] for name in sides}
    for number in range(STARTS + 1):
        for name, (serve, _) in sides.items():
            with serve(folder / f"start-{name}-{number}") as server:
                if number:  # the first round warms the machine's caches
                    taken[name].append(server.started)
    ours, theirs = median(taken["emulator"]), median(taken["moto"])
    goal, met = f"under {GOALS['start']:.0f} s", ours < GOALS["start"]
    return [Figure("start, to the first answer", "moto server", ours, theirs, STARTS, goal, met)]


def _others(side: Side) -> tuple[float, dict[str, str]]:
    """MB when every service was asked once, and how much more each made it."""
    notes, before = {}, side.server.resident()
    for name, path in OTHERS.items():
        status, body = side.server.call(request("GET", path))
        if status not in (200, 501):
            raise RuntimeError(f"{name}: {status} {body[:500]!r}")
        after = side.server.resident()
        notes[f"memory after a request to {name}"] = f"{after:.0f} MB ({after - before:+.1f})"
        before = after
    return before, notes


def _sizes(ours: Side, theirs: Side, after_others: float) -> list[Figure]:
    most = GOALS["memory"]

    def figure(what: str, against: str, mine: float, other: float | None) -> Figure:
        return Figure(what, against, mine, other, 1, f"under {most:.0f} MB", mine < most, "MB")

    with_jobs = f"moto, {JOBS:,} training jobs"
    return [
        figure(f"memory, {JOBS:,} queued jobs listed", with_jobs, ours.resident, theirs.resident),
        figure("memory, the same, at most", with_jobs, ours.peak, theirs.peak),
        figure("memory, then every service asked", "", after_others, None),
    ]


def _speeds(ours: Side, theirs: Side) -> list[Figure]:
    most, found = GOALS["p95"], []
    peer = {"create": "moto CreateTrainingJob", "get": "moto DescribeTrainingJob"}
    for how, goal in (("paced", f"under {most:.0f} ms"), ("unpaced", "")):
        rates = [median(load.rate for load in getattr(side, how)) for side in (ours, theirs)]
        for kind in ("create", "get"):
            mine, other = (
                median(load.p95(kind) for load in getattr(side, how)) * 1000 for side in (ours, theirs)
            )
            what = f"{kind}, {CLIENTS} clients, {rates[0]:.0f}/s, p95"
            met = mine < most if goal else None
            against = f"{peer[kind]}, {rates[1]:.0f}/s"
            found.append(Figure(what, against, mine, other, ROUNDS, goal, met, "ms"))
    pages = (ours.page * 1000, theirs.page * 1000)
    found.append(Figure("list, a page of 100 jobs", "moto ListTrainingJobs", *pages, JOBS // 100, unit="ms"))
    return found


def _visible(emulator: Server, executor: str, beside: Callable[[], float] | None = None) -> list[Figure]:
    most, found = GOALS["visible"], []
    for what, (ours, theirs) in changes.seen(emulator, beside).items():
        mine, other = median(ours) * 1000, median(theirs) * 1000 if theirs else None
        # an exit that the engine has not reported yet is none that the emulator could show
        goal = f"under {most:.0f} ms" if other is None else f"at most {most:.0f} ms more"
        met = mine - (other or 0.0) < most
        against = "" if other is None else "docker wait"
        found.append(Figure(f"{executor}: {what}", against, mine, other, len(ours), goal, met, "ms"))
    return found


def _busiest(*sides: Side) -> str:
    loads: Sequence[Load] = [load for side in sides for load in (*side.paced, *side.unpaced)]
    return f"{max(load.busy for load in loads):.0%}"
