"""`launch plan`: everything a submit would do, and why, with no side effect."""

from __future__ import annotations

from typing import TYPE_CHECKING

from headway_launcher import options
from headway_launcher.place import config_and_overrides
from headway_launcher.render import Screen, screen

if TYPE_CHECKING:
    from headway.jobs import Preview


def plan(
    words: options.Words = None,
    profile: options.Profile = None,
    local: options.Local = False,
    gpu: options.Gpu = None,
    spot: options.Spot = None,
    nodes: options.Nodes = None,
    machine: options.Machine = None,
    region: options.Region = None,
    timeout: options.Timeout = None,
    budget: options.Budget = None,
    as_json: options.Json = False,
) -> None:
    """Print what a submit would do, and why. Nothing is changed and nothing is started."""
    from headway.config.profile import default_state
    from headway.jobs import preview

    config, overrides = config_and_overrides(words)
    given = options.flags(
        gpu=gpu, spot=spot, nodes=nodes, machine=machine, region=region, timeout=timeout, budget=budget
    )
    seen = preview(
        config, overrides=overrides, flags=given, local=local, profile=profile, state=default_state()
    )
    show(seen, screen(as_json=as_json))


def show(seen: Preview, out: Screen) -> None:
    """Print what a submit, or the start of a sweep, would do."""
    from headway.jobs import outlook

    if out.as_json:
        out.document(seen.document())
        return
    out.facts([("sweep" if seen.plan.sweep else "run", seen.plan.run_id)])
    out.table(("step", "action", "what", "why"), [(s.what, s.action, s.detail, s.why) for s in seen.steps])
    out.table(("attempt", "gpu", "machine", "region", "USD an hour"), outlook.attempts(seen.plan))
    out.facts(seen.rows())
