"""Plots of a model's errors, its interval coverage and the reliability of its probabilities."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from halnet.ages import AGE_MAX, LEGAL_AGE, LEVEL
from halnet.evaluation.age_checks import Reliability
from halnet.evaluation.figures import LIGHT, Theme, figure
from halnet.evaluation.metrics import Evaluation, decades, evaluate, label_ranges
from halnet.evaluation.predictions import Predictions
from halnet.evaluation.rates import MIN_PHOTOS
from halnet.evaluation.scores import Chosen

Z = 1.96  # half the width of a 95 % interval, in standard deviations
TOO_FEW = f"fewer than {MIN_PHOTOS} photos"
INTERVAL = f"the {100 * LEVEL:.0f} % interval"


def plot_evaluation(predictions: Predictions, path: Path, theme: Theme = LIGHT) -> None:
    """Draw predicted against true ages, errors and coverage by decade, and the reliability at 18.

    Of several datasets, the first plot has a colour for each, and the others are about all photos.
    If all labels are ranges of ages, the plots have ranges in place of decades, and distances in
    place of errors. If some are, the plots by decade have the photos with exact ages alone.

    Bars and points have 95 % intervals. Those of shares are Wilson's [Wilson, JASA 1927]. A share
    of fewer than `MIN_PHOTOS` photos is not drawn. The suffix of `path` decides the kind of file:
    PNG, SVG or PDF. Raises what `figure` raises.
    """
    evaluation = evaluate(predictions)
    with figure(path, (10.5, 8), theme) as (scatter, error, coverage, reliability):
        _draw_ages(scatter, predictions, theme)
        _draw_errors(error, evaluation, predictions, theme)
        _draw_coverage(coverage, evaluation, predictions, theme)
        _draw_reliability(reliability, evaluation.reliability, theme)


def _draw_ages(axes: Any, predictions: Predictions, theme: Theme) -> None:
    """Draw predicted against true ages, one mark for each photo. A range is a horizontal line."""
    ends = [0, AGE_MAX]
    axes.plot(ends, ends, color=theme.gray, linewidth=1, label="predicted age = true age")
    names = list(dict.fromkeys(predictions.dataset))
    own = np.asarray(predictions.dataset)
    for name, colour in zip(names, _colours(theme, len(names)), strict=True):
        for inside, marker, where in ((True, "o", "inside"), (False, "x", "outside")):
            chosen = (own == name) & (predictions.inside == inside)
            what = f"{name or 'no name'}," if len(names) > 1 else "true age"
            # For one dataset, the colour shows the interval too.
            shown = theme.orange if len(names) == 1 and not inside else colour
            _draw_marks(axes, predictions, chosen, shown, marker, f"{what} {where} {INTERVAL}")
    axes.legend(frameon=False, fontsize=8, loc="upper left")
    axes.set(xlabel="True age, years", ylabel="Predicted age, years", xlim=ends, ylim=ends)
    axes.set_title(f"Predicted and true ages of {len(predictions)} photos")


def _draw_marks(
    axes: Any, predictions: Predictions, chosen: Chosen, colour: str, marker: str, label: str
) -> None:
    exact, ranges = chosen & predictions.is_exact, chosen & ~predictions.is_exact
    if exact.any() or not ranges.any():
        x, y = predictions.label_low[exact], predictions.age[exact]
        axes.scatter(x, y, s=12, c=colour, marker=marker, alpha=0.6, label=label)
        label = ""
    if ranges.any():
        axes.hlines(
            predictions.age[ranges],
            predictions.label_low[ranges],
            predictions.label_high[ranges],
            color=colour,
            linewidth=0.8,
            linestyle="solid" if marker == "o" else "dotted",
            alpha=0.5,
            label=label,
        )


def _colours(theme: Theme, count: int) -> list[str]:
    return [theme.palette[i % len(theme.palette)] for i in range(count)]


def _age_groups(predictions: Predictions) -> dict[str, Chosen]:
    """Return the photos of each decade; if all labels are ranges, those of each range."""
    return decades(predictions) or label_ranges(predictions)


def _draw_errors(axes: Any, evaluation: Evaluation, predictions: Predictions, theme: Theme) -> None:
    """Draw mean error and bias of each decade or range, side by side."""
    score = evaluation.main_score
    name = "MAE" if evaluation.overall.count else "distance to the range"
    errors = [predictions.error[chosen] for chosen in _age_groups(predictions).values()]
    for offset, colour, label, groups in (
        (-0.2, theme.blue, name, [np.abs(group) for group in errors]),
        (0.2, theme.orange, "bias (above 0: predicted too old)", errors),
    ):
        positions = np.arange(len(groups)) + offset
        means = [group.mean() for group in groups]
        reach = [Z * group.std() / np.sqrt(len(group)) for group in groups]
        axes.bar(positions, means, width=0.38, color=colour, label=label)
        axes.errorbar(
            positions, means, reach, fmt="none", ecolor=theme.ink, elinewidth=1, capsize=2
        )
    axes.axhline(score.error, color=theme.gray, linestyle="--", linewidth=1)
    axes.axhline(0, color=theme.ink, linewidth=0.8)
    low, high = score.error_interval
    interval = f"95 % interval {low:.2f} to {high:.2f}" if score.has_rates else TOO_FEW
    photos = f"{score.count} photos with exact ages" if _is_mixed(evaluation) else "all photos"
    what = f"{name[0].upper()}{name[1:]} of {photos} (dashed line)"
    axes.set_title(f"{what}: {score.error:.2f} years,\n{interval}")
    axes.set(ylabel="Years")
    axes.legend(frameon=False, fontsize=8, loc="lower left")
    _name_groups(axes, predictions)


def _draw_coverage(
    axes: Any, evaluation: Evaluation, predictions: Predictions, theme: Theme
) -> None:
    """Draw the interval coverage of each decade or range with enough photos."""
    score = evaluation.main_score
    groups = [predictions.inside[chosen] for chosen in _age_groups(predictions).values()]
    inside = {i: part for i, part in enumerate(groups) if len(part) >= MIN_PHOTOS}
    shares = [float(part.mean()) for part in inside.values()]
    axes.bar(list(inside), [100 * share for share in shares], color=theme.blue)
    _draw_intervals(axes, list(inside), shares, [len(part) for part in inside.values()], theme.ink)
    for i in set(range(len(groups))) - set(inside):
        _write_too_few(axes, i)
    axes.axhline(100 * LEVEL, color=theme.orange, linestyle="--", linewidth=1.2)
    what = f"True ages inside {INTERVAL}"
    if not evaluation.overall.count:
        what = "Ranges that the 90 % interval meets"
    found = f"{100 * score.coverage:.1f} %" if score.has_rates else TOO_FEW
    axes.set_title(
        f"{what}: {found} (dashed line: {100 * LEVEL:.0f} %)\n"
        f"Mean interval width: {score.width:.1f} years"
    )
    axes.set(ylabel=f"{what}, %", ylim=(0, 104))
    _name_groups(axes, predictions)


def _is_mixed(evaluation: Evaluation) -> bool:
    return bool(evaluation.overall.count and evaluation.ranges)


def _name_groups(axes: Any, predictions: Predictions) -> None:
    groups = _age_groups(predictions)
    names = [f"{name}\nn={int(chosen.sum())}" for name, chosen in groups.items()]
    axes.set_xticks(np.arange(len(names)), names, fontsize=7.5)
    axes.set(xlabel="True age, years; n: number of photos")


def _draw_reliability(axes: Any, bins: Sequence[Reliability], theme: Theme) -> None:
    """Draw observed shares of adults against the predicted probabilities of being an adult."""
    axes.set_title(f"Reliability of the probability of being {LEGAL_AGE} or older")
    if not bins:
        text = f"does not apply: each label is a range\nwith ages below and above {LEGAL_AGE}"
        axes.text(0.5, 0.5, text, transform=axes.transAxes, ha="center", va="center")
        axes.set_axis_off()
        return
    axes.plot([0, 100], [0, 100], color=theme.gray, linewidth=1, label="perfectly calibrated")
    stated = [part for part in bins if part.observed.is_stated]
    for part in bins:
        if part not in stated:
            _write_too_few(axes, 100 * part.predicted)
    predicted = np.array([100 * part.predicted for part in stated])
    observed = [part.observed.share for part in stated]
    counts = [part.observed.count for part in stated]
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


def _write_too_few(axes: Any, position: float) -> None:
    """Write why there is no share at a position on the horizontal axis."""
    axes.text(position, 2, TOO_FEW, rotation=90, ha="center", va="bottom", fontsize=7.5)


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
