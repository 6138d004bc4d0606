"""Schedule: the `schedule:` section of config.yaml, what starts a job again by itself."""

from __future__ import annotations

from datetime import timedelta
from typing import Annotated, Literal

from pydantic import AfterValidator, Field, model_validator

from headway.spec.cron import check_expression, check_zone
from headway.spec.section import Duration, Number, Section, format_duration

DataPolicy = Literal["latest", "pinned"]
Overlap = Literal["skip", "queue", "replace"]
SHORTEST_AGE = timedelta(minutes=5)


def _address(text: str) -> str:
    """Raises ValueError."""
    if "://" in text and not text.startswith("gs://"):
        raise ValueError(
            f"{text!r} is no address on Cloud Storage; write gs://BUCKET/NAME, or a path in the bucket"
        )
    bucketless = text.startswith("gs://") and text.removeprefix("gs://").startswith("/")
    if bucketless or not text.removeprefix("gs://").strip("/"):
        raise ValueError("it is empty; write gs://BUCKET/NAME, or a path in the bucket")
    return text


def _object(address: str) -> str:
    """Raises ValueError."""
    bucket, _, name = address.removeprefix("gs://").partition("/")
    if address.startswith("gs://") and not name:
        raise ValueError(f"{address!r} names no object; write gs://{bucket}/NAME")
    return address


def _age(value: timedelta) -> timedelta:
    """Raises ValueError for what would train without end: a model is older at the next look."""
    if value < SHORTEST_AGE:
        raise ValueError(
            f"{format_duration(value)} is less than {format_duration(SHORTEST_AGE)}, from look to look; "
            "leave it out where no model is too old"
        )
    return value


Address = Annotated[str, AfterValidator(_address)]


class DataTrigger(Section):
    """Start when there is new data."""

    debounce: Duration = timedelta(minutes=10)
    """Wait until nothing new has come for so long."""
    prefix: Address | None = None
    """Objects below it (gs://BUCKET/PREFIX, or a path in the bucket) count, instead of `launch data push`."""


class DriftTrigger(Section):
    """Start when a report says that the data has drifted."""

    report: Annotated[Address, AfterValidator(_object)]
    """A JSON document: gs://BUCKET/NAME, or a path in the bucket."""
    key: Annotated[str, Field(min_length=1)]
    """The dotted key of a number in it."""
    over: Annotated[float, Field(allow_inf_nan=False), Number]
    """The run starts where the number is larger."""


class Triggers(Section):
    """What starts a run beside the clock; it is looked at every five minutes."""

    data: DataTrigger | None = None
    """New data: `{debounce: 10m}`, or `{prefix: gs://BUCKET/PREFIX}`."""
    drift: DriftTrigger | None = None
    """A report over a threshold: `{report, key, over}`."""


class Schedule(Section):
    """When the job is started again, and when it is not."""

    cron: Annotated[str, AfterValidator(check_expression)] | None = None
    """Minute, hour, day of month, month, day of week: `0 3 * * 1`."""
    tz: Annotated[str, AfterValidator(check_zone)] = "UTC"
    """The time zone whose clock is meant: `Europe/Zurich`."""
    data: DataPolicy = "latest"
    """`latest`: the version that was pushed last when the tick comes; `pinned`: that of the creation."""
    overlap: Overlap = "skip"
    """While the run before still runs, a tick does nothing, waits for its end, or cancels it and runs."""
    always: bool = False
    """Run also where nothing changed since the last successful run."""
    max_age: Annotated[Duration, AfterValidator(_age)] | None = None
    """Run where the last successful run is older, though nothing changed: `30d`."""
    triggers: Triggers = Triggers()

    @model_validator(mode="after")
    def _starts_somehow(self) -> Schedule:
        if self.cron is None and not self.watches:
            raise ValueError("nothing would start it; give cron, max_age or triggers")
        return self

    @property
    def watches(self) -> bool:
        """Whether something beside the clock can start it, which must be looked at."""
        return self.max_age is not None or self.triggers != Triggers()
