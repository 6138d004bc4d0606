"""Vertex AI's resources that the emulator has none of, as a client's first questions find them; locations.

Nothing can be created here (that answers 501 by its name), so that an empty list and a 404 are the truth.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from headway_emulator.api.listing import Listing
from headway_emulator.api.regions import REGIONS
from headway_emulator.api.rest import Call, Rule
from headway_emulator.errors import not_found
from headway_emulator.services.vertex.fields import refuse_verb
from headway_emulator.services.vertex.operations import VERSIONS
from headway_emulator.world import World


@dataclass(frozen=True)
class Absent:
    """A collection of which nothing exists: `plural` is its part of the path and its field in a list."""

    plural: str
    page_size: int = 100
    most: int = 1000
    orders: tuple[str, ...] = ()


ABSENT = (
    Absent("pipelineJobs", orders=("createTime", "updateTime", "startTime", "endTime")),
    Absent("schedules", orders=("createTime", "startTime", "endTime", "nextRunTime")),
    Absent("metadataStores"),
    Absent("trainingPipelines"),
    Absent("endpoints", orders=("displayName", "createTime", "updateTime")),
    Absent("persistentResources"),
)


def rules(world: World) -> list[Rule]:
    """Lists and reads of what is not there, and the locations."""
    locations = Locations(world)
    found = []
    for version in VERSIONS:
        parent = f"/{version}/projects/{{project}}/locations"
        for absent in ABSENT:
            answers = Nothing(world, absent)
            path, name = f"{parent}/{{location}}/{absent.plural}", absent.plural
            found += [
                Rule(f"{name}.list", "GET", path, answers.list, f"aiplatform.{name}.list"),
                Rule(f"{name}.get", "GET", f"{path}/{{id}}", answers.get, f"aiplatform.{name}.get"),
            ]
        found += [
            Rule("locations.list", "GET", parent, locations.list, "aiplatform.locations.list"),
            Rule("locations.get", "GET", f"{parent}/{{location}}", locations.get, "aiplatform.locations.get"),
        ]
    return found


class Nothing:
    """One absent collection: its requests are checked as if it had something."""

    def __init__(self, world: World, absent: Absent) -> None:
        self._world = world
        self._plural = absent.plural
        kind = f"absent:{absent.plural}"
        self._listing = Listing(kind, absent.plural, absent.page_size, absent.most, absent.orders)

    def list(self, call: Call) -> Any:
        return self._listing.page(self._world.store, f"{self._parent(call)}/", call)

    def get(self, call: Call) -> Any:
        refuse_verb(call)
        raise not_found(f"{self._parent(call)}/{call.path['id']}")

    def _parent(self, call: Call) -> str:
        return f"{self._world.location(call.path['project'], call.path['location'])}/{self._plural}"


class Locations:
    """The methods of google.cloud.location; every region is served alike."""

    def __init__(self, world: World) -> None:
        self._world = world

    def list(self, call: Call) -> Any:
        self._world.check_project(call.path["project"])
        return {"locations": [self._location(region) for region in REGIONS]}

    def get(self, call: Call) -> Any:
        self._world.check_project(call.path["project"])
        region = call.path["location"]
        if region not in REGIONS:
            raise not_found(f"projects/{call.path['project']}/locations/{region}")
        return self._location(region)

    def _location(self, region: str) -> dict[str, Any]:
        name = f"projects/{self._world.settings.project_number}/locations/{region}"
        return {"name": name, "locationId": region, "labels": {"cloud.googleapis.com/region": region}}
