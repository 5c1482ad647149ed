"""Plots of a model's errors, its interval coverage and the reliability of its probabilities."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from halnet.ages import LEGAL_AGE, LEVEL
from halnet.evaluation.figures import LIGHT, Theme, figure
from halnet.evaluation.metrics import Evaluation, Reliability, evaluate
from halnet.evaluation.predictions import Predictions

Z = 1.96  # half the width of a 95 % interval, in standard deviations
MAX_AGE = 90  # years: upper end of the axes
INTERVAL = f"the {100 * LEVEL:.0f} % interval"


def plot_evaluation(predictions: Predictions, path: Path, theme: Theme = LIGHT) -> None:
    """Draw predicted against true ages, errors and coverage by decade, and the reliability at 18.

    Bars and points have 95 % intervals. Those of shares are Wilson's [Wilson, JASA 1927]. The
    suffix of `path` decides the kind of file: PNG, SVG or PDF. Raises ConfigError for another
    suffix, RuntimeUnavailableError if matplotlib is not installed.
    """
    evaluation = evaluate(predictions)
    with figure(path, (10.5, 8), theme) as (scatter, error, coverage, reliability):
        _draw_ages(scatter, predictions, theme)
        _draw_errors(error, evaluation, predictions, theme)
        _draw_coverage(coverage, evaluation, theme)
        _draw_reliability(reliability, evaluation.reliability, theme)


def _draw_ages(axes: Any, predictions: Predictions, theme: Theme) -> None:
    """Draw predicted against true ages, one mark for each photo."""
    inside = predictions.inside
    ends = [0, MAX_AGE]
    axes.plot(ends, ends, color=theme.gray, linewidth=1, label="predicted age = true age")
    for chosen, colour, marker, label in (
        (inside, theme.blue, "o", f"true age inside {INTERVAL}"),
        (~inside, theme.orange, "x", f"true age outside {INTERVAL}"),
    ):
        x, y = predictions.label[chosen], predictions.age[chosen]
        axes.scatter(x, y, s=12, c=colour, marker=marker, alpha=0.6, label=label)
    axes.legend(frameon=False, fontsize=8, loc="upper left")
    axes.set(xlabel="True age, years", ylabel="Predicted age, years", xlim=ends, ylim=ends)
    axes.set_title(f"Predicted and true ages of {len(predictions)} photos")


def _draw_errors(axes: Any, evaluation: Evaluation, predictions: Predictions, theme: Theme) -> None:
    """Draw MAE and bias of each decade, side by side."""
    decade = predictions.label.astype(int) // 10
    errors = [predictions.error[decade == d] for d in np.unique(decade)]
    for offset, colour, label, groups in (
        (-0.2, theme.blue, "MAE", [np.abs(group) for group in errors]),
        (0.2, theme.orange, "bias (above 0: predicted too old)", errors),
    ):
        positions = np.arange(len(groups)) + offset
        means = [group.mean() for group in groups]
        reach = [Z * group.std() / np.sqrt(len(group)) for group in groups]
        axes.bar(positions, means, width=0.38, color=colour, label=label)
        axes.errorbar(
            positions, means, reach, fmt="none", ecolor=theme.ink, elinewidth=1, capsize=2
        )
    axes.axhline(evaluation.overall.mae, color=theme.gray, linestyle="--", linewidth=1)
    axes.axhline(0, color=theme.ink, linewidth=0.8)
    low, high = evaluation.mae_interval
    axes.set_title(
        f"MAE of all photos (dashed line): {evaluation.overall.mae:.2f} years,\n"
        f"95 % interval {low:.2f} to {high:.2f}"
    )
    axes.set(ylabel="Years")
    axes.legend(frameon=False, fontsize=8, loc="lower left")
    _name_decades(axes, evaluation)


def _draw_coverage(axes: Any, evaluation: Evaluation, theme: Theme) -> None:
    """Draw the interval coverage of each decade."""
    parts = list(evaluation.by_decade.values())
    shares = [part.coverage for part in parts]
    positions = np.arange(len(parts))
    axes.bar(positions, [100 * share for share in shares], color=theme.blue)
    _draw_intervals(axes, positions, shares, [part.count for part in parts], theme.ink)
    axes.axhline(100 * LEVEL, color=theme.orange, linestyle="--", linewidth=1.2)
    axes.set_title(
        f"True ages inside {INTERVAL}: {100 * evaluation.overall.coverage:.1f} % "
        f"(dashed line: {100 * LEVEL:.0f} %)\n"
        f"Mean interval width: {evaluation.overall.width:.1f} years"
    )
    axes.set(ylabel=f"True ages inside {INTERVAL}, %", ylim=(0, 104))
    _name_decades(axes, evaluation)


def _name_decades(axes: Any, evaluation: Evaluation) -> None:
    names = [f"{name}\nn={part.count}" for name, part in evaluation.by_decade.items()]
    axes.set_xticks(np.arange(len(names)), names, fontsize=7.5)
    axes.set(xlabel="True age, years; n: number of photos")


def _draw_reliability(axes: Any, bins: Sequence[Reliability], theme: Theme) -> None:
    """Draw observed shares of adults against the predicted probabilities of being an adult."""
    predicted = np.array([100 * part.predicted for part in bins])
    observed = [part.observed for part in bins]
    counts = [part.count for part in bins]
    axes.plot([0, 100], [0, 100], color=theme.gray, linewidth=1, label="perfectly calibrated")
    _draw_intervals(axes, predicted, observed, counts, theme.blue)
    axes.scatter(predicted, [100 * share for share in observed], color=theme.blue, zorder=3)
    for x, share, count in zip(predicted, observed, counts, strict=True):
        axes.annotate(
            f"n={count}",
            (x, 100 * share),
            xytext=(5, -9),
            textcoords="offset points",
            fontsize=7,
        )
    axes.legend(frameon=False, fontsize=8, loc="upper left")
    axes.set(xlabel=f"Predicted probability of being {LEGAL_AGE} or older, %", xlim=(-3, 110))
    axes.set(ylabel=f"Observed share of people aged {LEGAL_AGE} or older, %", ylim=(-5, 105))
    axes.set_title(f"Reliability of the probability of being {LEGAL_AGE} or older")


def _draw_intervals(
    axes: Any, positions: Any, shares: Sequence[float], counts: Sequence[int], colour: str
) -> None:
    """Draw the 95 % intervals of shares (0 to 1) on an axis in per cent."""
    share, count = np.array(shares), np.array(counts)
    centre = (share + Z**2 / (2 * count)) / (1 + Z**2 / count)
    reach = Z * np.sqrt(share * (1 - share) / count + (Z / (2 * count)) ** 2)
    reach /= 1 + Z**2 / count
    low, high = 100 * (centre - reach), 100 * (centre + reach)
    axes.vlines(positions, low, high, color=colour, linewidth=1.2)
