"""`launch data push`: the data is sent, and its version noted as the last one, for schedules to train on."""

from __future__ import annotations

from datetime import UTC, datetime

from headway.cloud.services import Services
from headway.config import Loaded
from headway.data import transfer
from headway.data.pins import read_pins
from headway.errors import NotFound
from headway.jobs.versions import last_version
from headway.spec.layout import BucketLayout
from headway.spec.place import Place
from headway.spec.scheduled import DataVersion


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
    before = _generation(services, name)
    transfer.push(loaded.root, paths, place)
    known = last_version(loaded.spec.name, services)
    if known is not None and known.pins == pins:
        return known
    version = DataVersion(time=datetime.now(UTC), pins=pins)
    document = version.model_dump_json(indent=1).encode()
    if services.store.replace(name, document, generation=before, metadata={}):
        return version
    return last_version(loaded.spec.name, services)  # another push began after ours: its version stays


def _generation(services: Services, name: str) -> int:
    try:
        return services.store.version(name).generation
    except NotFound:
        return 0
