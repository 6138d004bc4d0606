"""What became of each candidate that was tried, in the run's folder: for people and for later submits."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from datetime import UTC, datetime
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, TypeAdapter, ValidationError

from headway.cloud.services import Services
from headway.errors import NotFound, RemoteError, Unreadable
from headway.spec.plan import Plan


class Attempt(BaseModel):
    """One candidate that was tried: the job it became, or why it did not. `time` is UTC."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    number: int
    region: str
    machine: str
    accelerator: str | None
    accelerator_count: int
    state: Literal["created", "refused", "stockout"]
    job: str | None
    reason: str | None
    time: datetime


_ATTEMPTS = TypeAdapter(tuple[Attempt, ...])


def read_attempts(services: Services, plan: Plan) -> tuple[Attempt, ...]:
    """What was tried; nothing where the first candidate took the run."""
    try:
        return _ATTEMPTS.validate_json(services.store.read(plan.folder.attempts))
    except NotFound:
        return ()
    except ValidationError as error:
        raise Unreadable(
            f"the attempts of {plan.run_id} cannot be read: another version of headway wrote them",
            hint="upgrade headway here",
        ) from error


def record(
    plan: Plan,
    services: Services,
    number: int,
    state: Literal["created", "refused", "stockout"],
    *,
    job: str | None = None,
    reason: str | None = None,
) -> None:
    """Write the attempt down, once for each number; the run goes on where the record cannot be written."""
    tried = plan.candidates[number - 1]
    attempt = Attempt(
        number=number,
        region=tried.region,
        machine=tried.type,
        accelerator=tried.accelerator,
        accelerator_count=tried.accelerator_count,
        state=state,
        job=job,
        reason=reason,
        time=datetime.now(UTC),
    )
    with suppress(RemoteError):
        others = [known for known in read_attempts(services, plan) if known.number != number]
        kept: Sequence[Any] = sorted([*others, attempt], key=lambda one: one.number)
        document = _ATTEMPTS.dump_json(tuple(kept), indent=1)
        services.store.write(plan.folder.attempts, document, content_type="application/json")
