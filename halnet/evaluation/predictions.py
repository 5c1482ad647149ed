"""Predictions for photos whose true ages are known, and the CSV file that stores them."""

import csv
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from halnet.ages import LEGAL_AGE, LEVEL, AgeCalibration, Floats
from halnet.datasets.prepared_dataset import Record
from halnet.errors import ConfigError
from halnet.files import csv_text, write_text
from halnet.results import Outputs

PREDICTIONS_FILE = "predictions.csv"
VALUES = ("label", "age", "stddev", "low", "high", "adult")  # fields of Predictions, in order


@dataclass(frozen=True, eq=False)
class Predictions:
    """Predictions for N labelled photos of one split."""

    source: tuple[str, ...]  # path of the photo in its dataset
    sex: tuple[str, ...]  # "female", "male" or ""
    label: Floats  # N, true age, years
    age: Floats  # N, predicted age, years
    stddev: Floats  # N, standard deviation of the raw distribution, years
    low: Floats  # N, lower end of the 90 % interval, years
    high: Floats  # N, upper end of the 90 % interval, years
    adult: Floats  # N, predicted probability of being 18 or older, 0 to 1

    def __len__(self) -> int:
        return len(self.label)

    def __post_init__(self) -> None:
        if not len(self):
            raise ConfigError(
                "predictions: expected at least one photo, found none; add photos to the split"
            )

    @property
    def error(self) -> Floats:
        """Predicted age minus true age, N values in years."""
        return self.age - self.label

    @property
    def inside(self) -> NDArray[np.bool_]:
        """Whether the true age is inside the 90 % interval, N values."""
        return np.asarray((self.low <= self.label) & (self.label <= self.high))


def to_predictions(
    outputs: Outputs, records: Sequence[Record], calibration: AgeCalibration
) -> Predictions:
    """Return the predictions for N photos, from the N outputs and the calibration of a model."""
    low, high = calibration.interval(outputs.age, outputs.stddev, LEVEL)
    return Predictions(
        source=tuple(record.source for record in records),
        sex=tuple(record.sex for record in records),
        label=np.array([record.age for record in records], np.float64),
        age=outputs.age.astype(np.float64),
        stddev=outputs.stddev.astype(np.float64),
        low=np.asarray(low, np.float64),
        high=np.asarray(high, np.float64),
        adult=calibration.probability_at_least(outputs.probabilities, LEGAL_AGE),
    )


def write_predictions(path: Path, splits: Mapping[str, Predictions]) -> None:
    """Write the predictions of all splits into one CSV file, with one line for each photo."""
    rows = (
        {
            "split": split,
            "source": part.source[i],
            "sex": part.sex[i],
            **{name: f"{getattr(part, name)[i]:.6g}" for name in VALUES},
        }
        for split, part in splits.items()
        for i in range(len(part))
    )
    write_text(path, csv_text(("split", "source", "sex", *VALUES), rows))


def read_predictions(path: Path) -> dict[str, Predictions]:
    """Read the file that `write_predictions` wrote. Raises ConfigError if it is damaged."""
    try:
        with open(path, encoding="utf-8", newline="") as file:
            rows = list(csv.DictReader(file))
        splits = {}
        for split in dict.fromkeys(row["split"] for row in rows):
            part = [row for row in rows if row["split"] == split]
            values = (np.array([float(row[name]) for row in part]) for name in VALUES)
            source, sex = (tuple(row[name] for row in part) for name in ("source", "sex"))
            splits[split] = Predictions(source, sex, *values)
        return splits
    except (ValueError, KeyError, TypeError) as error:
        raise ConfigError(
            f"{path}: the file is damaged ({error}); run halnet train again, which writes a new one"
        ) from error
