"""Vertex AI: custom jobs and the operations that their deletion returns."""

from __future__ import annotations

import random
from typing import Any

from headway_emulator import schema
from headway_emulator.engine.clock import timestamp
from headway_emulator.engine.jobs import KIND
from headway_emulator.engine.store import Document
from headway_emulator.errors import not_found
from headway_emulator.listing import Listing
from headway_emulator.rest import Call, Rule, Service
from headway_emulator.services.vertex_rules import check
from headway_emulator.world import World

OPERATION = "vertexOperation"
VERSIONS = ("v1", "v1beta1")
JOBS = Listing(
    KIND, "customJobs", orders=("createTime", "updateTime", "startTime", "endTime", "displayName", "state")
)


def service(world: World) -> Service:
    """Long-running operations are polled below /ui by the Python client and below the version by gcloud."""
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
    for root in (*VERSIONS, "ui"):
        parent = f"/{root}/projects/{{project}}/locations/{{location}}"
        rules += [
            Rule("operations.get", "GET", f"{parent}/operations/{{operation}}", vertex.operation),
            Rule(
                "operations.get", "GET", f"{parent}/{{owner:path}}/operations/{{operation}}", vertex.operation
            ),
        ]
    fidelity = (
        "custom jobs are validated and run for real, with Vertex AI's restarts, quota, Spot preemption and "
        "FLEX_START waits; no networks, web access, tensorboard upload or persistent resources"
    )
    return Service("aiplatform", fidelity, rules)


class Vertex:
    """The methods of JobService for custom jobs."""

    def __init__(self, world: World) -> None:
        self._world = world

    def create(self, call: Call) -> Any:
        parent = self._parent(call)
        body = schema.parse("aiplatform", _version(call), "CustomJob", call.body, "custom_job")
        check(body)
        return self._world.jobs.create(parent, body)

    def get(self, call: Call) -> Any:
        return self._world.jobs.get(self._name(call))

    def list(self, call: Call) -> Any:
        parent = self._parent(call)
        return JOBS.page(self._world.store, f"{parent}/customJobs/", call)

    def cancel(self, call: Call) -> Any:
        self._world.jobs.cancel(self._name(call))
        return {}

    def delete(self, call: Call) -> Any:
        name = self._name(call)
        self._world.jobs.delete(name)
        now = timestamp(self._world.clock.now_ns())
        generic = {"createTime": now, "updateTime": now}
        version = _version(call)
        operation: Document = {
            "name": f"{name}/operations/{random.randint(10**18, 9 * 10**18)}",
            "metadata": {
                "@type": f"type.googleapis.com/google.cloud.aiplatform.{version}.DeleteOperationMetadata",
                "genericMetadata": generic,
            },
            "done": True,
            "response": {"@type": "type.googleapis.com/google.protobuf.Empty"},
        }
        self._world.store.put(OPERATION, operation["name"], operation)
        return operation

    def operation(self, call: Call) -> Any:
        owner = f"/{call.path['owner']}" if "owner" in call.path else ""
        name = f"{self._parent(call)}{owner}/operations/{call.path['operation']}"
        operation = self._world.store.get(OPERATION, name)
        if operation is None:
            raise not_found(name)
        return operation

    def _parent(self, call: Call) -> str:
        return self._world.location(call.path["project"], call.path["location"])

    def _name(self, call: Call) -> str:
        return f"{self._parent(call)}/customJobs/{call.path['job']}"


def _version(call: Call) -> str:
    return "v1beta1" if "/v1beta1/" in call.url else "v1"
