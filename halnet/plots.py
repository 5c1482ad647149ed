"""Plots of a training run, of a model's errors and of what INT8 does to each layer.

In colours that all colour vision tells apart, on light or on dark paper.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from halnet.errors import ConfigError
from halnet.files import replacing
from halnet.metrics import Evaluation, Reliability, evaluate
from halnet.predictions import LEGAL_AGE, LEVEL, Predictions

SUFFIXES = (".png", ".svg", ".pdf")
Z = 1.96  # of the 95 % interval
MAX_AGE = 90  # years: the axes end here
MAX_LAYERS = 30  # that a picture has room to name


@dataclass(frozen=True)
class Theme:
    """The colours of a picture. Those of data are of Okabe and Ito."""

    paper: str
    ink: str
    gray: str  # lines that help to read
    blue: str
    orange: str

    @property
    def roles(self) -> tuple[str, ...]:
        """One colour each for the roles of layers."""
        return (self.blue, self.orange, "#009E73", "#CC79A7", "#F0E442", "#8C6D31", self.gray)

    @property
    def style(self) -> dict[Any, Any]:
        """What matplotlib is told."""
        names = ("text.color", "axes.labelcolor", "axes.edgecolor", "xtick.color", "ytick.color")
        return {
            **dict.fromkeys(names, self.ink),
            "figure.facecolor": self.paper,
            "axes.facecolor": self.paper,
            "savefig.facecolor": self.paper,
            "axes.spines.top": False,
            "axes.spines.right": False,
            "axes.titlesize": 10,
            "font.size": 10,
        }


LIGHT = Theme("white", "#1A1A1A", "#767676", "#0072B2", "#D55E00")
DARK = Theme("#0E1117", "#E6E6E6", "#9A9A9A", "#56B4E9", "#E69F00")


def check_figure(path: Path) -> None:
    """Raise ConfigError for a file name that no picture can be written to."""
    if path.suffix.lower() not in SUFFIXES:
        raise ConfigError(
            f"{path}: expected one of {', '.join(SUFFIXES)}, found {path.suffix or 'no suffix'}"
        )


@contextmanager
def _figure(path: Path, size: tuple[float, float], theme: Theme, rows: int = 2) -> Iterator[Any]:
    """Yield a figure's axes, two a row; it is written to `path` afterwards, whole or not at all."""
    check_figure(path)
    import matplotlib as mpl

    mpl.use("Agg")
    from matplotlib import pyplot as plt

    with plt.rc_context(theme.style):
        figure, axes = plt.subplots(rows, 2, figsize=size, layout="constrained")
        try:
            yield axes.ravel()
            path.parent.mkdir(parents=True, exist_ok=True)
            with replacing(path) as temporary:
                figure.savefig(temporary, dpi=120)
        finally:
            plt.close(figure)


def plot_evaluation(predictions: Predictions, path: Path, theme: Theme = LIGHT) -> None:
    """Draw predicted against true age, error and coverage by decade, and the reliability at 18.

    Bars and points come with their 95 % intervals: of the mean for MAE and bias, Wilson's for
    shares [Wilson, JASA 1927].
    """
    evaluation = evaluate(predictions)
    parts = list(evaluation.by_decade.values())
    decade = predictions.label.astype(int) // 10
    groups = [predictions.error[decade == d] for d in np.unique(decade)]
    with _figure(path, (10.5, 8), theme) as (scatter, error, coverage, reliability):
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


def plot_training(rows: Sequence[dict[str, str]], path: Path, theme: Theme = LIGHT) -> None:
    """Draw loss, MAE, generalisation gap and learning rate by epoch from the lines of a log."""

    def column(name: str) -> Any:
        return np.array([float(row.get(name) or "nan") for row in rows])

    epoch, size = column("epoch"), column("size")
    with _figure(path, (10, 7), theme) as (loss, mae, gap, rate):
        loss.plot(epoch, column("train_loss"), color=theme.orange, label="training")
        loss.plot(epoch, column("val_loss"), color=theme.blue, label="validation, labels alone")
        loss.set(ylabel="loss", title="Loss")
        mae.plot(epoch, column("train_mae"), color=theme.orange, label="training, augmented crops")
        mae.plot(epoch, column("val_mae"), color=theme.blue, label="validation, averaged weights")
        best = int(np.nanargmin(column("val_mae")))
        mae.set(ylabel="MAE, years")
        mae.set_title(
            f"Least validation MAE {column('val_mae')[best]:.2f} years in epoch {best + 1}"
        )
        gap.plot(epoch, column("val_mae") - column("train_mae"), color=theme.blue)
        gap.axhline(0, color=theme.gray, linewidth=1)
        gap.set(
            ylabel="validation - training MAE, years",
            title="Generalisation gap",
        )
        rate.plot(epoch, column("learning_rate"), color=theme.blue)
        rate.set(ylabel="learning rate at the epoch's end", title="Learning rate")
        for axes in (loss, mae, gap, rate):
            axes.set(xlabel="epoch")
            axes.xaxis.get_major_locator().set_params(integer=True)
            _mark_sizes(axes, epoch, size, theme)
        for axes in (loss, mae):
            axes.legend(frameon=False, fontsize=8)


def _mark_sizes(axes: Any, epoch: Any, size: Any, theme: Theme) -> None:
    """Write the resolution at the top of each stage, and a line where the next begins."""
    for index in range(len(epoch)):
        if index and size[index] == size[index - 1]:
            continue
        if index:
            axes.axvline(epoch[index] - 0.5, color=theme.gray, linewidth=0.8, linestyle=":")
        axes.annotate(
            f"{size[index]:.0f} px",
            (epoch[index], 1),
            xycoords=("data", "axes fraction"),
            va="top",
            fontsize=7,
            color=theme.gray,
        )


def plot_sensitivity(
    layers: Sequence[tuple[str, str, float]],
    roles: Sequence[str],
    path: Path,
    theme: Theme = LIGHT,
) -> None:
    """Draw what quantizing each layer alone does to single ages, and the sums by role.

    `layers` are (name, role, mean of abs(delta age) in years), the largest first.
    """
    colours = dict(zip(roles, theme.roles, strict=True))
    with _figure(path, (10, 6.4), theme, rows=1) as (each, groups):
        shown = layers[:MAX_LAYERS]
        names = [name for name, _, _ in shown]
        each.barh(names, [mean for _, _, mean in shown], color=[colours[r] for _, r, _ in shown])
        each.invert_yaxis()
        each.tick_params(axis="y", labelsize=7)
        each.set(xlabel="mean of abs(delta age), years")
        rest = sum(mean for _, _, mean in layers[MAX_LAYERS:])
        each.set_title(
            f"One layer in INT8 at a time; {len(layers) - len(shown)} more add up to {rest:.2f}"
            if len(layers) > len(shown)
            else "One layer in INT8 at a time"
        )
        sums = {role: sum(m for _, r, m in layers if r == role) for role in roles}
        groups.barh(list(sums), list(sums.values()), color=[colours[role] for role in sums])
        groups.invert_yaxis()
        groups.set(xlabel="sum over its layers, years", title="Sum over the layers of a role")
