"""Following a sweep to its end, a line a trial; its tables, and the exit code that its end deserves."""

from __future__ import annotations

import time
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

from headway_launcher.place import Where
from headway_launcher.render import Screen

if TYPE_CHECKING:
    from headway.cloud.tuning import TuningJob
    from headway.jobs import Sweep, SweepView, TrialView

TRIALS_SHOWN = 20


def follow(sweep: Sweep, where: Where, out: Screen) -> SweepView:
    """Wait for the sweep's end. Ctrl-C leaves it running and says so."""
    from headway.errors import interruptible

    with (
        interruptible(
            f"stopped following {sweep.sweep_id}; the sweep goes on",
            f"look at it: launch sweep status{where.words} {sweep.sweep_id}; "
            f"stop it: launch sweep cancel{where.words} {sweep.sweep_id}",
        ),
        out.progress(f"{sweep.sweep_id}: waiting for its first trial"),
    ):
        return sweep.wait(on_poll=_Told(sweep, out), progress=out)


class _Told:
    """Called at each look at the job: a line for each trial that is over, once."""

    def __init__(self, sweep: Sweep, out: Screen) -> None:
        self._sweep, self._out = sweep, out
        self._known: set[str] = set()
        self._began = time.monotonic()

    def __call__(self, job: TuningJob) -> None:
        from headway.jobs.sweep_view import OVER, explained, trial_views

        trials = trial_views(self._sweep.plan, job)
        over = [trial for trial in trials if trial.state in OVER]
        new = [trial for trial in over if trial.run_id not in self._known]
        for trial in explained(new, self._sweep.services):
            self._known.add(trial.run_id)
            self._out.step(f"trial {trial.trial}", _line(trial, self._sweep.pin.metric))
        minutes, rest = divmod(int(time.monotonic() - self._began), 60)
        running = sum(trial.state == "active" for trial in trials)
        told = f"{len(over)} of {self._sweep.pin.trials} trials are over, {running} run"
        if values := [trial.value for trial in over if trial.value is not None]:
            best = max(values) if self._sweep.pin.goal == "max" else min(values)
            told += f" · best {self._sweep.pin.metric} {best:.4g}"
        self._out.update(f"{self._sweep.sweep_id}  {job.state} · {told} · {minutes}:{rest:02d}")


def _line(trial: TrialView, metric: str) -> str:
    values = " ".join(f"{name}={short(value)}" for name, value in trial.values.items())
    if trial.value is not None:
        return f"{values}  {metric} {trial.value:.6g}"
    return f"{values}  {trial.state}" + (f": {trial.error.splitlines()[0]}" if trial.error else "")


def outcome(view: SweepView, where: Where, out: Screen, *, ended: bool) -> None:
    """Print the sweep; exits with 1 where it has `ended` otherwise than by success."""
    import typer

    from headway.errors import ExitCode

    failed = ended and view.state != "succeeded"
    if out.as_json:
        out.document(view.document())
    else:
        if view.trials:
            out.table(*table(view))
        out.facts(facts(view))
        _advise(view, where, out)
    if failed:
        raise typer.Exit(int(ExitCode.RUN_FAILED))


def _advise(view: SweepView, where: Where, out: Screen) -> None:
    from headway.jobs.sweep_view import label

    if failed := next((trial for trial in view.trials if trial.state == "infeasible"), None):
        named = f"{view.sweep_id} {label(failed)}"
        out.say(f"why a trial failed: launch sweep logs{where.words} {named}")
    if view.ended is None:
        out.say(f"look again: launch sweep status{where.words} {view.sweep_id}")
        return
    if view.state != "succeeded":
        out.say("to go on with the trials that are left: the same launch sweep with --resume")
    if view.best is not None:
        out.say(f"train the best in full: launch sweep best{where.words} --submit {view.sweep_id}")
        out.say(f"a picture of it: launch sweep plot{where.words} {view.sweep_id}")


def table(view: SweepView) -> tuple[tuple[str, ...], list[tuple[str, ...]]]:
    """Header and rows of the trials, the best first, then those without a value; long ones are cut."""
    from headway.jobs.sweep_view import label

    sign = -1.0 if view.goal == "max" else 1.0
    measured = sorted(
        (t for t in view.trials if t.value is not None), key=lambda t: sign * (t.value if t.value else 0.0)
    )
    others = [trial for trial in view.trials if trial.value is None]
    names = list(view.parameters)
    rows = [
        (
            label(trial),
            trial.state,
            *(short(trial.values[name]) if name in trial.values else "" for name in names),
            "" if trial.value is None else f"{trial.value:.6g}",
            "" if trial.seconds is None else f"{trial.seconds:.0f} s",
            (trial.error or "").splitlines()[0] if trial.error else "",
        )
        for trial in (*measured[:TRIALS_SHOWN], *others[:TRIALS_SHOWN])
    ]
    header = ("trial", "state", *names, view.metric, "time", "error")
    if not any(row[-1] for row in rows):
        return header[:-1], [row[:-1] for row in rows]
    return header, rows


def facts(view: SweepView) -> list[tuple[str, str]]:
    """The rows of a sweep's table; what is not known yet is left out."""
    best = view.best
    failed = sum(trial.state == "infeasible" for trial in view.trials)
    told = f"{view.finished} of {view.trials_wanted} ended well" + (f", {failed} failed" if failed else "")
    rows: list[tuple[str, str | None]] = [
        ("sweep", view.sweep_id),
        ("state", view.state),
        ("error", view.error),
        ("trials", told + (f", in {view.attempts} tuning jobs" if view.attempts > 1 else "")),
        (f"best {view.metric}", f"{best.value:.6g} in {best.run_id}" if best else None),
        ("best values", _values(best) if best else None),
        ("duration", duration(view)),
        ("cost", str(view.cost) if view.cost else None),
        ("MLflow", view.tracking_url),
        ("outputs", view.outputs),
        ("machine", f"{view.machine} in {view.region}"),
        ("job", view.job),
    ]
    return [(name, value) for name, value in rows if value is not None]


def row(view: SweepView) -> tuple[str, ...]:
    """A line of the list of sweeps."""
    return (
        view.sweep_id,
        view.state,
        view.created.astimezone().strftime("%Y-%m-%d %H:%M") if view.created else "",
        "?" if view.unreadable else f"{view.finished} of {view.trials_wanted}",
        "?" if view.unreadable else f"{view.metric}:{view.goal}",
        f"{view.best.value:.6g}" if view.best and view.best.value is not None else "",
        f"~${view.cost.spent_usd:,.2f}" if view.cost else "?",
    )


def duration(view: SweepView) -> str | None:
    """From the first tuning job's creation to the last one's end, or to now."""
    if view.created is None:
        return None
    seconds = (view.ended or datetime.now(UTC)) - view.created
    return str(timedelta(seconds=round(seconds.total_seconds())))


def short(value: object) -> str:
    """A value as a table shows it."""
    from headway.spec.parameter import text_of

    return f"{value:.4g}" if isinstance(value, float) else text_of(value)


def _values(trial: TrialView) -> str:
    from headway.jobs.sweep_submission import overrides_of

    return " ".join(overrides_of(trial))
