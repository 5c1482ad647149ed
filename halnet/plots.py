"""Plots of a training run, of a model's errors and of what INT8 does to each layer.

In colours that all colour vision tells apart.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from halnet.errors import ConfigError
from halnet.files import replacing
from halnet.metrics import Reliability, evaluate
from halnet.predictions import LEGAL_AGE, LEVEL, Predictions

SUFFIXES = (".png", ".svg", ".pdf")
BLUE, ORANGE, GRAY = "#0072B2", "#D55E00", "#767676"  # Okabe and Ito
STYLE: dict[Any, Any] = {
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.titlesize": 10,
    "font.size": 10,
}
Z = 1.96  # of the 95 % interval
MAX_AGE = 90  # years: the axes end here
MAX_LAYERS = 30  # that a picture has room to name
ROLE_COLOURS = (BLUE, ORANGE, "#009E73", "#CC79A7", "#E69F00", "#56B4E9", GRAY)


def check_figure(path: Path) -> None:
    """Raise ConfigError for a file name that no picture can be written to."""
    if path.suffix.lower() not in SUFFIXES:
        raise ConfigError(
            f"{path}: expected one of {', '.join(SUFFIXES)}, found {path.suffix or 'no suffix'}"
        )


@contextmanager
def _figure(path: Path, size: tuple[float, float], rows: int = 2) -> Iterator[Any]:
    """Yield a figure's axes, two a row; it is written to `path` afterwards, whole or not at all."""
    check_figure(path)
    import matplotlib as mpl

    mpl.use("Agg")
    from matplotlib import pyplot as plt

    with plt.rc_context(STYLE):
        figure, axes = plt.subplots(rows, 2, figsize=size, layout="constrained")
        try:
            yield axes.ravel()
            path.parent.mkdir(parents=True, exist_ok=True)
            with replacing(path) as temporary:
                figure.savefig(temporary, dpi=120)
        finally:
            plt.close(figure)


def plot_evaluation(predictions: Predictions, path: Path) -> None:
    """Draw predicted against true age, error and coverage by decade, and the reliability at 18."""
    evaluation = evaluate(predictions)
    names = list(evaluation.by_decade)
    parts = list(evaluation.by_decade.values())
    with _figure(path, (10, 7.6)) as (scatter, error, coverage, reliability):
        _scatter(scatter, predictions)
        error.bar(names, [part.mae for part in parts], color=BLUE, label="MAE")
        error.plot(names, [part.bias for part in parts], "D", color=ORANGE, label="bias")
        error.axhline(evaluation.overall.mae, color=GRAY, linestyle="--", linewidth=1)
        error.axhline(0, color="black", linewidth=0.8)
        low, high = evaluation.mae_interval
        error.set_title(
            f"MAE {evaluation.overall.mae:.2f} years over all (dashed), "
            f"95 % {low:.2f} to {high:.2f}"
        )
        error.set(xlabel="true age, years", ylabel="years; bias above 0: said too old")
        error.legend(frameon=False, fontsize=8)
        coverage.bar(names, [100 * part.coverage for part in parts], color=BLUE)
        coverage.axhline(100 * LEVEL, color=GRAY, linestyle="--", linewidth=1)
        coverage.set_title(
            f"the {LEVEL:.0%} interval holds {evaluation.overall.coverage:.1%}, "
            f"mean width {evaluation.overall.width:.1f} years"
        )
        coverage.set(xlabel="true age, years", ylabel="true age inside, %", ylim=(0, 102))
        for axes in (error, coverage):
            axes.tick_params(axis="x", rotation=45)
            for bar, part in zip(axes.patches, parts, strict=True):
                axes.annotate(
                    f"n={part.count}",
                    (bar.get_x() + bar.get_width() / 2, 0),
                    xytext=(0, 3),
                    textcoords="offset points",
                    ha="center",
                    va="bottom",
                    fontsize=6.5,
                    color="white",
                    rotation=90,
                )
        _reliability(reliability, evaluation.reliability)


def _scatter(axes: Any, predictions: Predictions) -> None:
    inside = predictions.inside
    axes.plot([0, MAX_AGE], [0, MAX_AGE], color=GRAY, linewidth=1)
    for mask, colour, marker, name in (
        (inside, BLUE, "o", f"true age inside the {LEVEL:.0%} interval"),
        (~inside, ORANGE, "x", "outside"),
    ):
        axes.scatter(
            predictions.label[mask],
            predictions.age[mask],
            s=10,
            c=colour,
            marker=marker,
            alpha=0.6,
            label=name,
        )
    axes.legend(frameon=False, fontsize=8, loc="upper left")
    axes.set(xlabel="true age, years", ylabel="predicted age, years")
    axes.set(xlim=(0, MAX_AGE), ylim=(0, MAX_AGE))
    axes.set_title(f"{len(predictions)} photos")


def _reliability(axes: Any, bins: Sequence[Reliability]) -> None:
    """Draw each range of probabilities, with the 95 % interval [Wilson 1927] of the true share."""
    said = np.array([part.predicted for part in bins])
    observed = np.array([part.observed for part in bins])
    count = np.array([part.count for part in bins])
    centre = (observed + Z**2 / (2 * count)) / (1 + Z**2 / count)
    reach = Z * np.sqrt(observed * (1 - observed) / count + (Z / (2 * count)) ** 2)
    reach /= 1 + Z**2 / count
    axes.plot([0, 100], [0, 100], color=GRAY, linewidth=1)
    axes.vlines(100 * said, 100 * (centre - reach), 100 * (centre + reach), color=BLUE, alpha=0.5)
    axes.scatter(100 * said, 100 * observed, color=BLUE, zorder=3)
    for x, y, n in zip(100 * said, 100 * observed, count, strict=True):
        axes.annotate(f"n={n}", (x, y), xytext=(5, -9), textcoords="offset points", fontsize=7)
    axes.set(xlabel=f"said probability to be {LEGAL_AGE} or older, %", ylabel="share who are, %")
    axes.set(xlim=(-3, 110), ylim=(-5, 105))
    axes.set_title("reliability: calibrated is on the line")


def plot_training(rows: Sequence[dict[str, str]], path: Path) -> None:
    """Draw loss, MAE, generalisation gap and learning rate by epoch from the lines of a log."""

    def column(name: str) -> Any:
        return np.array([float(row.get(name) or "nan") for row in rows])

    epoch, size = column("epoch"), column("size")
    with _figure(path, (10, 7)) as (loss, mae, gap, rate):
        loss.plot(epoch, column("train_loss"), color=ORANGE, label="training")
        loss.plot(epoch, column("val_loss"), color=BLUE, label="validation, labels alone")
        loss.set(ylabel="loss", title="loss")
        mae.plot(epoch, column("train_mae"), color=ORANGE, label="training, augmented crops")
        mae.plot(epoch, column("val_mae"), color=BLUE, label="validation, averaged weights")
        best = int(np.nanargmin(column("val_mae")))
        mae.set(ylabel="MAE, years")
        mae.set_title(
            f"least validation MAE {column('val_mae')[best]:.2f} years in epoch {best + 1}"
        )
        gap.plot(epoch, column("val_mae") - column("train_mae"), color=BLUE)
        gap.axhline(0, color=GRAY, linewidth=1)
        gap.set(ylabel="validation - training MAE, years", title="generalisation gap")
        rate.plot(epoch, column("learning_rate"), color=BLUE)
        rate.set(ylabel="learning rate at the epoch's end", title="learning rate")
        for axes in (loss, mae, gap, rate):
            axes.set(xlabel="epoch")
            _mark_sizes(axes, epoch, size)
        for axes in (loss, mae):
            axes.legend(frameon=False, fontsize=8)


def _mark_sizes(axes: Any, epoch: Any, size: Any) -> None:
    """Write the resolution at the top of each stage, and a line where the next begins."""
    for index in range(len(epoch)):
        if index and size[index] == size[index - 1]:
            continue
        if index:
            axes.axvline(epoch[index] - 0.5, color=GRAY, linewidth=0.8, linestyle=":")
        axes.annotate(
            f"{size[index]:.0f} px",
            (epoch[index], 1),
            xycoords=("data", "axes fraction"),
            va="top",
            fontsize=7,
            color=GRAY,
        )


def plot_sensitivity(
    layers: Sequence[tuple[str, str, float]], roles: Sequence[str], path: Path
) -> None:
    """Draw what quantizing each layer alone does to single ages, and the sums by role.

    `layers` are (name, role, mean of abs(delta age) in years), the largest first.
    """
    colours = dict(zip(roles, ROLE_COLOURS, strict=True))
    with _figure(path, (10, 6.4), rows=1) as (each, groups):
        shown = layers[:MAX_LAYERS]
        names = [name for name, _, _ in shown]
        each.barh(names, [mean for _, _, mean in shown], color=[colours[r] for _, r, _ in shown])
        each.invert_yaxis()
        each.tick_params(axis="y", labelsize=7)
        each.set(xlabel="mean of abs(delta age), years")
        rest = sum(mean for _, _, mean in layers[MAX_LAYERS:])
        each.set_title(
            f"one layer in INT8 at a time; {len(layers) - len(shown)} more add up to {rest:.2f}"
            if len(layers) > len(shown)
            else "one layer in INT8 at a time"
        )
        sums = {role: sum(m for _, r, m in layers if r == role) for role in roles}
        groups.barh(list(sums), list(sums.values()), color=[colours[role] for role in sums])
        groups.invert_yaxis()
        groups.set(xlabel="sum over its layers, years", title="by role")
