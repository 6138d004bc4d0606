"""Headway: PyTorch Lightning code from a laptop to Vertex AI GPU machines, and the very same jobs locally.

    import headway

    run = headway.submit("config.yaml", gpu="a100", local=True)
    run.wait()
    run.metrics()

Public names are loaded on use: `import headway` is cheap, in the container too.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from headway.spec.version import __version__ as __version__

if TYPE_CHECKING:
    from headway.errors import HeadwayError
    from headway.jobs.notebook import attach, attach_sweep, doctor, plan, runs, submit, sweep
    from headway.jobs.planning import Preview
    from headway.jobs.run import Run, RunView
    from headway.jobs.sweep import Sweep
    from headway.jobs.sweep_view import SweepView
    from headway.spec.job import JobSpec
    from headway.spec.plan import Plan

_HOMES = {
    "HeadwayError": "headway.errors",
    "JobSpec": "headway.spec.job",
    "Plan": "headway.spec.plan",
    "Preview": "headway.jobs.planning",
    "Run": "headway.jobs.run",
    "RunView": "headway.jobs.run",
    "Sweep": "headway.jobs.sweep",
    "SweepView": "headway.jobs.sweep_view",
    "attach": "headway.jobs.notebook",
    "attach_sweep": "headway.jobs.notebook",
    "doctor": "headway.jobs.notebook",
    "plan": "headway.jobs.notebook",
    "runs": "headway.jobs.notebook",
    "submit": "headway.jobs.notebook",
    "sweep": "headway.jobs.notebook",
}

__all__ = [
    "HeadwayError",
    "JobSpec",
    "Plan",
    "Preview",
    "Run",
    "RunView",
    "Sweep",
    "SweepView",
    "attach",
    "attach_sweep",
    "doctor",
    "plan",
    "runs",
    "submit",
    "sweep",
]


def __getattr__(name: str) -> Any:
    if name in _HOMES:
        return getattr(import_module(_HOMES[name]), name)
    if name == "lightning":
        return import_module("headway.lightning")
    raise AttributeError(f"module 'headway' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted([*globals(), *__all__, "lightning"])
