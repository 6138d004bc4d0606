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
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any
from urllib.request import urlopen

import pytest

from headway_emulator.testing import Faults
from tests.integration.submitting import Order, Outcome

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]

ROOT = Path(__file__).parents[2]
DEADLINE_S = 800
MOMENTS = 50
"""How often a submit is killed at a moment drawn by chance."""


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
        address = f"{self.record['emulator_url']}/aiplatform/v1/projects/{self.record['project']}"
        found: Counter[str] = Counter()
        token = ""
        while True:
            listed = f"{address}/locations/{region}/customJobs?pageSize=100&pageToken={token}"
            with urlopen(listed, timeout=30) as answer:
                page = json.load(answer)
            found.update(job["labels"]["headway-name"] for job in page.get("customJobs", []))
            if not (token := page.get("nextPageToken", "")):
                return found


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


def test_two_hundred_submits_at_once_from_twenty_processes_are_one_job(stack: Stack) -> None:
    outcomes = stack.submit([stack.order("many", times=10)] * 20, at_once=20)

    assert [error for outcome in outcomes for error in outcome.errors] == []
    given = [job for outcome in outcomes for job in outcome.jobs]
    assert len(given) == 200
    assert len(set(given)) == 1
    assert stack.jobs()["many"] == 1


def test_a_submit_killed_at_any_boundary_and_repeated_is_one_job(stack: Stack) -> None:
    (whole,) = stack.submit([stack.order("whole")], at_once=1)
    points = range(whole.boundaries)
    assert len(points) >= 12, "look up, bundle, claim and creation are requests, and steps are told"

    killed = stack.submit([stack.order(f"point-{n}", dies_at=n) for n in points], at_once=4)
    assert [outcome.killed for outcome in killed] == [True] * len(points)
    repeated = stack.submit([stack.order(f"point-{n}") for n in points], at_once=8)

    assert [outcome.errors for outcome in repeated] == [()] * len(points)
    jobs = stack.jobs()
    assert {n: jobs[f"point-{n}"] for n in points} == dict.fromkeys(points, 1)


def test_a_submit_killed_at_fifty_random_moments_and_repeated_is_one_job(stack: Stack) -> None:
    chance = random.Random(4)
    moments = [chance.uniform(0.02, 1.0) for _ in range(MOMENTS)]
    killed = stack.submit(
        [stack.order(f"moment-{n}", dies_after=after) for n, after in enumerate(moments)], at_once=2
    )
    assert any(outcome.killed for outcome in killed)
    repeated = stack.submit([stack.order(f"moment-{n}") for n in range(MOMENTS)], at_once=8)

    assert [outcome.errors for outcome in repeated] == [()] * MOMENTS
    jobs = stack.jobs()
    assert {n: jobs[f"moment-{n}"] for n in range(MOMENTS)} == dict.fromkeys(range(MOMENTS), 1)


def _outcome(told: dict[str, Any]) -> Outcome:
    return Outcome(tuple(told["jobs"]), tuple(told["errors"]), told["boundaries"], told["killed"])


WISHES = ("resources.gpu=l4:1,t4:1", "resources.regions=[us-central1,us-east4]")


def test_attempts_go_by_the_list_where_quota_and_machines_are_short_and_are_counted_once(
    stack: Stack,
) -> None:
    faults = Faults(stack.record["emulator_url"])
    faults.clear()
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
    fired = [(entry["fault"], entry["on"]["region"]) for entry in faults.fired() if entry["kind"] != "quota"]
    assert fired == [(quota, "us-central1"), (shortage, "us-east4"), (silence, "us-central1")]
    again = json.loads(stack.launch(*words, "--json"))
    assert again["job"] == view["job"]


def test_a_submit_killed_between_its_attempts_and_repeated_is_one_job(stack: Stack) -> None:
    faults = Faults(stack.record["emulator_url"])
    faults.clear()
    faults.add("quota", times=0)
    faults.add("quota_exceeded", region="us-central1", times=0)
    listed = "resources.regions=[us-central1,us-east4]"
    (whole,) = stack.submit([stack.order("trip", listed)], at_once=1)
    assert whole.errors == ()
    points = range(whole.boundaries)

    stack.submit([stack.order(f"trip-{n}", listed, dies_at=n) for n in points], at_once=8)
    repeated = stack.submit([stack.order(f"trip-{n}", listed) for n in points], at_once=12)

    assert [outcome.errors for outcome in repeated] == [()] * len(points)
    there, refused = stack.jobs("us-east4"), stack.jobs()
    assert {n: (there[f"trip-{n}"], refused[f"trip-{n}"]) for n in points} == dict.fromkeys(points, (1, 0))


def test_a_creation_answered_with_503_is_looked_for_and_repaired_by_the_next_submit(stack: Stack) -> None:
    faults = Faults(stack.record["emulator_url"])
    faults.clear()
    faults.add("response", method="aiplatform.customJobs.create", status=503)
    (unsure,) = stack.submit([stack.order("unsure")], at_once=1)
    assert len(unsure.errors) == 1
    assert "503" in unsure.errors[0]

    (repaired,) = stack.submit([stack.order("unsure")], at_once=1)
    assert repaired.errors == ()
    faults.add("response", method="aiplatform.customJobs.create", **{"break": "drop"})
    (unheard,) = stack.submit([stack.order("unheard")], at_once=1)
    assert unheard.errors == ()
    assert len(unheard.jobs) == 1
    parts = stack.jobs()
    assert (parts["unsure"], parts["unheard"]) == (1, 1)
