"""Plots: pictures of a model's errors, in colours that every kind of colour vision tells apart."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from halnet.ages import Calibration
from halnet.errors import ConfigError
from halnet.files import replacing
from halnet.metrics import LEVEL, evaluate
from halnet.results import Outputs

SUFFIXES = (".png", ".svg", ".pdf")
BLUE, ORANGE, GRAY = "#0072B2", "#D55E00", "#767676"  # Okabe and Ito


def check_figure(path: Path) -> None:
    """Raise ConfigError for a file name that no picture can be written to."""
    if path.suffix.lower() not in SUFFIXES:
        raise ConfigError(
            f"{path}: expected one of {', '.join(SUFFIXES)}, found {path.suffix or 'no suffix'}"
        )


def plot_errors(
    outputs: Outputs, labels: Sequence[int], calibration: Calibration, path: Path
) -> None:
    """Draw predicted against true age (`labels`, years), and MAE and coverage by decade."""
    check_figure(path)
    import matplotlib as mpl

    mpl.use("Agg")
    from matplotlib import pyplot as plt

    truth = np.array(labels)
    evaluation = evaluate(outputs, labels, [""] * len(labels), calibration)
    with plt.rc_context({"axes.spines.top": False, "axes.spines.right": False, "font.size": 10}):
        figure, (left, middle, right) = plt.subplots(1, 3, figsize=(12, 3.8), layout="constrained")
        _scatter(left, truth, outputs, calibration)
        names = list(evaluation.by_decade)
        parts = list(evaluation.by_decade.values())
        middle.bar(names, [part.mae for part in parts], color=BLUE)
        middle.axhline(evaluation.overall.mae, color=GRAY, linestyle="--", linewidth=1)
        middle.set_title(f"MAE {evaluation.overall.mae:.2f} years over all (dashed)")
        middle.set(xlabel="true age, years", ylabel="MAE, years")
        right.bar(names, [100 * part.coverage for part in parts], color=BLUE)
        right.axhline(100 * LEVEL, color=GRAY, linestyle="--", linewidth=1)
        right.set_title(
            f"the {LEVEL:.0%} interval holds {evaluation.overall.coverage:.1%} over all"
        )
        right.set(xlabel="true age, years", ylabel="true age inside, %", ylim=(0, 102))
        for axes in (middle, right):
            axes.tick_params(axis="x", rotation=45)
            for bar, part in zip(axes.patches, parts, strict=True):
                axes.annotate(
                    f"n={part.count}",
                    (bar.get_x() + bar.get_width() / 2, 0.01),
                    xycoords=("data", "axes fraction"),
                    ha="center",
                    va="bottom",
                    fontsize=6.5,
                    color="white",
                    rotation=90,
                )
        with replacing(path) as temporary:
            figure.savefig(temporary, dpi=120)
        plt.close(figure)


def _scatter(axes: Any, labels: Any, outputs: Outputs, calibration: Calibration) -> None:
    low, high = calibration.interval(outputs.age, outputs.stddev, LEVEL)
    inside = (low <= labels) & (labels <= high)
    axes.plot([0, 90], [0, 90], color=GRAY, linewidth=1)
    for mask, colour, marker, name in (
        (inside, BLUE, "o", "true age inside the 90 % interval"),
        (~inside, ORANGE, "x", "outside"),
    ):
        axes.scatter(
            labels[mask], outputs.age[mask], s=10, c=colour, marker=marker, alpha=0.6, label=name
        )
    axes.legend(frameon=False, fontsize=8, loc="upper left")
    axes.set(xlabel="true age, years", ylabel="predicted age, years", xlim=(0, 90), ylim=(0, 90))
    axes.set_title(f"{len(labels)} photos")
