"""Plots of a model's errors, interval coverage and reliability."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from halnet.ages import LEGAL_AGE, LEVEL
from halnet.evaluation.figures import LIGHT, Theme, figure
from halnet.evaluation.metrics import Evaluation, Reliability, evaluate
from halnet.evaluation.predictions import Predictions

Z = 1.96  # of the 95 % interval
MAX_AGE = 90  # years: the axes end here


def plot_evaluation(predictions: Predictions, path: Path, theme: Theme = LIGHT) -> None:
    """Draw predicted against true age, error and coverage by decade, and the reliability at 18.

    Bars and points come with their 95 % intervals: of the mean for MAE and bias, Wilson's for
    shares [Wilson, JASA 1927].
    """
    evaluation = evaluate(predictions)
    parts = list(evaluation.by_decade.values())
    decade = predictions.label.astype(int) // 10
    groups = [predictions.error[decade == d] for d in np.unique(decade)]
    with figure(path, (10.5, 8), theme) as (scatter, error, coverage, reliability):
        _scatter(scatter, predictions, theme)
        _errors(error, evaluation, groups, theme)
        shares = [part.coverage for part in parts]
        at = np.arange(len(parts))
        coverage.bar(at, [100 * share for share in shares], color=theme.blue)
        _intervals(coverage, at, shares, [part.count for part in parts], theme.ink)
        coverage.axhline(100 * LEVEL, color=theme.orange, linestyle="--", linewidth=1.2)
        coverage.set_title(
            f"The {LEVEL:.0%} interval holds {evaluation.overall.coverage:.1%} of true ages "
            f"(dashed: {LEVEL:.0%});\nits mean width is {evaluation.overall.width:.1f} years"
        )
        coverage.set(ylabel="true ages inside the interval, %", ylim=(0, 104))
        for axes in (error, coverage):
            names = [f"{n}\nn={p.count}" for n, p in evaluation.by_decade.items()]
            axes.set_xticks(at, names, fontsize=7.5)
            axes.set(xlabel="true age, years; n photos")
        _reliability(reliability, evaluation.reliability, theme)


def _errors(axes: Any, evaluation: Evaluation, groups: Sequence[Any], theme: Theme) -> None:
    """Draw MAE and bias by decade, side by side."""
    for offset, colour, name, values in (
        (-0.2, theme.blue, "MAE", [np.abs(group) for group in groups]),
        (0.2, theme.orange, "bias (above 0: said too old)", groups),
    ):
        at = np.arange(len(groups)) + offset
        means = [group.mean() for group in values]
        reach = [Z * group.std() / np.sqrt(len(group)) for group in values]
        axes.bar(at, means, width=0.38, color=colour, label=name)
        axes.errorbar(at, means, reach, fmt="none", ecolor=theme.ink, elinewidth=1, capsize=2)
    axes.axhline(evaluation.overall.mae, color=theme.gray, linestyle="--", linewidth=1)
    axes.axhline(0, color=theme.ink, linewidth=0.8)
    low, high = evaluation.mae_interval
    axes.set_title(
        f"MAE {evaluation.overall.mae:.2f} years over all (dashed), 95 % {low:.2f} to {high:.2f}"
    )
    axes.set(ylabel="years")
    axes.legend(frameon=False, fontsize=8, loc="lower left")


def _scatter(axes: Any, predictions: Predictions, theme: Theme) -> None:
    inside = predictions.inside
    axes.plot([0, MAX_AGE], [0, MAX_AGE], color=theme.gray, linewidth=1, label="exact")
    for mask, colour, marker, name in (
        (inside, theme.blue, "o", f"true age inside the {LEVEL:.0%} interval"),
        (~inside, theme.orange, "x", "true age outside"),
    ):
        axes.scatter(
            predictions.label[mask],
            predictions.age[mask],
            s=12,
            c=colour,
            marker=marker,
            alpha=0.6,
            label=name,
        )
    axes.legend(frameon=False, fontsize=8, loc="upper left")
    axes.set(xlabel="true age, years", ylabel="predicted age, years")
    axes.set(xlim=(0, MAX_AGE), ylim=(0, MAX_AGE))
    axes.set_title(f"Predicted and true ages of {len(predictions)} photos")


def _reliability(axes: Any, bins: Sequence[Reliability], theme: Theme) -> None:
    """Draw what was said of ranges of probabilities, and the share of which it was true."""
    said = np.array([100 * part.predicted for part in bins])
    observed = [part.observed for part in bins]
    count = [part.count for part in bins]
    axes.plot([0, 100], [0, 100], color=theme.gray, linewidth=1, label="calibrated")
    _intervals(axes, said, observed, count, theme.blue)
    axes.scatter(said, [100 * share for share in observed], color=theme.blue, zorder=3)
    for x, share, n in zip(said, observed, count, strict=True):
        place = (x, 100 * share)
        axes.annotate(f"n={n}", place, xytext=(5, -9), textcoords="offset points", fontsize=7)
    axes.legend(frameon=False, fontsize=8, loc="upper left")
    axes.set(xlabel=f"said: probability to be {LEGAL_AGE} or older, %")
    axes.set(ylabel=f"found: share who are {LEGAL_AGE} or older, %")
    axes.set(xlim=(-3, 110), ylim=(-5, 105))
    axes.set_title(f"Is what is said of being {LEGAL_AGE} or older true?")


def _intervals(
    axes: Any, at: Any, shares: Sequence[float], counts: Sequence[int], colour: str
) -> None:
    """Draw the 95 % intervals of shares, 0 to 1, on an axis in per cent."""
    share, count = np.array(shares), np.array(counts)
    centre = (share + Z**2 / (2 * count)) / (1 + Z**2 / count)
    reach = Z * np.sqrt(share * (1 - share) / count + (Z / (2 * count)) ** 2)
    reach /= 1 + Z**2 / count
    axes.vlines(at, 100 * (centre - reach), 100 * (centre + reach), color=colour, linewidth=1.2)
