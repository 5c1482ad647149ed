"""Plots of a training run: loss, MAE, generalisation gap and learning rate by epoch."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from halnet.evaluation.figures import LIGHT, Theme, figure


def plot_training(rows: Sequence[dict[str, str]], path: Path, theme: Theme = LIGHT) -> None:
    """Draw loss, MAE, generalisation gap and learning rate by epoch from the lines of a log."""

    def column(name: str) -> Any:
        return np.array([float(row.get(name) or "nan") for row in rows])

    epoch, size = column("epoch"), column("size")
    with figure(path, (10, 7), theme) as (loss, mae, gap, rate):
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
