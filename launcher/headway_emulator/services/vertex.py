"""Vertex AI: custom jobs and the operations that their deletion returns."""

from __future__ import annotations

import random
from typing import Any

from headway_emulator import filters, schema
from headway_emulator.engine.clock import timestamp
from headway_emulator.engine.store import Document
from headway_emulator.errors import invalid, not_found
from headway_emulator.rest import Call, Rule, Service
from headway_emulator.services.vertex_rules import check
from headway_emulator.world import World

OPERATION = "vertexOperation"
PAGE_SIZE = 100
VERSIONS = ("v1", "v1beta1")


def service(world: World) -> Service:
    """Long-running operations are polled below /ui by the Python client and below the version by gcloud."""
    vertex = Vertex(world)
    rules = []
    for version in VERSIONS:
        jobs = f"/{version}/projects/{{project}}/locations/{{location}}/customJobs"
        rules += [
            Rule("customJobs.create", "POST", jobs, vertex.create),
            Rule("customJobs.list", "GET", jobs, vertex.list),
            Rule("customJobs.cancel", "POST", f"{jobs}/{{job}}:cancel", vertex.cancel),
            Rule("customJobs.get", "GET", f"{jobs}/{{job}}", vertex.get),
            Rule("customJobs.delete", "DELETE", f"{jobs}/{{job}}", vertex.delete),
        ]
    for root in (*VERSIONS, "ui"):
        parent = f"/{root}/projects/{{project}}/locations/{{location}}"
        rules += [
            Rule("operations.get", "GET", f"{parent}/operations/{{operation}}", vertex.operation),
            Rule(
                "operations.get", "GET", f"{parent}/{{owner:path}}/operations/{{operation}}", vertex.operation
            ),
        ]
    fidelity = (
        "custom jobs are validated and run for real, without GPUs; no restarts, quotas, Spot preemption, "
        "network, web access, tensorboard upload or persistent resources"
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
        """Newest first; a page token is the number of jobs already given."""
        wanted = filters.parse(call.query.get("filter", ""))
        jobs = [
            job
            for job in self._world.jobs.list(self._parent(call))
            if all(comparison.holds(job) for comparison in wanted)
        ]
        size = call.page_size(PAGE_SIZE, most=1000)
        token = call.query.get("pageToken", "") or "0"
        if not token.isdecimal():
            raise invalid("Invalid page token.")
        start = int(token)
        page: Document = {}
        if chosen := jobs[start : start + size]:
            page["customJobs"] = [_masked(job, call.query.get("readMask", "")) for job in chosen]
        if len(jobs) > start + size:
            page["nextPageToken"] = str(start + size)
        return page

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


def _masked(job: Document, mask: str) -> Document:
    if not mask or mask == "*":
        return job
    names = {schema.camel(part.split(".")[0]) for part in mask.split(",")}
    return {name: value for name, value in job.items() if name in names}
