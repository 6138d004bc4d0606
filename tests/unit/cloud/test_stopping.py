"""A sweep's tuning job is cancelled from within one of its trials: what is asked, and where."""

from __future__ import annotations

from typing import Any

import pytest

from headway.cloud.session import Session
from headway.cloud.stopping import cancel_sweep
from headway.errors import Refused
from headway.spec.parameter import parse
from headway.spec.plan import Plan
from headway.spec.sweep import SweepPin
from tests.unit.runtime.world import make_plan


class Recorded(Session):
    """Answers lists with its jobs by region, and notes each call."""

    def __init__(self, region: str | None, jobs: dict[str, list[dict[str, str]]]) -> None:
        super().__init__("p", region, anonymous=True)
        self.jobs, self.calls = jobs, list[str]()

    def call(self, method: str, url: str, what: str, **arguments: Any) -> dict[str, Any]:
        self.calls.append(f"{method} {url.removeprefix('https://')}")
        if method == "POST":
            return {}
        assert arguments["params"] == {"filter": 'labels.headway-run="digits-sweep-1"'}
        region = url.split("/locations/")[1].split("/")[0]
        return {"hyperparameterTuningJobs": self.jobs[region]} if self.jobs[region] else {}


def _trial() -> Plan:
    space = (parse("lr", "0.25,0.5"),)
    pin = SweepPin(id="digits-sweep-1", metric="val_loss", goal="min", parameters=space, trials=2, parallel=1)
    plan = make_plan(b"").model_copy(update={"sweep": pin, "regions": ("us-central1", "europe-west4")})
    return plan.trial("1", {"lr": 0.5})


def _job(region: str, number: int, state: str) -> dict[str, str]:
    name = f"projects/p/locations/{region}/hyperparameterTuningJobs/{number}"
    return {"name": name, "state": f"JOB_STATE_{state}"}


def test_what_still_runs_is_cancelled_and_what_has_ended_is_left_alone() -> None:
    jobs = [_job("us-central1", 3, "RUNNING"), _job("us-central1", 2, "FAILED")]
    session = Recorded("us-central1", {"us-central1": jobs})
    cancel_sweep(session, _trial())
    base = (
        "us-central1-aiplatform.googleapis.com/v1/projects/p/locations/us-central1/hyperparameterTuningJobs"
    )
    assert session.calls == [f"GET {base}", f"POST {base}/3:cancel"]


def test_where_the_region_is_not_known_each_of_the_plans_is_looked_through() -> None:
    jobs = {"us-central1": [], "europe-west4": [_job("europe-west4", 1, "PENDING")]}
    session = Recorded(None, jobs)
    cancel_sweep(session, _trial())
    assert [call.split("-aiplatform")[0] for call in session.calls] == [
        "GET us-central1",
        "GET europe-west4",
        "POST europe-west4",
    ]


def test_a_refusal_is_the_callers(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object, **__: object) -> dict[str, Any]:
        raise Refused("permission denied")

    session = Recorded("us-central1", {})
    monkeypatch.setattr(session, "call", refuse)
    with pytest.raises(Refused, match="permission denied"):
        cancel_sweep(session, _trial())
