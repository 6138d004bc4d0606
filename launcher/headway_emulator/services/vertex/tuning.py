"""Vertex AI: hyperparameter tuning jobs."""

from __future__ import annotations

from typing import Any

from headway_emulator import schema
from headway_emulator.api.listing import Listing, masked
from headway_emulator.api.rest import Call, Rule
from headway_emulator.engine.tuning.tuning import KIND
from headway_emulator.services.vertex import tensorboards as vertex_tensorboards
from headway_emulator.services.vertex.filters import read
from headway_emulator.services.vertex.operations import VERSIONS, Operations, version_of
from headway_emulator.services.vertex.study_rules import check
from headway_emulator.world import World

PLURAL = "hyperparameterTuningJobs"
LISTING = Listing(KIND, PLURAL, reads=read)


def rules(world: World) -> list[Rule]:
    """The same for both versions of the API."""
    jobs = TuningJobs(world)
    found = []
    for version in VERSIONS:
        parent = f"/{version}/projects/{{project}}/locations/{{location}}/{PLURAL}"
        methods = [
            ("create", "POST", parent, jobs.create),
            ("list", "GET", parent, jobs.list),
            ("cancel", "POST", f"{parent}/{{job}}:cancel", jobs.cancel),
            ("get", "GET", f"{parent}/{{job}}", jobs.get),
            ("delete", "DELETE", f"{parent}/{{job}}", jobs.delete),
        ]
        for name, verb, path, answer in methods:
            found.append(Rule(f"{PLURAL}.{name}", verb, path, answer, f"aiplatform.{PLURAL}.{name}"))
    return found


class TuningJobs:
    """The methods of JobService for tuning jobs."""

    def __init__(self, world: World) -> None:
        self._world = world
        self._operations = Operations(world)

    def create(self, call: Call) -> Any:
        parent = self._parent(call)
        message, field = "HyperparameterTuningJob", "hyperparameter_tuning_job"
        body = schema.parse("aiplatform", version_of(call), message, call.body, field)
        check(body)
        vertex_tensorboards.require(self._world, body["trialJobSpec"])
        return self._world.tuning.create(parent, body)

    def list(self, call: Call) -> Any:
        """Each with its trials, unless the mask leaves them out."""
        page = LISTING.page(self._world.store, f"{self._parent(call)}/{PLURAL}/", self._whole(call))
        mask = call.query.get("readMask", "")
        found = [masked(self._world.tuning.shown(job), mask) for job in page.get(PLURAL, [])]
        return page | ({PLURAL: found} if found else {})

    def get(self, call: Call) -> Any:
        return self._world.tuning.get(self._name(call))

    def cancel(self, call: Call) -> Any:
        request = "CancelHyperparameterTuningJobRequest"
        schema.parse("aiplatform", version_of(call), request, call.body, "")
        self._world.tuning.cancel(self._name(call))
        return {}

    def delete(self, call: Call) -> Any:
        name = self._name(call)
        self._world.tuning.delete(name)
        return self._operations.deleted(name, version_of(call))

    def _whole(self, call: Call) -> Call:
        """The same request without its mask: the name is needed to find the trials."""
        query = {key: value for key, value in call.query.items() if key != "readMask"}
        return Call(call.path, query, call.body, call.url, call.headers)

    def _parent(self, call: Call) -> str:
        return self._world.location(call.path["project"], call.path["location"])

    def _name(self, call: Call) -> str:
        return f"{self._parent(call)}/{PLURAL}/{call.path['job']}"
