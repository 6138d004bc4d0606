"""Vertex AI: custom jobs."""

from __future__ import annotations

from typing import Any

from headway_emulator import schema
from headway_emulator.api.listing import Listing
from headway_emulator.api.rest import Call, Rule, Service
from headway_emulator.engine.jobs.custom_jobs import KIND
from headway_emulator.services.vertex import tensorboards as vertex_tensorboards
from headway_emulator.services.vertex.filters import read
from headway_emulator.services.vertex.operations import VERSIONS, Operations, version_of
from headway_emulator.services.vertex.rules import check
from headway_emulator.world import World

JOBS = Listing(KIND, "customJobs", reads=read)


def service(world: World) -> Service:
    """The same for both versions of the API."""
    vertex = Vertex(world)
    rules = []
    for version in VERSIONS:
        jobs = f"/{version}/projects/{{project}}/locations/{{location}}/customJobs"
        methods = [
            ("create", "POST", jobs, vertex.create),
            ("list", "GET", jobs, vertex.list),
            ("cancel", "POST", f"{jobs}/{{job}}:cancel", vertex.cancel),
            ("get", "GET", f"{jobs}/{{job}}", vertex.get),
            ("delete", "DELETE", f"{jobs}/{{job}}", vertex.delete),
        ]
        for name, verb, path, answer in methods:
            rules.append(Rule(f"customJobs.{name}", verb, path, answer, f"aiplatform.customJobs.{name}"))
    fidelity = (
        "custom jobs are validated and run for real, with Vertex AI's restarts, quota, Spot preemption and "
        "FLEX_START waits; no networks, web access, tensorboard upload or persistent resources"
    )
    return Service("aiplatform", fidelity, rules)


class Vertex:
    """The methods of JobService for custom jobs."""

    def __init__(self, world: World) -> None:
        self._world = world
        self._operations = Operations(world)

    def create(self, call: Call) -> Any:
        parent = self._parent(call)
        body = schema.parse("aiplatform", version_of(call), "CustomJob", call.body, "custom_job")
        check(body)
        vertex_tensorboards.require(self._world, body["jobSpec"])
        return self._world.jobs.create(parent, body)

    def get(self, call: Call) -> Any:
        return self._world.jobs.get(self._name(call))

    def list(self, call: Call) -> Any:
        parent = self._parent(call)
        return JOBS.page(self._world.store, f"{parent}/customJobs/", call)

    def cancel(self, call: Call) -> Any:
        schema.parse("aiplatform", version_of(call), "CancelCustomJobRequest", call.body, "")
        self._world.jobs.cancel(self._name(call))
        return {}

    def delete(self, call: Call) -> Any:
        name = self._name(call)
        self._world.jobs.delete(name)
        return self._operations.deleted(name, version_of(call))

    def _parent(self, call: Call) -> str:
        return self._world.location(call.path["project"], call.path["location"])

    def _name(self, call: Call) -> str:
        return f"{self._parent(call)}/customJobs/{call.path['job']}"
