"""JobSpec: what config.yaml says, frozen and validated."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import timedelta
from pathlib import PurePosixPath
from typing import Annotated, Any

from pydantic import AfterValidator, BeforeValidator, ConfigDict, Field, WithJsonSchema

from headway.spec.promotion import Promotion
from headway.spec.schedule import Schedule
from headway.spec.section import Duration, Number, Region, Section, Timeout
from headway.spec.sweep import Sweep

Finite = Annotated[float, Field(allow_inf_nan=False)]
"""JSON, in which arguments travel, has no other numbers."""
Scalar = bool | int | Finite | str
ArgValue = Scalar | None | list[Scalar]

Name = Annotated[str, Field(pattern=r"^[a-z]([a-z0-9-]{0,38}[a-z0-9])?$")]
EnvName = Annotated[str, Field(pattern=r"^[A-Za-z_][A-Za-z0-9_]*$")]


RESERVATION = r"^(any|projects/[^/]+/zones/[a-z0-9-]+/reservations/[a-z0-9-]+)$"


def _one_wish(value: object) -> object:
    """`[h100:8, a100-80gb:8]` as one text, `h100:8,a100-80gb:8`; all else as it is."""
    if isinstance(value, list | tuple) and value and all(isinstance(item, str) for item in value):
        return ",".join(value)
    return value


Wish = Annotated[
    str | None,
    BeforeValidator(_one_wish),
    WithJsonSchema(
        {"anyOf": [{"type": "string"}, {"type": "array", "items": {"type": "string"}}, {"type": "null"}]}
    ),
]


def _model_name(text: str) -> str:
    """What MLflow's registry takes (mlflow.utils.validation, 3.17): found out now, not after the training."""
    if not text.strip() or set(text) & set("/:'") or text == "." or text.startswith(".."):
        raise ValueError(f"{text!r} cannot be the name of a model in MLflow; leave out / : and quotes")
    return text


class FlexStart(Section):
    """Wait for GPUs that are cheaper and not taken away."""

    max_wait: Duration = timedelta(days=1)
    """How long to wait for the machines; `0s` for as long as it takes."""


class Resources(Section):
    """The machines that the run gets."""

    gpu: Wish = None
    """GPU and how many of it a node: `a100`, `a100:4`, `tpu-v5e:4`, `none`; several are an ordered wish."""
    machine: str | None = None
    """Machine type by hand, for example `n1-standard-8`; without it the smallest that carries the GPUs."""
    nodes: Annotated[int, Field(ge=1, le=1000), Number] = 1
    """How many machines of this kind train together."""
    spot: bool = False
    """Run on spot capacity: cheaper, and may be taken away."""
    flex_start: FlexStart | None = None
    """Wait for capacity (Dynamic Workload Scheduler): `{max_wait: 6h}`; `{}` waits a day."""
    reservation: Annotated[str | None, Field(pattern=RESERVATION)] = None
    """Reservation to run in: `projects/P/zones/Z/reservations/NAME`, or `any`."""
    regions: tuple[Region, ...] = ()
    """Regions in order of preference; the profile's region where empty."""
    disk_gb: Annotated[int, Field(ge=100, le=64000), Number] = 100
    """Boot disk of each machine, in GB (Vertex AI takes 100 to 64,000)."""


class Environment(Section):
    """What the training code runs in."""

    base: str = "python:3.11-slim"
    """Base image; needs python3 with venv."""
    requirements: str = "requirements.txt"
    """The lockfile: a pip requirements file, relative to config.yaml."""
    wheelhouse: str | None = None
    """Folder of wheels; where given, the image is built from it alone, with no network."""
    env: dict[EnvName, str] = Field(default={})
    """Environment variables of the training process."""
    secrets: dict[EnvName, str] = Field(default={})
    """Environment variables filled from Secret Manager at the start: NAME: secret or secret/version."""


class Tracking(Section):
    """Where the run is recorded."""

    experiment: str | None = None
    """MLflow experiment; the job's name where absent."""
    wandb: bool = False
    """Mirror the run to Weights & Biases (offline where there is no WANDB_API_KEY)."""
    register_as: Annotated[Annotated[str, AfterValidator(_model_name)] | None, Field(alias="register")] = None
    """Registered model that the final model becomes a version of."""
    artifacts: tuple[str, ...] = ()
    """Files of the run's outputs that are stored in MLflow too, below `outputs/`: names or patterns."""

    model_config = ConfigDict(
        frozen=True,
        extra="forbid",
        validate_by_alias=True,
        serialize_by_alias=True,
    )


class Limits(Section):
    """What ends a run that its code does not end."""

    timeout: Timeout = timedelta(days=1)
    """Longest time that the job may run: `90s`, `45m`, `2h`, `1h30m`."""
    budget: Annotated[float, Field(gt=0, allow_inf_nan=False), Number] | None = None
    """Most that the run may cost, in USD by list prices: it shortens the timeout."""


class JobSpec(Section):
    """A training job, as config.yaml describes it."""

    name: Name
    """Lowercase letters, digits and dashes, up to 40; the run's id begins with it."""
    entrypoint: Annotated[str, Field(min_length=1)]
    """A script (`train.py`), or `module:function`; relative to config.yaml."""
    args: dict[str, ArgValue] = Field(default={})
    """Handed over as `--key value`; true gives `--key`, false and null give nothing, a list `--key a b`."""
    resources: Resources = Resources()
    environment: Environment = Environment()
    data: tuple[str, ...] = ()
    """DVC-tracked files or folders, relative to config.yaml; the run records which version it saw."""
    tracking: Tracking = Tracking()
    limits: Limits = Limits()
    promote: Promotion | None = None
    """When the model that was trained takes over; see docs/models.md."""
    sweep: Sweep | None = None
    """What a sweep varies, and how it judges; a plain submit leaves it alone."""
    schedule: Schedule | None = None
    """When it is started again by itself, by `launch schedule create`; no part of a run's content."""

    @property
    def tracked(self) -> tuple[str, ...]:
        """All that DVC must track: the data, and what models are compared on where it is not within that."""
        if self.promote is None:
            return self.data
        within = any(PurePosixPath(self.promote.on).is_relative_to(path) for path in self.data)
        return self.data if within else (*self.data, self.promote.on)

    def argv(self) -> list[str]:
        """The arguments of the entrypoint, in the order of the file."""
        return argv(self.args)


def argv(args: Mapping[str, ArgValue]) -> list[str]:
    """Arguments as the words of a command."""
    words: list[str] = []
    for key, value in args.items():
        if value is None or value is False:
            continue
        words.append(f"--{key}")
        if value is not True:
            words.extend(str(item) for item in (value if isinstance(value, list) else [value]))
    return words


SCHEMA_ID = "urn:headway:config:1"


def json_schema() -> dict[str, Any]:
    """The published JSON Schema of config.yaml (draft 2020-12)."""
    schema = JobSpec.model_json_schema(by_alias=True)
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", "$id": SCHEMA_ID, **schema}
