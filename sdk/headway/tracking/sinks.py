"""Where tracking events go: a protocol of few methods, and what all sinks share."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, Protocol

from headway.spec.layout import TAG_RUN, TAG_SWEEP, TAG_TRIAL
from headway.spec.plan import Plan
from headway.spec.status import ModelVersion
from headway.tracking.spool import Event


@dataclass(frozen=True)
class Opened:
    """The run in the tracking server: where a person sees it, and its id there."""

    url: str | None
    run_id: str | None


@dataclass(frozen=True)
class Outcome:
    """How training ended, and the final model's file and gs:// address where it left one."""

    state: Literal["finished", "failed", "killed"]
    model: Path | None = None
    model_uri: str | None = None


class Sink(Protocol):
    """A tracking server. Each method may be called again after a RemoteError, and does nothing twice.

    Raises RemoteError where the server does not answer, `Refused` where it will never take what was sent.
    """

    name: str

    def open(self) -> Opened:
        """Find the run of this run id, or make it."""
        ...

    def deliver(self, events: Sequence[Event]) -> None:
        """Record events, in order."""
        ...

    def finish(self, outcome: Outcome) -> ModelVersion | None:
        """Record the end and the model; its version where it was registered."""
        ...


def parameters(plan: Plan) -> dict[str, str]:
    """A plan's parameters: the entrypoint's arguments by their names, the rest of the config dotted."""
    rest = {key: value for key, value in plan.config.items() if key not in ("args", "name", "sweep")}
    return flat(rest) | flat(plan.config.get("args", {}))


def tags(plan: Plan, environment: Mapping[str, str]) -> dict[str, str]:
    """What identifies a run: digests of code, image and data, the platform's job, and the way back."""
    sweep = plan.sweep
    return {
        TAG_RUN: plan.run_id,
        "headway.name": plan.name,
        "headway.claim": plan.claim,
        "headway.job_id": environment.get("CLOUD_ML_JOB_ID", ""),
        "headway.code": plan.code.digest,
        "headway.image": plan.image.digest,
        "headway.image_uri": plan.image.uri,
        "headway.machine": plan.machine.type,
        "headway.outputs": plan.base_output_uri,
        **{f"headway.data.{pin.path}": pin.md5 for pin in plan.data},
        **({TAG_SWEEP: sweep.id} if sweep else {}),
        **({TAG_TRIAL: sweep.trial} if sweep and sweep.trial else {}),
    }


def flat(values: Mapping[str, Any], prefix: str = "") -> dict[str, str]:
    """Nested mappings as dotted keys, values as text; what is empty is left out."""
    result: dict[str, str] = {}
    for key, value in values.items():
        if isinstance(value, Mapping):
            result |= flat(value, f"{prefix}{key}.")
        elif value is not None and value != () and value != []:
            result[f"{prefix}{key}"] = str(value)
    return result
