"""The claim on a run: plan.json in the bucket, which one submit holds while it creates the run's job.

Its metadata says whose it is, and which of the plan's candidates is being tried. It changes by preconditions
only, so that of several who want it one gets it. A cancel takes it for good: nobody has it after that.
"""

from __future__ import annotations

import json
import time
from contextlib import suppress
from datetime import UTC, datetime
from uuid import uuid4

from pydantic import ValidationError

from headway.cloud.services import Services
from headway.cloud.storage import ObjectStore, Version
from headway.errors import InputError, NotFound, RemoteError, Unreadable
from headway.spec.layout import BucketLayout
from headway.spec.place import LOCAL
from headway.spec.plan import Plan

_SUBMIT = "headway-submit"
_ATTEMPT = "headway-attempt"
_HOLDER = "headway-holder"
_CANCELLED = "headway-cancelled"
_TRIES = 20
"""Of a cancel: somebody is faster only where the run goes on, and of candidates there are few."""


class Cancelled(Exception):
    """The run was cancelled: nobody makes a job of it any more. Never leaves this package."""


class Claim:
    """One submit's claim on a run, from before it has it.

    Of a run that was cancelled all that would go on with it raise Cancelled; `take` has nothing to have.
    """

    def __init__(self, plan: Plan, store: ObjectStore) -> None:
        self.plan = plan
        """What the claim is on; marked as cancelled from the moment where that was seen."""
        self.attempt = 1
        """Which of the candidates is tried, counted from 1."""
        self.holder = 1
        """Whose turn it is, counted from 1: each submit that has it from another one is the next."""
        self._store = store
        self._name = plan.name_in_bucket
        self._token = uuid4().hex
        self._held_since = 0.0

    def take(self) -> bool:
        """Have the claim where nobody has."""
        return self._write(0, attempt=1, holder=1)

    def take_over(self, lapses_s: float) -> bool:
        """Have that of a submit that must have died: its claim is older than that, and it has no job."""
        seen = self._seen()
        if seen is None or seen.age_s <= lapses_s:
            return False  # given up meanwhile, or alive for all that is known
        attempt = min(_attempt(seen), len(self.plan.candidates))
        return self._write(seen.generation, attempt, holder=_holder(seen) + 1)

    def move_on(self, after: int) -> bool:
        """Have it for the candidate after that one, whose job is over; False where somebody else moved on."""
        seen = self._seen()
        if seen is None or _attempt(seen) != after:
            return False
        return self._write(seen.generation, after + 1, holder=_holder(seen) + 1)

    def next(self) -> bool:
        """Go on to the next candidate; False where the claim is no longer ours."""
        return self._keep(self.attempt + 1)

    def holds(self, for_s: float) -> bool:
        """Whether it is ours still, asked where it was written longer ago: a laptop may have slept since."""
        return time.time() - self._held_since < for_s or self._keep(self.attempt)

    def look(self) -> None:
        """Only raise Cancelled where the run was cancelled."""
        self._seen()

    def give_up(self) -> None:
        """Leave it to whoever wants it next; where that fails it lapses by itself."""
        with suppress(RemoteError):
            if (seen := self._version()) and self._is_ours(seen):
                self._store.delete(self._name, generation=seen.generation)

    def cancel(self) -> float:
        """Take it from whoever has it, for good; how many seconds ago that one had written it.

        Raises NotFound where nobody has it any more.
        """
        for _ in range(_TRIES):
            seen = self._store.version(self._name)
            self.attempt, self.holder = _attempt(seen), _holder(seen)
            if _CANCELLED not in seen.metadata:
                now = datetime.now(UTC)
                document = {**json.loads(self._store.read(self._name)), "cancelled": now.isoformat()}
                metadata = {**seen.metadata, _SUBMIT: self._token, _CANCELLED: now.isoformat()}
                encoded = json.dumps(document, indent=1).encode()
                if not self._store.replace(
                    self._name, encoded, generation=seen.generation, metadata=metadata
                ):
                    continue
                seen = Version(seen.generation, seen.age_s, metadata)
            self._mark(seen)
            return seen.age_s
        raise RemoteError(
            f"the claim on {self.plan.run_id} changed {_TRIES} times while it was being cancelled",
            hint="cancel once more",
        )

    def _keep(self, attempt: int) -> bool:
        seen = self._seen()
        return seen is not None and self._is_ours(seen) and self._write(seen.generation, attempt, self.holder)

    def _is_ours(self, seen: Version) -> bool:
        return seen.metadata.get(_SUBMIT) == self._token

    def _seen(self) -> Version | None:
        seen = self._version()
        if seen and _CANCELLED in seen.metadata:
            self._mark(seen)
            raise Cancelled
        return seen

    def _mark(self, seen: Version) -> None:
        when = datetime.fromisoformat(seen.metadata[_CANCELLED])
        self.plan = self.plan.model_copy(update={"cancelled": when})

    def _version(self) -> Version | None:
        try:
            return self._store.version(self._name)
        except NotFound:
            return None

    def _write(self, generation: int, attempt: int, holder: int) -> bool:
        metadata = {_SUBMIT: self._token, _ATTEMPT: str(attempt), _HOLDER: str(holder)}
        document, since = self.plan.model_dump_json(indent=1).encode(), time.time()
        if not self._store.replace(self._name, document, generation=generation, metadata=metadata):
            seen = self._version()  # our own request's answer may have been lost, and this was its repeat
            if seen is None or dict(seen.metadata) != metadata:
                return False
        self.attempt, self.holder, self._held_since = attempt, holder, since
        return True


def read_plan(run_id: str, services: Services) -> Plan:
    """The plan of a run that somebody claimed. Raises NotFound where the bucket holds none."""
    name = BucketLayout(services.place.bucket).plan(run_id)
    listing = f"launch {'sweep ' if '-sweep-' in run_id else ''}list{services.place.words}"
    return _read(name, run_id, "run", listing, services)


def read_sweep(sweep_id: str, services: Services, attempt: int = 1) -> Plan:
    """The plan of one of a sweep's tuning jobs. Raises NotFound where the bucket holds none."""
    name = BucketLayout(services.place.bucket).sweep_plan(sweep_id, attempt)
    return _read(name, sweep_id, "sweep", f"launch sweep list{services.place.words}", services)


def same_run(plan: Plan, services: Services) -> Plan:
    """The plan that the run was claimed with: its job is where that one sent it, whatever ours would say.

    Raises NotFound where nobody has claimed it, and InputError where its content is another.
    """
    sweep = plan.sweep
    theirs = read_sweep(sweep.id, services, sweep.attempt) if sweep else read_plan(plan.run_id, services)
    if theirs.claim != plan.claim:  # an id holds 8 of its 64 characters
        raise InputError(
            f"a run of other content has the id {plan.run_id} by chance",
            hint="change anything in its config"
            if sweep
            else "submit with --again, which gives this one a number",
        )
    return theirs


def _read(name: str, wanted: str, what: str, listing: str, services: Services) -> Plan:
    place, listed = services.place, f"list them with: {listing}"
    if not wanted or "/" in wanted:
        raise InputError(f"{wanted!r} is no {what} id", hint=listed)
    try:
        return Plan.model_validate_json(services.store.read(name))
    except NotFound as error:
        where = "the local stack" if place.profile == LOCAL else f"gs://{place.bucket}"
        raise NotFound(f"there is no {what} {wanted} in {where}", hint=listed) from error
    except ValidationError as error:
        raise Unreadable(
            f"the plan of {wanted} cannot be read: it was written by another version of headway",
            hint="upgrade headway here",
        ) from error


def _attempt(seen: Version) -> int:
    return int(seen.metadata.get(_ATTEMPT, 1))


def _holder(seen: Version) -> int:
    return int(seen.metadata.get(_HOLDER, 1))
