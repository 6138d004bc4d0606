"""Vertex AI as one API: its rules are put together from one module a resource."""

from __future__ import annotations

from headway_emulator.rest import Rule, Service
from headway_emulator.services import vertex, vertex_models, vertex_operations
from headway_emulator.world import World


def service(world: World) -> Service:
    """The jobs first: their paths are asked for most."""
    jobs = vertex.service(world)
    rules: list[Rule] = [*jobs.rules]
    for module in (vertex_models, vertex_operations):
        rules += module.rules(world)
    fidelity = f"{jobs.fidelity}; the model registry is kept, with its versions, aliases and artifact copies"
    return Service(jobs.name, fidelity, rules)
