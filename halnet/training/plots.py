"""Plots of a training: loss, MAE, generalisation gap and learning rate of each epoch."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from halnet.evaluation.figures import LIGHT, Theme, figure
from halnet.training.training_log import describe_error, set_errors


def plot_training(rows: Sequence[dict[str, str]], path: Path, theme: Theme = LIGHT) -> None:
    """Draw loss, MAE, generalisation gap and learning rate of each epoch.

    `rows` are the lines of a training log. The errors of each dataset are drawn too, if the log has
    them. The suffix of `path` decides the kind of file: PNG, SVG
    or PDF. Raises ConfigError for another suffix, RuntimeUnavailableError if matplotlib is not
    installed.
    """

    def column(name: str) -> Any:
        return np.array([float(row.get(name) or "nan") for row in rows])

    epoch, size = column("epoch"), column("size")
    train_mae, val_mae = column("train_mae"), column("val_mae")
    best = int(np.nanargmin(val_mae))
    with figure(path, (10, 7), theme) as (loss, mae, gap, rate):
        loss.plot(epoch, column("train_loss"), color=theme.orange, label="training")
        loss.plot(epoch, column("val_loss"), color=theme.blue, label="validation, labels only")
        loss.set(ylabel="Loss", title="Loss")
        mae.plot(epoch, train_mae, color=theme.orange, label="training, augmented crops")
        mae.plot(epoch, val_mae, color=theme.blue, label="validation, averaged weights")
        for name in set_errors(rows[0]):
            mae.plot(epoch, column(name), linewidth=0.8, label=describe_error(name))
        mae.set(ylabel="MAE, years")
        mae.set_title(f"Lowest validation MAE: {val_mae[best]:.2f} years in epoch {best + 1}")
        gap.plot(epoch, val_mae - train_mae, color=theme.blue)
        gap.axhline(0, color=theme.gray, linewidth=1)
        gap.set(ylabel="Validation MAE minus training MAE, years", title="Generalisation gap")
        rate.plot(epoch, column("learning_rate"), color=theme.blue)
        rate.set(ylabel="Learning rate at the end of the epoch", title="Learning rate")
        for axes in (loss, mae, gap, rate):
            axes.set(xlabel="Epoch")
            axes.xaxis.get_major_locator().set_params(integer=True)
            _mark_stages(axes, epoch, size, theme)
        for axes in (loss, mae):
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
