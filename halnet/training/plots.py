"""Plots of a training: loss, mean error, generalisation gap and learning rate of each epoch."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from halnet.evaluation.figures import LIGHT, Theme, figure
from halnet.training.training_log import describe_error, set_errors


def plot_training(rows: Sequence[dict[str, str]], path: Path, theme: Theme = LIGHT) -> None:
    """Draw loss, mean error, generalisation gap and learning rate of each epoch.

    `rows` are the lines of a training log. The errors of each dataset are drawn too, if the log has
    them. The suffix of `path` decides the kind of file: PNG, SVG or PDF. Raises what `figure`
    raises.
    """

    def column(name: str) -> Any:
        return np.array([float(row.get(name) or "nan") for row in rows])

    epoch, size = column("epoch"), column("size")
    train_error, val_error = column("train_mae"), column("val_mae")
    best = int(np.nanargmin(val_error))
    sets = set_errors(rows[0])
    several = len(sets) > 1
    what = "mean validation error over the datasets" if several else "validation error"
    with figure(path, (10, 7), theme) as (loss, error, gap, rate):
        loss.plot(epoch, column("train_loss"), color=theme.orange, label="training")
        loss.plot(epoch, column("val_loss"), color=theme.blue, label="validation, labels only")
        loss.set(ylabel="Loss", title="Loss")
        error.plot(epoch, train_error, color=theme.orange, label="training, augmented crops")
        label = "validation, averaged weights" + (", mean over the datasets" if several else "")
        error.plot(epoch, val_error, color=theme.blue, label=label)
        for name in sets:
            error.plot(epoch, column(name), linewidth=0.8, label=describe_error(name))
        error.set(ylabel="Mean error, years")
        error.set_title(f"Lowest {what}: {val_error[best]:.2f} years in epoch {best + 1}")
        gap.plot(epoch, val_error - train_error, color=theme.blue)
        gap.axhline(0, color=theme.gray, linewidth=1)
        gap.set(ylabel="Validation error minus training error, years", title="Generalisation gap")
        rate.plot(epoch, column("learning_rate"), color=theme.blue)
        rate.set(ylabel="Learning rate at the end of the epoch", title="Learning rate")
        for axes in (loss, error, gap, rate):
            axes.set(xlabel="Epoch")
            axes.xaxis.get_major_locator().set_params(integer=True)
            _mark_stages(axes, epoch, size, theme)
        for axes in (loss, error):
            axes.legend(frameon=False, fontsize=8)


def _mark_stages(axes: Any, epoch: Any, size: Any, theme: Theme) -> None:
    """Draw a line where a stage begins, and write the resolution of the stage beside it."""
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
