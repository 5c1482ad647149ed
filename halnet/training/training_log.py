"""The training log: a CSV line an epoch, written by the trainer, read by the plots."""

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
    """What a log holds."""

    rows: tuple[dict[str, str], ...]  # a line an epoch, by COLUMNS
    cut_off: bool = False  # the last line was not whole, and is not among the rows


def write_log(path: Path, rows: Sequence[dict[str, str]]) -> None:
    """Write the lines, whole or not at all."""
    write_text(path, csv_text(COLUMNS, rows))


def read_log(path: Path) -> TrainingLog:
    """Read a log, nothing if there is no such file; a last line that was cut off is left out.

    Raises ConfigError where it is damaged elsewhere.
    """
    if not path.exists():
        return TrainingLog(())
    text = path.read_text(encoding="utf-8", errors="replace")
    lines = text.split("\n")  # a whole log ends in a line end: the last part is empty
    cut_off = bool(lines[-1])
    rows = tuple(csv.DictReader(lines[:-1]))
    for number, row in enumerate(rows, 2):
        try:
            if None in row or not {"epoch", "val_mae"} <= set(row):
                raise ValueError("not as many values as columns")
            [float(value) for value in row.values()]
        except (TypeError, ValueError) as error:
            raise ConfigError(
                f"{path}: line {number} is damaged ({error}); mend it or delete the file"
            ) from error
    return TrainingLog(rows, cut_off)
