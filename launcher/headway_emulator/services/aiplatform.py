"""Vertex AI as one API: its rules are put together from one module a resource."""

from __future__ import annotations

from headway_emulator.rest import Rule, Service
from headway_emulator.services import (
    vertex,
    vertex_models,
    vertex_operations,
    vertex_pipelines,
    vertex_tensorboards,
    vertex_tuning,
)
from headway_emulator.world import World


def service(world: World) -> Service:
    """The jobs first: their paths are asked for most."""
    jobs = vertex.service(world)
    rules: list[Rule] = [*jobs.rules]
    for module in (vertex_tuning, vertex_models, vertex_tensorboards, vertex_pipelines, vertex_operations):
        rules += module.rules(world)
    fidelity = (
        f"{jobs.fidelity}; tuning jobs with real trials, whose algorithm is not Vizier's; models with "
        "versions, aliases and artifact copies; TensorBoards with what is written to them; pipelines, "
        "schedules, metadata stores and endpoints are none, and cannot be made"
    )
    return Service(jobs.name, fidelity, rules)
