"""The training log: a CSV file with one line for each epoch."""

import csv
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from halnet.errors import ConfigError
from halnet.files import csv_text, write_text

LOG_FILE = "training_log.csv"
COLUMNS = (
    "epoch",
    "size",
    "learning_rate",
    "train_loss",
    "train_mae",
    "val_loss",
    "val_mae",
    "val_bias",
    "images_per_second",
    "data_wait_share",
    "seconds",
)
MAE_COLUMN, DISTANCE_COLUMN = "val_mae_", "val_distance_"  # the name of a dataset follows
SET_COLUMNS = (MAE_COLUMN, DISTANCE_COLUMN)


@dataclass(frozen=True)
class TrainingLog:
    """The content of a training log."""

    # One for each epoch, with values by COLUMNS. A run on several datasets has the errors of each
    # dataset too: val_mae_NAME for exact ages, val_distance_NAME for ranges. `val_mae` is their
    # mean, so it is a MAE only if all ages are exact. `train_mae` is the mean over the photos of
    # the distances to their labels. Both columns keep the names that older versions gave them.
    rows: tuple[dict[str, str], ...]
    cut_off: bool = False  # whether the last line is incomplete; then it is not in `rows`


def write_log(path: Path, rows: Sequence[dict[str, str]]) -> None:
    """Write the log, completely or not at all. Each row has the same columns."""
    columns = dict.fromkeys([*COLUMNS, *(name for row in rows for name in row)])
    write_text(path, csv_text(tuple(columns), rows))


def set_errors(values: Mapping[str, Any]) -> dict[str, Any]:
    """Return those values of an epoch that are errors of single datasets, by their columns."""
    return {name: value for name, value in values.items() if name.startswith(SET_COLUMNS)}


def error_name(column: str) -> str:
    """Return what the errors of a dataset are, for their column."""
    return "MAE" if column.startswith(MAE_COLUMN) else "distance to the range"


def describe_error(column: str) -> str:
    """Return the name of a dataset, and what its errors are, for their column."""
    name = column.removeprefix(MAE_COLUMN).removeprefix(DISTANCE_COLUMN)
    return f"{name}, {error_name(column)}"


def read_log(path: Path) -> TrainingLog:
    """Read a log. It is empty if the file does not exist. An incomplete last line is left out.

    Raises ConfigError if another line is damaged.
    """
    if not path.exists():
        return TrainingLog(())
    text = path.read_text(encoding="utf-8", errors="replace")
    lines = text.split("\n")  # a complete log ends with a line feed, so the last part is empty
    cut_off = bool(lines[-1])
    rows = tuple(csv.DictReader(lines[:-1]))
    for number, row in enumerate(rows, 2):
        try:
            if None in row or not {"epoch", "val_mae"} <= set(row):
                raise ValueError("the number of values is wrong")
            [float(value) for value in row.values()]
        except (TypeError, ValueError) as error:
            raise ConfigError(
                f"{path}: line {number} is damaged ({error}); correct it or delete the file"
            ) from error
    return TrainingLog(rows, cut_off)
