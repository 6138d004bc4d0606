"""The laptop's verbs: what the command and notebooks call."""

from headway.jobs.images import cancel_build
from headway.jobs.listing import runs
from headway.jobs.planning import Preview, PreviewStep, check, plan, preview
from headway.jobs.progress import Progress
from headway.jobs.run import Output, Run, RunView, attach
from headway.jobs.submission import submit
from headway.jobs.why import Difference, Why, why_anew, why_two

__all__ = [
    "Difference",
    "Output",
    "Preview",
    "PreviewStep",
    "Progress",
    "Run",
    "RunView",
    "Why",
    "attach",
    "cancel_build",
    "check",
    "plan",
    "preview",
    "runs",
    "submit",
    "why_anew",
    "why_two",
]
