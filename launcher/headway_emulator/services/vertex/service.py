"""Vertex AI as one API: its rules are put together from one module a resource."""

from __future__ import annotations

from headway_emulator.api.rest import Rule, Service
from headway_emulator.services.vertex import custom_jobs as vertex
from headway_emulator.services.vertex import models as vertex_models
from headway_emulator.services.vertex import operations as vertex_operations
from headway_emulator.services.vertex import pipelines as vertex_pipelines
from headway_emulator.services.vertex import tensorboards as vertex_tensorboards
from headway_emulator.services.vertex import tuning as vertex_tuning
from headway_emulator.world import World


def service(world: World) -> Service:
    """The jobs first: their paths are asked for most."""
    jobs = vertex.service(world)
    rules: list[Rule] = [*jobs.rules]
    for module in (vertex_tuning, vertex_models, vertex_tensorboards, vertex_pipelines, vertex_operations):
        rules += module.rules(world)
    fidelity = (
        f"{jobs.fidelity}; tuning jobs with real trials, suggested by Optuna in Vizier's place; models with "
        "versions, aliases and artifact copies; TensorBoards with what is written to them; pipelines, "
        "schedules, metadata stores and endpoints are none, and cannot be made"
    )
    return Service(jobs.name, fidelity, rules)
