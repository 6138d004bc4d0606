"""`launch data push`: the data is sent, and its version noted as the last one, for schedules to train on."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from uuid import uuid4

from headway.cloud.services import Services
from headway.config import Loaded
from headway.data import transfer
from headway.data.pins import read_pins
from headway.errors import NotFound
from headway.jobs.versions import last_version
from headway.spec.layout import BucketLayout
from headway.spec.place import Place
from headway.spec.scheduled import DataVersion

_PUSH, _GENERATION, _AGE = "headway-push", "headway-began-generation", "headway-began-age"
_MOST_AT_ONCE = 20


def push_data(loaded: Loaded, place: Place, *, services: Services | None = None) -> DataVersion | None:
    """Send the data that a config names, and note its version as the last one; what is the last one then.

    The version that was sent last is the last one, an older one that is sent again on purpose too. Of two
    pushes at the same time the one that began later wins. Where nothing changed, the note keeps its time.
    None where the config names no data. Raises DataNotReady, RemoteError, MachineError.
    """
    paths = list(loaded.spec.tracked)
    if not paths:
        return None
    services = services or Services(place)
    pins = read_pins(loaded.root, paths)
    name = BucketLayout(place.bucket).data_version(loaded.spec.name)
    began = _now(services, name)
    transfer.push(loaded.root, paths, place)
    known = last_version(loaded.spec.name, services)
    if known is not None and known.pins == pins:
        return known
    version = DataVersion(time=datetime.now(UTC), pins=pins)
    if _note(version, began, name, services):
        return version
    return last_version(loaded.spec.name, services)  # another push began after ours: its version stays


@dataclass(frozen=True, order=True)
class _Moment:
    """When a push began, by the bucket alone: which note was there (0: none), and for how many seconds."""

    generation: int = 0
    age_s: float = 0.0


def _now(services: Services, name: str) -> _Moment:
    try:
        seen = services.store.version(name)
    except NotFound:
        return _Moment()
    return _Moment(seen.generation, seen.age_s)


def _note(version: DataVersion, began: _Moment, name: str, services: Services) -> bool:
    """Whether it is the note now: not where another push began later, and was quicker."""
    document, over = version.model_dump_json(indent=1).encode(), began.generation
    metadata = {_PUSH: uuid4().hex, _GENERATION: str(began.generation), _AGE: repr(began.age_s)}
    for _ in range(_MOST_AT_ONCE):
        if services.store.replace(name, document, generation=over, metadata=metadata):
            return True
        seen = services.store.version(name)
        if seen.metadata.get(_PUSH) == metadata[_PUSH]:
            return True  # ours: the answer was lost, and this was the repeat
        theirs = _Moment(int(seen.metadata.get(_GENERATION, 0)), float(seen.metadata.get(_AGE, 0.0)))
        if theirs >= began:
            return False
        over = seen.generation
    return False
