"""The plot of a training: what its four axes contain is read from matplotlib."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from halnet.errors import ConfigError
from halnet.training import plots
from halnet.training.training_log import COLUMNS

ROWS = [
    {
        **dict.fromkeys(COLUMNS, "1"),
        "epoch": str(epoch),
        "size": "64" if epoch <= 3 else "224",
        "train_loss": str(5 - epoch),
        "val_mae": str(mae),
        "train_mae": str(mae - 1.5 * epoch),
        "learning_rate": str(epoch / 100),
    }
    for epoch, mae in enumerate([9, 8, 7, 6, 6.5], 1)
]


@pytest.fixture(scope="module")
def axes(drawn_axes: Any) -> list[Any]:
    """The axes of a plot of `ROWS`: loss, MAE, generalisation gap and learning rate."""
    return list(drawn_axes(plots, lambda path: plots.plot_training(ROWS, path)))


def test_each_curve_shows_its_column(axes: list[Any]) -> None:
    loss, mae, gap, rate = axes
    curves = {line.get_label(): line for axis in (loss, mae) for line in axis.lines[:2]}
    assert list(curves["training"].get_ydata()) == [4, 3, 2, 1, 0]
    assert list(curves["validation, labels only"].get_ydata()) == [1] * 5
    assert list(curves["validation, averaged weights"].get_ydata()) == [9, 8, 7, 6, 6.5]
    assert list(curves["training, augmented crops"].get_ydata()) == [7.5, 5, 2.5, 0, -1]
    np.testing.assert_allclose(gap.lines[0].get_ydata(), [1.5, 3, 4.5, 6, 7.5])
    np.testing.assert_allclose(rate.lines[0].get_ydata(), [0.01, 0.02, 0.03, 0.04, 0.05])
    assert all(list(axis.lines[0].get_xdata()) == [1, 2, 3, 4, 5] for axis in axes)


def test_titles_and_labels(axes: list[Any]) -> None:
    assert [axis.get_title() for axis in axes] == [
        "Loss",
        "Lowest validation error: 6.00 years in epoch 4",
        "Generalisation gap",
        "Learning rate",
    ]
    assert axes[1].get_ylabel() == "Mean error, years"
    assert axes[2].get_ylabel() == "Validation error minus training error, years"
    assert {axis.get_xlabel() for axis in axes} == {"Epoch"}


def test_the_errors_of_each_dataset_are_drawn(drawn_axes: Any) -> None:
    errors = {"val_mae_aaf": "5", "val_distance_fairface": "3"}
    rows = [{**row, **errors} for row in ROWS]
    error = drawn_axes(plots, lambda path: plots.plot_training(rows, path))[1]
    curves = {line.get_label(): list(line.get_ydata()) for line in error.lines[:4]}
    assert curves["aaf, MAE"] == [5] * 5
    assert curves["fairface, distance to the range"] == [3] * 5
    label = "validation, averaged weights, mean over the datasets"
    assert curves[label] == [9, 8, 7, 6, 6.5]
    title = "Lowest mean validation error over the datasets: 6.00 years in epoch 4"
    assert error.get_title() == title


def test_a_line_marks_the_next_stage(axes: list[Any]) -> None:
    for axis in axes:
        assert [text.get_text() for text in axis.texts] == ["64 px", "224 px"]
        assert list(axis.lines[-1].get_xdata()) == [3.5, 3.5]


def test_another_kind_of_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="one of .png, .svg, .pdf, found .gif"):
        plots.plot_training(ROWS, tmp_path / "training.gif")
