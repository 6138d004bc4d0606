"""A run's table and its document, and the exit code that its end deserves."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

from headway_launcher.place import Where
from headway_launcher.render import Screen

if TYPE_CHECKING:
    from headway.jobs import RunView


def outcome(view: RunView, where: Where, out: Screen, *, ended: bool) -> None:
    """Print the run; exits with 1 where it has `ended` otherwise than by success."""
    import typer

    from headway.errors import ExitCode

    failed = ended and view.state != "succeeded"
    if out.as_json:
        out.document(view.document())
    else:
        out.facts(facts(view))
        if failed:
            out.say(f"the whole log: launch logs{where.words} {view.run_id}")
        elif view.ended is None:
            out.say(f"follow it: launch logs -f{where.words} {view.run_id}")
    if failed:
        raise typer.Exit(int(ExitCode.RUN_FAILED))


def facts(view: RunView) -> list[tuple[str, str]]:
    """The rows of a run's table; what is not known yet is left out."""
    metrics = {k: v for k, v in sorted(view.metrics.items()) if not k.startswith("system/")}
    rows: list[tuple[str, str | None]] = [
        ("run", view.run_id),
        ("state", view.state),
        ("error", view.error),
        ("exit code", str(view.exit_code) if view.exit_code else None),
        ("duration", duration(view)),
        ("cost", spent(view)),
        *((name, f"{value:.6g}") for name, value in metrics.items()),
        ("MLflow", view.tracking_url),
        ("checkpoint", view.checkpoints[-1] if view.checkpoints else None),
        ("model", view.model),
        ("registered", view.registered),
        *_promotion(view),
        ("outputs", view.outputs),
        ("machine", f"{view.machine} in {view.region}"),
        ("image", view.image),
        ("job", view.job),
        *(("warning", warning) for warning in view.warnings),
    ]
    return [(name, value) for name, value in rows if value is not None]


def _promotion(view: RunView) -> list[tuple[str, str | None]]:
    """What became of the model among its peers, and each gate."""
    if (told := view.promotion) is None:
        return []
    gates = [
        ("gate", f"{'passed' if gate.passed else 'failed'}  {gate.gate} of {gate.metric}: {gate.text}")
        for gate in told.gates
    ]
    reason = "see the gates" if told.outcome == "refused" else told.reason
    return [("promotion", f"{told.outcome}: {reason}"), *gates, ("comparison", told.table)]


def spent(view: RunView, *, short: bool = False) -> str | None:
    """What the run has cost by its price, an estimate; None where that is not known."""
    if view.cost is None:
        return None
    return f"~${view.cost.spent_usd:,.2f}" if short else str(view.cost)


def duration(view: RunView) -> str | None:
    """From the job's creation to its end, or to now; None before it exists."""
    if view.created is None:
        return None
    seconds = (view.ended or datetime.now(UTC)) - view.created
    return str(timedelta(seconds=round(seconds.total_seconds())))
