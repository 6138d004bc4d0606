"""The data's last version, as `launch data push` noted it and a schedule's tick reads it."""

from __future__ import annotations

from collections.abc import Sequence

from pydantic import ValidationError

from headway.cloud.services import Services
from headway.errors import NotFound
from headway.spec.layout import BucketLayout
from headway.spec.plan import DataPin
from headway.spec.scheduled import DataVersion


def last_version(name: str, services: Services) -> DataVersion | None:
    """What was pushed last for the job of this name; None where nothing was."""
    try:
        found = services.store.read(BucketLayout(services.place.bucket).data_version(name))
        return DataVersion.model_validate_json(found)
    except (NotFound, ValidationError):  # or it is of another version of headway
        return None


def brought_up_to_date(pins: Sequence[DataPin], version: DataVersion | None) -> tuple[DataPin, ...]:
    """The pins, each at the version that was pushed last; one that never was stays as it is."""
    last = {pin.path: pin for pin in version.pins} if version else {}
    return tuple(last.get(pin.path, pin) for pin in pins)
