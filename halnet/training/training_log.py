"""The training log: a CSV file with one line for each epoch."""

import csv
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

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


@dataclass(frozen=True)
class TrainingLog:
    """The content of a training log."""

    rows: tuple[dict[str, str], ...]  # one for each epoch, with values by COLUMNS
    cut_off: bool = False  # whether the last line is incomplete; then it is not in `rows`


def write_log(path: Path, rows: Sequence[dict[str, str]]) -> None:
    """Write the log, completely or not at all."""
    write_text(path, csv_text(COLUMNS, rows))


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
