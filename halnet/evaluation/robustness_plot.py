"""The plot of a model's robustness: one small plot for each degradation of crops."""

from collections.abc import Sequence
from itertools import groupby
from pathlib import Path
from typing import Any

import numpy as np

from halnet.ages import LEVEL
from halnet.evaluation.figures import LIGHT, Theme, figure
from halnet.evaluation.rates import TOO_FEW
from halnet.evaluation.robustness import UNCHANGED, Effect

COLUMNS = 5  # number of plots in a row
SHAPE = (3.0, 2.7)  # inches: width and height of a plot
ABBREVIATIONS = ("jpeg",)


def plot_robustness(
    effects: Sequence[Effect], path: Path, theme: Theme = LIGHT, error: str = "MAE"
) -> None:
    """Draw errors, age shifts and interval coverage under each degradation at each strength.

    `effects` begin with the one without a degradation, and `error` is what their error is. The
    plots share their axes, so that heights can be compared. Raises what `figure` raises.
    """
    unchanged = next(e for e in effects if (e.degradation, e.strength) == UNCHANGED)
    others = [effect for effect in effects if effect is not unchanged]
    groups = [[unchanged, *part] for _, part in groupby(others, lambda e: e.degradation)]
    rows = -(-len(groups) // COLUMNS)
    top = 1.1 * max(max(effect.error, effect.shift_p95) for effect in effects)
    size = (SHAPE[0] * COLUMNS, SHAPE[1] * rows)
    with figure(path, size, theme, rows, COLUMNS) as axes:
        for plot, group in zip(axes, groups, strict=False):
            _draw_degradation(plot, group, theme, error)
            plot.set_ylim(0, top)
        for plot in axes[len(groups) :]:
            plot.set_axis_off()
        for plot in axes[::COLUMNS]:
            plot.set_ylabel("Years")
        axes[0].legend(frameon=False, fontsize=7.5, loc="upper left")


def _draw_degradation(axes: Any, effects: Sequence[Effect], theme: Theme, error: str) -> None:
    """Draw the effects of one degradation, from none to the strongest one."""
    positions = np.arange(len(effects))
    for colour, marker, label, values in (
        (theme.blue, "o", error, [effect.error for effect in effects]),
        (theme.orange, "s", "age shift, 95th percentile", [e.shift_p95 for e in effects]),
        (theme.gray, "^", "age shift, mean", [effect.shift_mean for effect in effects]),
    ):
        axes.plot(positions, values, color=colour, marker=marker, markersize=4, label=label)
    names = [f"{effect.strength}\n{_coverage(effect)}" for effect in effects]
    axes.set_xticks(positions, names, fontsize=8)
    axes.set_xlabel(f"Strength, and true ages inside the {100 * LEVEL:.0f} % interval", fontsize=8)
    name = effects[-1].degradation.replace("-", " ")
    axes.set_title(name.upper() if name in ABBREVIATIONS else name.capitalize())


def _coverage(effect: Effect) -> str:
    share = effect.coverage.stated
    return TOO_FEW if share is None else f"{100 * share:.0f} %"
