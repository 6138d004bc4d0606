"""Plan: JobSpec + digests + pins, computed without I/O; the one document that crosses to the container."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, model_validator

from headway.errors import InputError
from headway.spec import layout
from headway.spec.candidates import Candidate, candidates, longest, strategy
from headway.spec.job import ArgValue, JobSpec, argv
from headway.spec.layout import RunFolder
from headway.spec.machines import Catalogue, catalogue
from headway.spec.place import Place
from headway.spec.prices import Strategy
from headway.spec.promotion import PromotePin
from headway.spec.sweep import SweepPin, pinned
from headway.spec.unfit import Unfit


class _Value(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class CodePin(_Value):
    """The code bundle: sha256 of a plain tar, its files and their size in bytes."""

    digest: str
    files: int
    size: int


class ImagePin(_Value):
    """The environment image: digest of base, lockfile, Dockerfile and runtime; `uri` is what a job names."""

    digest: str
    base: str
    uri: str


class DataPin(_Value):
    """One DVC-tracked path: its md5 as DVC writes it (`.dir` at the end: a folder), files and size in bytes.

    `legacy` marks an output of DVC 2, whose objects lie at the remote's root and not below `files/md5/`.
    """

    path: str
    md5: str
    size: int
    files: int
    legacy: bool = False


class MachinePin(_Value):
    """The worker pools' machine, and how many of them."""

    type: str
    accelerator: str | None
    accelerator_count: int
    nodes: int
    disk_gb: int
    spot: bool
    flex_start_s: int | None = None
    reservation: str | None = None

    @property
    def strategy(self) -> Strategy:
        return strategy(self.spot, self.flex_start_s is not None)


class TrackingPin(_Value):
    uri: str
    experiment: str
    wandb: bool
    register_as: str | None
    artifacts: tuple[str, ...] = ()


class Plan(_Value):
    """All that a run is. Written once to plan.json; a run's identity is `claim`, its content's digest.

    `claim` covers code, image, data and config; not where the wheels came from, nor the place.
    A sweep's plan has `sweep`, its run_id is the sweep's id, and each trial's plan is made of it by `trial`.
    `candidates` are the attempts in order, GPUs outer, regions inner; `machine` and `regions` begin with the
    first one's, and a plan of an older version has just these. `cancelled` (UTC) is written later, by a
    cancel of the run: no further job is made of it, and one that comes nevertheless does not begin.
    """

    version: Literal[1] = 1
    run_id: str
    claim: str
    name: str
    entrypoint: str
    argv: tuple[str, ...]
    env: dict[str, str]
    secrets: dict[str, str]
    code: CodePin
    image: ImagePin
    data: tuple[DataPin, ...]
    data_remote: str
    machine: MachinePin
    regions: tuple[str, ...]
    candidates: tuple[Candidate, ...]
    timeout_s: int
    budget_usd: float | None = None
    price_date: str | None = None
    tracking: TrackingPin
    promote: PromotePin | None = None
    project: str
    bucket: str
    service_account: str | None
    endpoints: dict[str, str] = {}
    sweep: SweepPin | None = None
    config: dict[str, Any]
    schedule: str | None = None
    cancelled: datetime | None = None

    @model_validator(mode="before")
    @classmethod
    def _with_candidates(cls, values: Any) -> Any:
        """Read a plan of before there were candidates."""
        if (
            not isinstance(values, dict)
            or "candidates" in values
            or not isinstance(values.get("machine"), dict)
        ):
            return values
        machine = {key: values["machine"].get(key) for key in ("type", "accelerator", "accelerator_count")}
        attempts = [{"region": region, "gpu": None, **machine} for region in values.get("regions", ())]
        return {**values, "candidates": attempts}

    @property
    def layout(self) -> layout.BucketLayout:
        return layout.BucketLayout(self.bucket)

    @property
    def folder(self) -> RunFolder:
        """Where the run's objects lie: of a trial below its sweep's job, of a sweep that job's own prefix."""
        at, sweep = self.layout, self.sweep
        if sweep is None:
            return RunFolder(at.run(self.run_id))
        if sweep.trial is None:
            return RunFolder(at.sweep_job(sweep.id, sweep.attempt))
        return RunFolder(at.trial(sweep.id, sweep.attempt, sweep.trial))

    @property
    def name_in_bucket(self) -> str:
        """The object that this plan is, and the claim on its job; a trial's is that of its sweep's job."""
        if self.sweep is None:
            return self.layout.plan(self.run_id)
        return self.layout.sweep_plan(self.sweep.id, self.sweep.attempt)

    @property
    def base_output_uri(self) -> str:
        return self.layout.uri(self.folder.prefix)

    @property
    def plan_uri(self) -> str:
        return self.layout.uri(self.name_in_bucket)

    def trial(self, trial_id: str, given: Mapping[str, object]) -> Plan:
        """The plan of one trial of this sweep: `given` are its values, as words or numbers, laid over `args`.

        Pure. Raises InputError where the sweep does not vary one of them, or not to that value.
        """
        if self.sweep is None:
            raise InputError(f"{self.run_id} is no sweep", hint="trials are made by launch sweep")
        try:
            values = self.sweep.values(given)
        except ValueError as error:
            raise InputError(f"trial {trial_id} cannot be run: {error}") from error
        args: dict[str, ArgValue] = {**self.config.get("args", {}), **values}
        return self.model_copy(
            update={
                "run_id": self.sweep.run_id(trial_id),
                "argv": tuple(argv(args)),
                "config": {**self.config, "args": args},
                # a trial is a measurement: the winner, trained in full, is registered and may take over
                "promote": None,
                "tracking": self.tracking.model_copy(update={"register_as": None}),
                "sweep": self.sweep.model_copy(update={"trial": trial_id}),
            }
        )

    @property
    def labels(self) -> dict[str, str]:
        """Labels of the job: Google allows lowercase letters, digits, `_` and `-`, up to 63."""
        labels = {
            layout.LABEL_RUN: self.run_id,
            layout.LABEL_CLAIM: self.claim[:40],
            layout.LABEL_NAME: self.name,
        }
        if self.sweep:
            labels[layout.LABEL_SWEEP] = str(self.sweep.attempt)
        return {**labels, layout.LABEL_SCHEDULE: self.schedule} if self.schedule else labels

    @property
    def content(self) -> dict[str, Any]:
        """What `claim` is the digest of: `config`, `code`, `image`, and `data` by path."""
        return _content(self.config, self.code, self.image, self.data)

    def with_data(self, data: Sequence[DataPin], again: int = 1) -> Plan:
        """The same job on these versions of its data; `again` as in `make_plan`."""
        claim = _digest(_content(self.config, self.code, self.image, data))
        run_id = _run_id(self.name, claim, again)
        return self.model_copy(update={"data": tuple(data), "claim": claim, "run_id": run_id})


def image_uri(place: Place, digest: str) -> str:
    """The name in Artifact Registry of the environment image of that digest."""
    return f"{place.region}-docker.pkg.dev/{place.project}/{place.repository}/trainer:{digest[:20]}"


def make_plan(
    spec: JobSpec,
    place: Place,
    *,
    code: CodePin,
    image: ImagePin,
    data: Sequence[DataPin],
    again: int = 1,
    facts: Catalogue | None = None,
) -> Plan:
    """Compute everything about a run. `again` tells equal runs apart: the second one asked for is 2.

    Raises Unfit where no machine has the GPUs asked for, or Vertex AI would refuse them so.
    """
    facts = facts or catalogue()
    attempts = candidates(spec.resources, place.region, facts)
    first, flex_start = attempts[0], spec.resources.flex_start
    config = spec.model_dump(mode="json", by_alias=True)
    claim = _digest(_content(config, code, image, data))
    return Plan(
        run_id=_run_id(spec.name, claim, again),
        claim=claim,
        name=spec.name,
        entrypoint=spec.entrypoint,
        argv=tuple(spec.argv()),
        env=spec.environment.env,
        secrets=spec.environment.secrets,
        code=code,
        image=image,
        data=tuple(data),
        data_remote=place.dvc_remote,
        machine=MachinePin(
            type=first.type,
            accelerator=first.accelerator,
            accelerator_count=first.accelerator_count,
            nodes=spec.resources.nodes,
            disk_gb=spec.resources.disk_gb,
            spot=spec.resources.spot,
            flex_start_s=int(flex_start.max_wait.total_seconds()) if flex_start else None,
            reservation=spec.resources.reservation,
        ),
        regions=tuple(dict.fromkeys(attempt.region for attempt in attempts)),
        candidates=attempts,
        timeout_s=int(longest(spec.limits, attempts).total_seconds()),
        budget_usd=spec.limits.budget,
        price_date=facts.prices.date,
        tracking=TrackingPin(
            uri=place.tracking_uri,
            experiment=spec.tracking.experiment or spec.name,
            wandb=spec.tracking.wandb,
            register_as=spec.tracking.register_as,
            artifacts=spec.tracking.artifacts,
        ),
        promote=spec.promote.pin() if spec.promote else None,
        project=place.project,
        bucket=place.bucket,
        service_account=place.service_account,
        endpoints=place.endpoints,
        config=config,
    )


def make_sweep_plan(
    spec: JobSpec,
    place: Place,
    *,
    code: CodePin,
    image: ImagePin,
    data: Sequence[DataPin],
    again: int = 1,
    facts: Catalogue | None = None,
) -> Plan:
    """The plan of a sweep's first tuning job: the run that each trial is, and what is varied.

    `timeout_s` is a trial's: a budget is for the whole sweep, each trial has its share. `again` tells equal
    sweeps apart. Raises Unfit.
    """
    run = make_plan(spec, place, code=code, image=image, data=data, facts=facts)
    section = spec.sweep.model_dump(mode="json") if spec.sweep else None
    claim = _digest({"run": run.claim, "sweep": section})
    # not the number alone: by that the tuning jobs of one sweep are told apart, and the names of its trials
    sweep_id = f"{spec.name}-sweep-{claim[:8]}" + (f"-again{again}" if again > 1 else "")
    sweep = pinned(spec.sweep, sweep_id)
    timeout_s = run.timeout_s
    if spec.limits.budget is not None:
        share = spec.limits.model_copy(update={"budget": spec.limits.budget / sweep.trials})
        try:
            timeout_s = int(longest(share, run.candidates).total_seconds())
        except Unfit as error:
            message = f"of a budget for {sweep.trials} trials each has its share: {error.message}"
            raise Unfit(error.key, message, hint=error.hint) from error
    return run.model_copy(update={"run_id": sweep_id, "claim": claim, "sweep": sweep, "timeout_s": timeout_s})


_UNUSED: tuple[tuple[str, object], ...] = (
    *((key, None) for key in ("flex_start", "reservation", "budget")),
    ("artifacts", []),
)
"""Keys that came later: a config without them is the same run as before."""
_OF_OTHERS = ("sweep", "schedule")
"""Sections that say how runs are made, not what one is."""
_LATER_SECTIONS = ("promote",)
"""Sections that came later, likewise: part of the claim only where they are set."""


def _run_id(name: str, claim: str, again: int) -> str:
    return f"{name}-{claim[:8]}" + (f"-{again}" if again > 1 else "")


def _content(
    config: dict[str, Any], code: CodePin, image: ImagePin, data: Sequence[DataPin]
) -> dict[str, Any]:
    environment = {key: value for key, value in config["environment"].items() if key != "wheelhouse"}
    used = {
        section: {key: value for key, value in config[section].items() if (key, value) not in _UNUSED}
        for section in ("resources", "limits", "tracking")
    }
    absent = [section for section in _LATER_SECTIONS if config.get(section) is None]
    kept = {key: value for key, value in config.items() if key not in (*_OF_OTHERS, *absent)}
    return {
        "config": {**kept, **used, "environment": environment},
        "code": code.digest,
        "image": image.digest,
        "data": {pin.path: pin.md5 for pin in data},
    }


def _digest(content: object) -> str:
    return hashlib.sha256(json.dumps(content, sort_keys=True, separators=(",", ":")).encode()).hexdigest()
