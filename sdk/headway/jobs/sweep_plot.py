"""A sweep as a picture: the best so far, and the objective against each parameter."""

from __future__ import annotations

import io
import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from headway.errors import InputError
from headway.jobs.sweep_view import SweepView, TrialView
from headway.spec.parameter import Parameter, is_number, text_of

_COLUMNS = 3
_PANEL_INCHES = (4.0, 3.1)
_DPI = 120
_TICKS = 8
_BEST, _DOT, _LINE, _FAILED = "#d1495b", "viridis", "#30638e", "#8d99ae"


@dataclass(frozen=True)
class Plot:
    """A drawn figure (matplotlib's); a notebook shows it as it is."""

    figure: Any

    def _repr_png_(self) -> bytes:
        return self.png()

    def png(self) -> bytes:
        file = io.BytesIO()
        self.figure.savefig(file, format="png", dpi=_DPI)
        return file.getvalue()

    def save(self, path: Path) -> None:
        """Write it as a PNG. Raises InputError where that cannot be written."""
        try:
            path.write_bytes(self.png())
        except OSError as error:
            raise InputError(
                f"{path} cannot be written: {error.strerror}", hint="name another file"
            ) from error


def draw(view: SweepView, parameters: Sequence[Parameter]) -> Plot:
    """Panels: first the objective by trial, then by each parameter; the color is the trial's turn."""
    from matplotlib.figure import Figure

    panels = len(parameters) + 1
    columns = min(_COLUMNS, panels)
    rows = math.ceil(panels / columns)
    width, height = _PANEL_INCHES
    figure = Figure(figsize=(width * columns, height * rows + 0.5), layout="constrained")
    axes = figure.subplots(rows, columns, squeeze=False).flatten()
    measured = [(turn, trial) for turn, trial in enumerate(view.trials, 1) if trial.value is not None]
    _by_turn(axes[0], view, measured)
    for axis, parameter in zip(axes[1:], parameters, strict=False):
        _by_value(axis, view, parameter, measured)
    for axis in axes[panels:]:
        axis.set_visible(False)
    figure.suptitle(_title(view), fontsize=11)
    return Plot(figure)


def _title(view: SweepView) -> str:
    told = f"{view.sweep_id}: {len(view.trials)} of {view.trials_wanted} trials, {view.state}"
    if view.best is None or view.best.value is None:
        return told
    return f"{told}, best {view.metric} {view.best.value:.4g}"


def _by_turn(axis: Any, view: SweepView, measured: Sequence[tuple[int, TrialView]]) -> None:
    turns = [turn for turn, _ in measured]
    values = [trial.value or 0.0 for _, trial in measured]
    _dots(axis, turns, view, measured)
    best = min if view.goal == "min" else max
    reached = [best(values[: n + 1]) for n in range(len(values))]
    if reached:
        axis.step(turns, reached, where="post", color=_LINE, linewidth=1.5, label="best so far", zorder=1)
        axis.legend(fontsize=8, frameon=False)
    failed = [turn for turn, trial in enumerate(view.trials, 1) if trial.state == "infeasible"]
    for turn in failed:
        axis.axvline(turn, color=_FAILED, linestyle=":", linewidth=1)
    axis.xaxis.get_major_locator().set_params(integer=True)
    axis.set_xlabel("trial" + (f" (dotted: {len(failed)} failed)" if failed else ""))
    axis.set_ylabel(view.metric)
    axis.grid(alpha=0.25)
    if not measured:
        axis.text(0.5, 0.5, "no trial is measured yet", ha="center", va="center", transform=axis.transAxes)


def _by_value(
    axis: Any, view: SweepView, parameter: Parameter, measured: Sequence[tuple[int, TrialView]]
) -> None:
    """Trials that were given the parameter; named values stand side by side."""
    given = [(turn, trial) for turn, trial in measured if parameter.name in trial.values]
    values = [trial.values[parameter.name] for _, trial in given]
    numeric = parameter.kind != "categorical"
    names = [text_of(value) for value in parameter.values]
    places = [
        float(value) if numeric and is_number(value) else float(names.index(text_of(value)))
        for value in values
    ]
    _dots(axis, places, view, given)
    if not numeric:
        axis.set_xticks(range(len(names)), names, rotation=30 if len("".join(names)) > 30 else 0)
        axis.set_xlim(-0.5, len(names) - 0.5)
    elif parameter.scale == "log" or _spreads(parameter):
        axis.set_xscale("log", **({"base": 2} if parameter.kind == "discrete" else {}))
        if parameter.kind == "discrete":
            axis.set_xticks([value for value in parameter.values if is_number(value)], names)
            axis.minorticks_off()
    elif parameter.kind == "integer":
        axis.xaxis.get_major_locator().set_params(integer=True)
    elif parameter.kind == "discrete" and len(names) <= _TICKS:
        axis.set_xticks([value for value in parameter.values if is_number(value)], names)
    axis.set_xlabel(parameter.name)
    axis.set_ylabel(view.metric)
    axis.grid(alpha=0.25)


def _spreads(parameter: Parameter) -> bool:
    """Listed numbers such as 64, 128, 256 crowd at the left of a linear axis."""
    numbers = [value for value in parameter.values if is_number(value)]
    return parameter.kind == "discrete" and min(numbers) > 0 and max(numbers) / min(numbers) >= 4


def _dots(
    axis: Any, places: Sequence[float], view: SweepView, trials: Sequence[tuple[int, TrialView]]
) -> None:
    values = [trial.value for _, trial in trials]
    turns = [turn for turn, _ in trials]
    axis.scatter(
        places,
        values,
        c=turns,
        cmap=_DOT,
        vmin=1,
        vmax=max(2, len(view.trials)),
        s=26,
        edgecolors="white",
        linewidths=0.5,
        zorder=2,
    )
    best = view.best
    for place, (_, trial) in zip(places, trials, strict=True):
        if best is not None and trial.run_id == best.run_id:
            axis.scatter([place], [trial.value], marker="*", s=170, color=_BEST, edgecolors="white", zorder=3)
