"""The laptop's verbs: what the command and notebooks call. Each is loaded on use, with what it needs."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from headway.jobs.images import cancel_build
    from headway.jobs.listing import runs, sweeps
    from headway.jobs.planning import Preview, PreviewStep, plan, preview
    from headway.jobs.preparing import check
    from headway.jobs.progress import Progress
    from headway.jobs.pushing import push_data
    from headway.jobs.run import Output, Run, RunView, attach
    from headway.jobs.submission import submit
    from headway.jobs.sweep import Sweep, attach_sweep
    from headway.jobs.sweep_submission import start_sweep, submit_best
    from headway.jobs.sweep_view import SweepView, TrialView
    from headway.jobs.why import Difference, Why, why_anew, why_two

_HOMES = {
    "images": ("cancel_build",),
    "listing": ("runs", "sweeps"),
    "planning": ("Preview", "PreviewStep", "plan", "preview"),
    "preparing": ("check",),
    "progress": ("Progress",),
    "run": ("Output", "Run", "RunView", "attach"),
    "submission": ("submit",),
    "pushing": ("push_data",),
    "sweep": ("Sweep", "attach_sweep"),
    "sweep_submission": ("start_sweep", "submit_best"),
    "sweep_view": ("SweepView", "TrialView"),
    "why": ("Difference", "Why", "why_anew", "why_two"),
}

__all__ = [
    "Difference",
    "Output",
    "Preview",
    "PreviewStep",
    "Progress",
    "Run",
    "RunView",
    "Sweep",
    "SweepView",
    "TrialView",
    "Why",
    "attach",
    "attach_sweep",
    "cancel_build",
    "check",
    "plan",
    "preview",
    "push_data",
    "runs",
    "start_sweep",
    "submit",
    "submit_best",
    "sweeps",
    "why_anew",
    "why_two",
]


def __getattr__(name: str) -> Any:
    for module, names in _HOMES.items():
        if name in names:
            return getattr(import_module(f"{__name__}.{module}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
