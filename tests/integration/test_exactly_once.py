"""One content is one job: submitted 200 times at once, killed anywhere, submitted again; on a real stack."""

from __future__ import annotations

import json
import os
import random
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any
from urllib.request import urlopen

import pytest

from headway_emulator.testing import Faults
from tests.contract.servers import until
from tests.integration.submitting import Order, Outcome

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]

ROOT = Path(__file__).parents[2]
DEADLINE_S = 800
MOMENTS = {"plain": 50, "building": 8}
"""How many submits of a kind are killed at moments drawn by chance."""
DRAWS = 6
"""How often moments are drawn until so many were killed: one that came to its end before is no death."""
REGIONS = ("us-central1", "us-east4", "us-west1")
FULL = "us-west1"
"""Where creations are refused for want of quota, all the time."""


@dataclass(frozen=True)
class Submitting:
    """The program beside this file, kept for many batches: it takes seconds to load Google's clients."""

    program: subprocess.Popen[str]

    def __call__(self, orders: Iterable[Order], *, at_once: int) -> list[Outcome]:
        batch = {"orders": [asdict(order) for order in orders], "at_once": at_once}
        assert self.program.stdin
        assert self.program.stdout
        self.program.stdin.write(json.dumps(batch) + "\n")
        self.program.stdin.flush()
        return [_outcome(told) for told in json.loads(self.program.stdout.readline())]


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

    @contextmanager
    def submitting(self) -> Iterator[Submitting]:
        """A program that submits for as long as the block lasts."""
        with subprocess.Popen(
            [sys.executable, "-m", "tests.integration.submitting"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env=self.environment,
            cwd=ROOT,
        ) as program:
            try:
                yield Submitting(program)
            finally:
                program.kill()

    def order(self, name: str, *overrides: str, **how: Any) -> Order:
        return Order(str(self.config), (f"name={name}", *overrides), **how)

    @property
    def record(self) -> Any:
        return json.loads((self.state / "local" / "stack.json").read_text())

    @property
    def faults(self) -> Faults:
        return Faults(self.record["emulator_url"])

    def jobs(self) -> dict[str, list[str]]:
        """The jobs that Vertex AI has in all regions, ended ones too, by the names of their configs."""
        found: dict[str, list[str]] = {}
        for region in REGIONS:
            for job in self._all("aiplatform", "customJobs", region):
                found.setdefault(job["labels"]["headway-name"], []).append(job["name"])
        return found

    def builds(self) -> dict[str, list[str]]:
        """The states of Cloud Build's builds, by the image that they make."""
        found: dict[str, list[str]] = {}
        for build in self._all("cloudbuild", "builds", "us-central1"):
            found.setdefault(build["substitutions"]["_BASE"], []).append(build["status"])
        return found

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


def _outcome(told: dict[str, Any]) -> Outcome:
    lists = {key: tuple(told[key]) for key in ("jobs", "errors", "boundaries")}
    return Outcome(**lists, seconds=told["seconds"], killed=told["killed"])


def plain(stack: Stack, name: str, **how: Any) -> Order:
    """A submit whose image and bundle are there."""
    return stack.order(name, **how)


def building(stack: Stack, name: str, **how: Any) -> Order:
    """One that has to make both: its base image and its code are its own."""
    folder = stack.config.parent.with_name(name)
    if not folder.exists():
        shutil.copytree(stack.config.parent, folder)
        (folder / "train.py").write_text(f"print('trained {name}')\n", encoding="utf-8")
    order = stack.order(name, f"environment.base={_base(name)}", **how)
    return replace(order, config=str(folder / stack.config.name))


def _base(name: str) -> str:
    return f"python:3.11-{name}"


def trip(stack: Stack, name: str, **how: Any) -> Order:
    """One that goes on to its second candidate, for there is no room for the first one."""
    return stack.order(name, f"resources.regions=[{FULL},us-east4]", **how)


KINDS: Mapping[str, Callable[..., Order]] = {"plain": plain, "building": building, "trip": trip}
CLAIM = "POST headway/runs/*/plan.json"
CHANGES: Mapping[str, Sequence[str]] = {
    "plain": [CLAIM, "POST us-central1/customJobs"],
    "building": [
        "POST headway/builds/*/context.tar.gz",
        "POST us-central1/builds",
        "POST headway/environments/*.json",
        "POST headway/bundles/*.tar",
        CLAIM,
        "POST us-central1/customJobs",
    ],
    "trip": [
        CLAIM,
        f"POST headway/regions/{FULL}",
        f"POST {FULL}/customJobs",
        "POST headway/runs/*/attempts.json",
        f"{CLAIM} (2)",
        "POST headway/regions/us-east4",
        "POST us-east4/customJobs",
        "POST headway/runs/*/attempts.json (2)",
    ],
}
"""What a submit of each kind changes, in its order. Around these requests it must die, besides all others."""


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    folder = tmp_path_factory.mktemp("projects") / "project"
    folder.mkdir()
    shutil.copy(ROOT / "examples" / "digits" / "requirements.txt", folder)
    (folder / "train.py").write_text("print('trained')\n", encoding="utf-8")
    config = folder / "config.yaml"
    config.write_text("name: once\nentrypoint: train.py\nlimits: {timeout: 10m}\n", encoding="utf-8")
    stack = Stack(tmp_path_factory.mktemp("state"), config)
    stack.launch("local", "up", "--executor", "process")
    try:
        # jobs without a GPU need not run here: what counts is how many there are
        stack.faults.add("quota", accelerator="", times=0)
        stack.faults.add("quota_exceeded", region=FULL, times=0)
        yield stack
    finally:
        stack.launch("local", "down")


@pytest.fixture(scope="module")
def submit(stack: Stack) -> Iterator[Submitting]:
    with stack.submitting() as submit:
        (first,) = submit([stack.order("first")], at_once=1)  # makes image and bundle
        assert first.errors == ()
        yield submit


@pytest.fixture(scope="module")
def background() -> Iterator[ThreadPoolExecutor]:
    """For submits that spend their time waiting, while others are killed."""
    with ThreadPoolExecutor(2) as threads:
        yield threads


@pytest.fixture(scope="module")
def unsure(stack: Stack, submit: Submitting, background: ThreadPoolExecutor) -> Future[list[Outcome]]:
    """A submit whose creation was answered with 503, for which it looks half a minute."""

    def alone() -> list[Outcome]:
        with stack.submitting() as submit_it:
            return submit_it([stack.order("unsure")], at_once=1)

    fault = stack.faults.add("response", method="aiplatform.customJobs.create", status=503)
    submitted = background.submit(alone)
    until(lambda: any(entry["fault"] == fault for entry in stack.faults.fired()), seconds=120)
    return submitted


@dataclass(frozen=True)
class Wish:
    """Submitted twice, as a command: what it said, and the faults that its first three attempts met."""

    view: Mapping[str, Any]
    again: Mapping[str, Any]
    quota: str
    shortage: str
    silence: str


@pytest.fixture(scope="module")
def wish(stack: Stack, background: ThreadPoolExecutor, unsure: object) -> Future[Wish]:
    """Of two GPUs in two regions, of which the last pair alone is to be had; between attempts it pauses."""
    t4, l4 = "NVIDIA_TESLA_T4", "NVIDIA_L4"
    quota = stack.faults.add("quota_exceeded", region="us-central1", accelerator=l4, times=0)
    shortage = stack.faults.add("stockout", region="us-east4", accelerator=l4, times=0)
    silence = stack.faults.add("quota_exceeded", region="us-central1", accelerator=t4, times=0)
    wanted = ("resources.gpu=l4:1,t4:1", "resources.regions=[us-central1,us-east4]")

    words = ("submit", "--local", str(stack.config), "name=wish", *wanted, "--json")

    def launched() -> Any:
        return json.loads(stack.launch(*words))

    return background.submit(lambda: Wish(launched(), launched(), quota, shortage, silence))


@dataclass(frozen=True)
class Deaths:
    """All submits of this module that are killed, before any is repeated.

    A claim whose submit died lapses after a minute. The test of 200 submits stands between the deaths and the
    repeats, so that the minute passes while something is tested.
    """

    wholes: Mapping[str, Outcome]
    """Of each kind one that came to its end: its boundaries are where the others die."""
    at_boundaries: Mapping[str, Mapping[str, Order]]
    """Of each kind, by name: in the order of the whole one's boundaries."""
    at_moments: Mapping[str, Mapping[str, Order]]
    outcomes: Mapping[str, Outcome]


@pytest.fixture(scope="module")
def deaths(stack: Stack, submit: Submitting, unsure: object, wish: object) -> Deaths:
    made = {kind: make(stack, f"{kind}-whole") for kind, make in KINDS.items()}
    wholes = dict(zip(made, submit(made.values(), at_once=2), strict=True))
    assert [whole.errors for whole in wholes.values()] == [()] * len(KINDS)
    at_boundaries = {
        kind: {
            (name := f"{kind}-at-{n}"): KINDS[kind](stack, name, dies_at=boundary)
            for n, boundary in enumerate(whole.boundaries)
        }
        for kind, whole in wholes.items()
    }
    all_of_them = {name: order for orders in at_boundaries.values() for name, order in orders.items()}
    outcomes = dict(zip(all_of_them, submit(all_of_them.values(), at_once=4), strict=True))
    at_moments: dict[str, dict[str, Order]] = {}
    for kind, wanted in MOMENTS.items():
        at_moments[kind], ended = _killed_at_moments(stack, submit, kind, wanted, wholes[kind].seconds)
        outcomes |= ended
    return Deaths(wholes, at_boundaries, at_moments, outcomes)


def _killed_at_moments(
    stack: Stack, submit: Submitting, kind: str, wanted: int, whole_s: float
) -> tuple[dict[str, Order], dict[str, Outcome]]:
    """Moments within what a whole submit takes on the machine at hand, drawn until so many have died.

    Those that ended before their moment are given as well: they are repeated like the others.
    """
    chance = random.Random(f"4 {kind}")
    orders: dict[str, Order] = {}
    outcomes: dict[str, Outcome] = {}
    for _ in range(DRAWS):
        alive = wanted - sum(outcome.killed for outcome in outcomes.values())
        drawn = {
            (name := f"{kind}-after-{n}"): KINDS[kind](stack, name, dies_after=chance.uniform(0.02, whole_s))
            for n in range(len(orders), len(orders) + alive)
        }
        ended = submit(drawn.values(), at_once=2)
        orders |= drawn
        outcomes |= zip(drawn, ended, strict=True)
        # the machine may be less busy than when the whole one was timed
        whole_s = min([whole_s, *(outcome.seconds for outcome in ended if not outcome.killed)])
        if all(outcome.killed for outcome in ended):
            break
    return orders, outcomes


def repeated(stack: Stack, submit: Submitting, orders: Mapping[str, Order]) -> dict[str, str]:
    """The same submits once more, all to their end: the one job of each, which is all that Vertex AI has.

    Those that wait for a claim to lapse cost nothing.
    """
    whole = [replace(order, dies_at="", dies_after=0.0) for order in orders.values()]
    outcomes = submit(whole, at_once=12)
    assert [error for outcome in outcomes for error in outcome.errors] == []
    given = {name: list(outcome.jobs) for name, outcome in zip(orders, outcomes, strict=True)}
    jobs = stack.jobs()
    assert {name: jobs.get(name, []) for name in orders} == given
    assert {name: len(of_one) for name, of_one in given.items()} == dict.fromkeys(orders, 1)
    return {name: job for name, (job,) in given.items()}


@pytest.mark.parametrize("kind", KINDS)
def test_a_submit_is_killed_at_every_one_of_its_boundaries(kind: str, deaths: Deaths) -> None:
    whole = deaths.wholes[kind].boundaries
    ends = [deaths.outcomes[name] for name in deaths.at_boundaries[kind]]
    assert [outcome.boundaries[-1:] for outcome in ends if outcome.killed] == [(name,) for name in whole]

    sent = [name.removeprefix("while ") for name in whole if name.startswith("while ")]
    assert sent == CHANGES[kind]
    wanted = {f"{moment} {request}" for moment in ("before", "while", "after") for request in sent}
    assert wanted <= set(whole)


@pytest.mark.parametrize(("kind", "wanted"), MOMENTS.items())
def test_submits_are_killed_at_random_moments_of_all_that_they_take(
    kind: str, wanted: int, deaths: Deaths
) -> None:
    ends = [deaths.outcomes[name] for name in deaths.at_moments[kind]]
    assert sum(outcome.killed for outcome in ends) == wanted


def test_two_hundred_submits_at_once_from_twenty_processes_are_one_job(
    stack: Stack, submit: Submitting
) -> None:
    outcomes = submit([stack.order("many", times=10)] * 20, at_once=20)

    assert [error for outcome in outcomes for error in outcome.errors] == []
    given = [job for outcome in outcomes for job in outcome.jobs]
    assert len(given) == 200
    assert stack.jobs()["many"] == list(set(given))


def test_a_submit_killed_at_any_boundary_and_repeated_is_one_job(
    stack: Stack, submit: Submitting, deaths: Deaths
) -> None:
    repeated(stack, submit, deaths.at_boundaries["plain"])


def test_a_submit_killed_between_its_attempts_and_repeated_is_one_job(
    stack: Stack, submit: Submitting, deaths: Deaths
) -> None:
    jobs = repeated(stack, submit, deaths.at_boundaries["trip"])
    assert {job.split("/")[3] for job in jobs.values()} == {"us-east4"}


def test_a_submit_killed_at_fifty_random_moments_and_repeated_is_one_job(
    stack: Stack, submit: Submitting, deaths: Deaths
) -> None:
    repeated(stack, submit, deaths.at_moments["plain"])


def test_a_submit_killed_while_its_image_is_built_and_repeated_is_one_job_and_one_build(
    stack: Stack, submit: Submitting, deaths: Deaths
) -> None:
    """The build of the killed one may go on, and has come to its end here before the next submit asks."""
    orders = {**deaths.at_boundaries["building"], **deaths.at_moments["building"]}
    until(
        lambda: all(state == "SUCCESS" for states in stack.builds().values() for state in states), seconds=120
    )

    repeated(stack, submit, orders)
    builds = stack.builds()
    assert {name: builds[_base(name)] for name in orders} == {name: ["SUCCESS"] for name in orders}


def test_a_creation_answered_with_503_is_looked_for_and_repaired_by_the_next_submit(
    stack: Stack, submit: Submitting, unsure: Future[list[Outcome]]
) -> None:
    (outcome,) = unsure.result()
    assert len(outcome.errors) == 1
    assert "503" in outcome.errors[0]

    repeated(stack, submit, {"unsure": stack.order("unsure")})


def test_attempts_go_by_the_list_where_quota_and_machines_are_short_and_are_counted_once(
    stack: Stack, wish: Future[Wish]
) -> None:
    done = wish.result()
    view = done.view
    assert view["state"] == "succeeded"
    assert view["region"] == "us-east4"
    assert "NVIDIA_TESLA_T4" in view["machine"]
    assert [(a["number"], a["region"], a["accelerator"], a["state"]) for a in view["attempts"]] == [
        (1, "us-central1", "NVIDIA_L4", "refused"),
        (2, "us-east4", "NVIDIA_L4", "stockout"),
        (3, "us-central1", "NVIDIA_TESLA_T4", "refused"),
        (4, "us-east4", "NVIDIA_TESLA_T4", "created"),
    ]
    mine = (done.quota, done.shortage, done.silence)  # others are armed besides
    fired = [(one["fault"], one["on"]["region"]) for one in stack.faults.fired() if one["fault"] in mine]
    assert fired == [
        (done.quota, "us-central1"),
        (done.shortage, "us-east4"),
        (done.silence, "us-central1"),
    ]
    assert done.again["job"] == view["job"]


def test_a_creation_that_was_made_and_not_answered_is_found(stack: Stack, submit: Submitting) -> None:
    stack.faults.add("response", method="aiplatform.customJobs.create", **{"break": "drop"})
    (unheard,) = submit([stack.order("unheard")], at_once=1)
    assert unheard.errors == ()
    assert stack.jobs()["unheard"] == list(unheard.jobs)
