"""One content is one job: submitted 200 times at once, killed anywhere, submitted again; on a real stack."""

from __future__ import annotations

import json
import os
import random
import shutil
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any
from urllib.request import Request, urlopen

import pytest

from headway_emulator.testing import Faults
from tests.contract.servers import until
from tests.integration.submitting import NEVER, Order, Outcome

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]

ROOT = Path(__file__).parents[2]
DEADLINE_S = 800
MOMENTS = 50
"""How often a submit is killed at a moment drawn by chance."""
BUILD_MOMENTS = 8
"""And one that has to build its image first."""


@dataclass(frozen=True)
class Stack:
    """A local stack whose jobs are processes, and a project with a script that ends at once."""

    state: Path
    config: Path

    @property
    def environment(self) -> dict[str, str]:
        mine = {"HEADWAY_STATE": str(self.state), "HEADWAY_NO_ENGINE": "1", "HEADWAY_REQUIRE_DOCKER": "0"}
        return {**os.environ, **mine}

    def launch(self, *words: str) -> str:
        done = subprocess.run(
            [sys.executable, "-m", "headway_launcher", *words],
            capture_output=True,
            text=True,
            timeout=DEADLINE_S,
            check=False,
            env=self.environment,
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    def submit(self, orders: Sequence[Order], *, at_once: int) -> list[Outcome]:
        done = subprocess.run(
            [sys.executable, "-m", "tests.integration.submitting", str(at_once)],
            input="\n".join(json.dumps(asdict(order)) for order in orders),
            stdout=subprocess.PIPE,
            text=True,
            timeout=DEADLINE_S,
            check=True,
            env=self.environment,
            cwd=ROOT,
        )
        return [_outcome(json.loads(line)) for line in done.stdout.splitlines()]

    def order(self, name: str, *overrides: str, **how: Any) -> Order:
        return Order(str(self.config), (f"name={name}", *overrides), **how)

    @property
    def record(self) -> Any:
        return json.loads((self.state / "local" / "stack.json").read_text())

    def jobs(self, region: str = "us-central1") -> Counter[str]:
        """How many jobs Vertex AI has of each name, ended ones too."""
        return Counter(job["labels"]["headway-name"] for job in self._all("aiplatform", "customJobs", region))

    def builds(self) -> dict[str, list[str]]:
        """The states of Cloud Build's builds, by the image that they make."""
        found: dict[str, list[str]] = {}
        for build in self._all("cloudbuild", "builds", "us-central1"):
            found.setdefault(build["substitutions"]["_BASE"], []).append(build["status"])
        return found

    def cancel_all(self) -> None:
        for region in ("us-central1", "us-east4"):
            for job in self._all("aiplatform", "customJobs", region):
                if job["state"] == "JOB_STATE_QUEUED":
                    address = f"{self.record['emulator_url']}/aiplatform/v1/{job['name']}:cancel"
                    asked = Request(address, b"{}", {"Content-Type": "application/json"}, method="POST")
                    urlopen(asked, timeout=30).close()

    def _all(self, service: str, collection: str, region: str) -> Iterator[dict[str, Any]]:
        address = f"{self.record['emulator_url']}/{service}/v1/projects/{self.record['project']}"
        token = ""
        while True:
            listed = f"{address}/locations/{region}/{collection}?pageSize=100&pageToken={token}"
            with urlopen(listed, timeout=30) as answer:
                page = json.load(answer)
            yield from page.get(collection, [])
            if not (token := page.get("nextPageToken", "")):
                return


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    folder = tmp_path_factory.mktemp("project")
    shutil.copy(ROOT / "examples" / "digits" / "requirements.txt", folder)
    (folder / "train.py").write_text("print('trained')\n", encoding="utf-8")
    config = folder / "config.yaml"
    config.write_text("name: once\nentrypoint: train.py\nlimits: {timeout: 10m}\n", encoding="utf-8")
    stack = Stack(tmp_path_factory.mktemp("state"), config)
    stack.launch("local", "up", "--executor", "process")
    try:
        (first,) = stack.submit([stack.order("first")], at_once=1)  # builds the image
        assert first.errors == ()
        # the jobs of these tests need not run: what counts is how many there are
        Faults(stack.record["emulator_url"]).add("quota", times=0)
        yield stack
    finally:
        stack.launch("local", "down")


@pytest.fixture
def faults(stack: Stack) -> Faults:
    """None at first, so that jobs run: all those that wait are cancelled, or hundreds would start at once."""
    stack.cancel_all()
    faults = Faults(stack.record["emulator_url"])
    faults.clear()
    return faults


@dataclass(frozen=True)
class Deaths:
    """All submits of this module that are killed, in waves: each wave ages the claims of those before it.

    A claim whose submit died lapses after a minute, which is so waited for once and not for each test.
    """

    points: dict[str, Order]
    moments: dict[str, Order]
    building: dict[str, Order]
    trips: dict[str, Order]
    outcomes: dict[str, Outcome]
    unsure: Outcome
    """Not killed: of one whose creation was answered with 503, for which it looks half a minute."""

    def of(self, orders: dict[str, Order]) -> list[Outcome]:
        return [self.outcomes[name] for name in orders]


@pytest.fixture(scope="module")
def deaths(stack: Stack) -> Iterator[Deaths]:
    with ThreadPoolExecutor(1) as background:
        yield _deaths(stack, background)


def _deaths(stack: Stack, background: ThreadPoolExecutor) -> Deaths:
    chance = random.Random(4)
    (whole,) = stack.submit([stack.order("whole")], at_once=1)
    (built,) = stack.submit([stack.order("built", base("built"))], at_once=1)
    assert (whole.errors, built.errors) == ((), ())
    assert whole.boundaries >= 12, "look up, bundle, claim and creation are requests, and steps are told"
    own = built.boundaries - whole.boundaries
    assert own >= 8, "context, creation and looks at the build and its log"
    points = {f"point-{n}": stack.order(f"point-{n}", dies_at=n) for n in range(whole.boundaries)}
    moments = {
        f"moment-{n}": stack.order(f"moment-{n}", dies_after=chance.uniform(0.02, 1.0))
        for n in range(MOMENTS)
    }
    building = {
        name: stack.order(name, base(name), dies_at=n) for n in range(own + 4) if (name := f"build-{n}")
    }
    building |= {
        name: stack.order(name, base(name), dies_after=chance.uniform(0.3, 2.5))
        for n in range(BUILD_MOMENTS)
        if (name := f"build-moment-{n}")
    }
    outcomes: dict[str, Outcome] = {}
    faults = Faults(stack.record["emulator_url"])
    faults.add("response", method="aiplatform.customJobs.create", status=503)
    unsure = background.submit(stack.submit, [stack.order("unsure")], at_once=1)
    until(lambda: any(entry["kind"] == "response" for entry in faults.fired()))

    def kill(orders: dict[str, Order], at_once: int) -> None:
        outcomes.update(zip(orders, stack.submit(list(orders.values()), at_once=at_once), strict=True))

    kill(points, 4)
    kill(building, 4)
    with no_quota_in_the_first_region(stack):
        (trip,) = stack.submit([stack.order("trip", LISTED)], at_once=1)
        assert trip.errors == ()
        trips = {f"trip-{n}": stack.order(f"trip-{n}", LISTED, dies_at=n) for n in range(trip.boundaries)}
        kill(trips, 8)
    kill(moments, 2)
    return Deaths(points, moments, building, trips, outcomes, unsure.result()[0])


def base(name: str) -> str:
    """A base image of its own, so that the submit has to build."""
    return f"environment.base=python:3.11-{name}"


@contextmanager
def no_quota_in_the_first_region(stack: Stack) -> Iterator[None]:
    faults = Faults(stack.record["emulator_url"])
    fault = faults.add("quota_exceeded", region="us-central1", times=0)
    yield
    faults.remove(fault)


def repeated(stack: Stack, orders: dict[str, Order]) -> list[Outcome]:
    """The same submits once more, all to their end; those that wait for a claim to lapse cost nothing."""
    whole = [replace(order, dies_at=NEVER, dies_after=0.0) for order in orders.values()]
    return stack.submit(whole, at_once=12)


def test_two_hundred_submits_at_once_from_twenty_processes_are_one_job(stack: Stack) -> None:
    outcomes = stack.submit([stack.order("many", times=10)] * 20, at_once=20)

    assert [error for outcome in outcomes for error in outcome.errors] == []
    given = [job for outcome in outcomes for job in outcome.jobs]
    assert len(given) == 200
    assert len(set(given)) == 1
    assert stack.jobs()["many"] == 1


def test_a_submit_killed_at_any_boundary_and_repeated_is_one_job(stack: Stack, deaths: Deaths) -> None:
    # one that was not killed came to its end before: a look that was repeated is a boundary more of the whole
    dead = [outcome.killed or outcome.boundaries <= n for n, outcome in enumerate(deaths.of(deaths.points))]
    assert all(dead)
    assert sum(outcome.killed for outcome in deaths.of(deaths.points)) >= 12

    assert [outcome.errors for outcome in repeated(stack, deaths.points)] == [()] * len(deaths.points)
    jobs = stack.jobs()
    assert {name: jobs[name] for name in deaths.points} == dict.fromkeys(deaths.points, 1)


def test_a_submit_killed_at_fifty_random_moments_and_repeated_is_one_job(
    stack: Stack, deaths: Deaths
) -> None:
    assert any(outcome.killed for outcome in deaths.of(deaths.moments))

    assert [outcome.errors for outcome in repeated(stack, deaths.moments)] == [()] * MOMENTS
    jobs = stack.jobs()
    assert {name: jobs[name] for name in deaths.moments} == dict.fromkeys(deaths.moments, 1)


def test_a_submit_killed_while_its_image_is_built_and_repeated_is_one_job_and_no_build_runs_on(
    stack: Stack, deaths: Deaths
) -> None:
    """At each boundary of the build and at random moments; the build of the killed one may go on."""
    killed = [outcome.killed for outcome in deaths.of(deaths.building)]
    assert sum(killed) >= len(killed) - BUILD_MOMENTS, "a look fewer at a fast build is no death"

    assert [outcome.errors for outcome in repeated(stack, deaths.building)] == [()] * len(killed)
    jobs, builds = stack.jobs(), stack.builds()
    assert {name: jobs[name] for name in deaths.building} == dict.fromkeys(deaths.building, 1)
    made = {name: builds[f"python:3.11-{name}"] for name in deaths.building}
    # one that ended between two looks of the next submit is made again, which costs a minute and no job
    assert all(states in (["SUCCESS"], ["SUCCESS"] * 2) for states in made.values()), made


def _outcome(told: dict[str, Any]) -> Outcome:
    return Outcome(tuple(told["jobs"]), tuple(told["errors"]), told["boundaries"], told["killed"])


LISTED = "resources.regions=[us-central1,us-east4]"
WISHES = ("resources.gpu=l4:1,t4:1", LISTED)


def test_a_submit_killed_between_its_attempts_and_repeated_is_one_job(stack: Stack, deaths: Deaths) -> None:
    with no_quota_in_the_first_region(stack):
        again = repeated(stack, deaths.trips)

    assert [outcome.errors for outcome in again] == [()] * len(deaths.trips)
    there, refused = stack.jobs("us-east4"), stack.jobs()
    assert {name: (there[name], refused[name]) for name in deaths.trips} == dict.fromkeys(
        deaths.trips, (1, 0)
    )


def test_a_creation_answered_with_503_is_looked_for_and_repaired_by_the_next_submit(
    stack: Stack, deaths: Deaths
) -> None:
    assert len(deaths.unsure.errors) == 1
    assert "503" in deaths.unsure.errors[0]

    (repaired,) = stack.submit([stack.order("unsure")], at_once=1)
    assert repaired.errors == ()
    assert stack.jobs()["unsure"] == 1


def test_attempts_go_by_the_list_where_quota_and_machines_are_short_and_are_counted_once(
    stack: Stack, faults: Faults
) -> None:
    quota = faults.add("quota_exceeded", region="us-central1", accelerator="NVIDIA_L4", times=0)
    shortage = faults.add("stockout", region="us-east4", accelerator="NVIDIA_L4", times=0)
    silence = faults.add("quota_exceeded", region="us-central1", accelerator="NVIDIA_TESLA_T4", times=0)
    words = ("submit", "--local", str(stack.config), "name=wish", *WISHES)
    view = json.loads(stack.launch(*words, "--json"))

    assert view["state"] == "succeeded"
    assert view["region"] == "us-east4"
    assert "NVIDIA_TESLA_T4" in view["machine"]
    assert [(a["number"], a["region"], a["accelerator"], a["state"]) for a in view["attempts"]] == [
        (1, "us-central1", "NVIDIA_L4", "refused"),
        (2, "us-east4", "NVIDIA_L4", "stockout"),
        (3, "us-central1", "NVIDIA_TESLA_T4", "refused"),
        (4, "us-east4", "NVIDIA_TESLA_T4", "created"),
    ]
    mine = (quota, shortage, silence)  # what other tests armed is told too
    fired = [(entry["fault"], entry["on"]["region"]) for entry in faults.fired() if entry["fault"] in mine]
    assert fired == [(quota, "us-central1"), (shortage, "us-east4"), (silence, "us-central1")]
    again = json.loads(stack.launch(*words, "--json"))
    assert again["job"] == view["job"]


def test_a_creation_that_was_made_and_not_answered_is_found(stack: Stack, faults: Faults) -> None:
    faults.add("response", method="aiplatform.customJobs.create", **{"break": "drop"})
    (unheard,) = stack.submit([stack.order("unheard")], at_once=1)
    assert unheard.errors == ()
    assert len(unheard.jobs) == 1
    assert stack.jobs()["unheard"] == 1
