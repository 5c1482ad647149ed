"""Predictions: what a model said of photos whose ages are known, and the CSV file that keeps it."""

import csv
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from halnet.ages import Calibration, Floats
from halnet.errors import ConfigError
from halnet.files import replacing
from halnet.results import Outputs

LEVEL = 0.9  # of the interval that is kept and reported
LEGAL_AGE = 18  # years: the probability to be of this age or older is kept
PREDICTIONS_FILE = "predictions.csv"
VALUES = ("label", "age", "stddev", "low", "high", "adult")  # fields of Predictions, in order


@dataclass(frozen=True, eq=False)
class Predictions:
    """Predictions for N labelled photos of one split."""

    source: tuple[str, ...]  # the photo's path in its dataset
    sex: tuple[str, ...]  # "female", "male" or ""
    label: Floats  # N, true age, years
    age: Floats  # N, years
    stddev: Floats  # N, years, of the raw distribution
    low: Floats  # N, years, of the 90 % interval
    high: Floats
    adult: Floats  # N, probability to be 18 years or older

    def __len__(self) -> int:
        return len(self.label)

    def __post_init__(self) -> None:
        if not len(self):
            raise ConfigError("predictions: expected at least one photo, found none")

    @property
    def error(self) -> Floats:
        """N, predicted - true, years."""
        return self.age - self.label

    @property
    def inside(self) -> NDArray[np.bool_]:
        """N, whether the 90 % interval holds the true age."""
        return np.asarray((self.low <= self.label) & (self.label <= self.high))


def judge(
    outputs: Outputs,
    labels: Sequence[int],
    sexes: Sequence[str],
    calibration: Calibration,
    sources: Sequence[str] = (),
) -> Predictions:
    """Return the predictions that N outputs make by a model's calibration; labels in years."""
    low, high = calibration.interval(outputs.age, outputs.stddev, LEVEL)
    return Predictions(
        source=tuple(sources) or ("",) * len(labels),
        sex=tuple(sexes),
        label=np.asarray(labels, np.float64),
        age=outputs.age.astype(np.float64),
        stddev=outputs.stddev.astype(np.float64),
        low=np.asarray(low, np.float64),
        high=np.asarray(high, np.float64),
        adult=calibration.probability_at_least(outputs.probabilities, LEGAL_AGE),
    )


def write_predictions(path: Path, splits: Mapping[str, Predictions]) -> None:
    """Write the predictions of each split as one CSV file: a line a photo, years and shares."""
    with replacing(path) as temporary, open(temporary, "w", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(("split", "source", "sex", *VALUES))
        for split, part in splits.items():
            columns = [[f"{v:.6g}" for v in getattr(part, name)] for name in VALUES]
            for row in zip(part.source, part.sex, *columns, strict=True):
                writer.writerow((split, *row))


def read_predictions(path: Path) -> dict[str, Predictions]:
    """Return what `write_predictions` wrote. Raises ConfigError where it is damaged."""
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
            f"{path}: damaged ({error}); run halnet train again, which writes it anew"
        ) from error
