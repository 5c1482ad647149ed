"""Predictions for photos whose ages are known, and the CSV file that stores them."""

import csv
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from halnet.ages import LEGAL_AGE, LEVEL, AgeCalibration, Floats
from halnet.datasets.record import Record
from halnet.errors import ConfigError
from halnet.files import NAME_ERRORS, csv_text, write_text
from halnet.results import Outputs

PREDICTIONS_FILE = "predictions.csv"
VALUES = ("age", "stddev", "low", "high", "adult")  # numbers of Predictions, in the order of fields
ENDS = ("label_low", "label_high")
# Older versions have no columns for the dataset and the ends of the label.
COLUMNS = ("split", "source", "sex", "label", *VALUES, "set", *ENDS)


@dataclass(frozen=True, eq=False)
class Predictions:
    """Predictions for N labelled photos of one or several datasets."""

    source: tuple[str, ...]  # path of the photo in its dataset
    sex: tuple[str, ...]  # "female", "male" or ""
    label_low: Floats  # N, lowest age that the label allows, years
    label_high: Floats  # N, highest one, years; equal to `label_low` if the age is exact
    age: Floats  # N, predicted age, years
    stddev: Floats  # N, standard deviation of the raw distribution, years
    low: Floats  # N, lower end of the 90 % interval, years
    high: Floats  # N, upper end of the 90 % interval, years
    adult: Floats  # N, predicted probability of being 18 or older, 0 to 1
    dataset: tuple[str, ...]  # name of the dataset, or ""
    # By the name of the group, such as race: N values, "" where the dataset states none.
    groups: Mapping[str, tuple[str, ...]] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.age)

    def __post_init__(self) -> None:
        if not len(self):
            raise ConfigError(
                "predictions: expected at least one photo, found none; add photos to the split"
            )

    @property
    def is_exact(self) -> NDArray[np.bool_]:
        """Whether the label is one age and not a range of ages, N values."""
        return np.asarray(self.label_low == self.label_high)

    @property
    def label(self) -> Floats:
        """True age, N values in years; NaN where the label is a range."""
        return np.where(self.is_exact, self.label_low, np.nan)

    @property
    def error(self) -> Floats:
        """Predicted age minus the nearest age that the label allows, N values in years.

        For an exact age, this is the error. For a range, it is the distance to the range, which is
        0 inside it and negative below it.
        """
        below = np.minimum(self.age - self.label_low, 0)
        return np.asarray(below + np.maximum(self.age - self.label_high, 0))

    @property
    def inside(self) -> NDArray[np.bool_]:
        """Whether the 90 % interval contains the true age, or meets the range, N values."""
        return np.asarray((self.low <= self.label_high) & (self.label_low <= self.high))

    def select(self, chosen: NDArray[np.bool_]) -> "Predictions":
        """Return the predictions for the chosen photos. `chosen` has N values.

        Raises ConfigError if no photo is chosen.
        """
        return self.take(np.flatnonzero(chosen))

    def take(self, places: Sequence[int] | NDArray[np.int64]) -> "Predictions":
        """Return the predictions at some places, counted from 0, in the order of the places.

        Raises ConfigError if there is no place.
        """

        def pick(values: tuple[str, ...]) -> tuple[str, ...]:
            return tuple(values[i] for i in places)

        return replace(
            self,
            source=pick(self.source),
            sex=pick(self.sex),
            dataset=pick(self.dataset),
            groups={name: pick(values) for name, values in self.groups.items()},
            **{name: getattr(self, name)[places] for name in (*ENDS, *VALUES)},
        )


def to_predictions(
    outputs: Outputs, records: Sequence[Record], calibration: AgeCalibration
) -> Predictions:
    """Return the predictions for N photos, from the N outputs and the calibration of a model."""
    low, high = calibration.interval(outputs.age, outputs.stddev, LEVEL)
    names = sorted({name for record in records for name in record.groups})
    return Predictions(
        source=tuple(record.source for record in records),
        sex=tuple(record.sex for record in records),
        label_low=np.array([record.age_low for record in records], np.float64),
        label_high=np.array([record.age_high for record in records], np.float64),
        age=outputs.age.astype(np.float64),
        stddev=outputs.stddev.astype(np.float64),
        low=np.asarray(low, np.float64),
        high=np.asarray(high, np.float64),
        adult=calibration.probability_at_least(outputs.probabilities, LEGAL_AGE),
        dataset=tuple(record.dataset for record in records),
        groups={name: tuple(r.groups.get(name, "") for r in records) for name in names},
    )


def write_predictions(path: Path, splits: Mapping[str, Predictions]) -> None:
    """Write the predictions of all splits into one CSV file, with one line for each photo.

    `label` has the exact age, and is empty where the label is a range. Groups are not written.
    """
    rows = (
        {
            "split": split,
            "source": part.source[i],
            "sex": part.sex[i],
            "label": f"{part.label[i]:.6g}" if exact else "",
            "set": part.dataset[i],
            **{name: f"{getattr(part, name)[i]:.6g}" for name in (*VALUES, *ENDS)},
        }
        for split, part in splits.items()
        for i, exact in enumerate(part.is_exact)
    )
    write_text(path, csv_text(COLUMNS, rows))


def read_predictions(path: Path) -> dict[str, Predictions]:
    """Read the file that this or an older version of `write_predictions` wrote.

    Raises ConfigError if it is damaged.
    """
    try:
        with open(path, encoding="utf-8", errors=NAME_ERRORS, newline="") as file:
            rows = list(csv.DictReader(file))
        return {
            split: _read_split([row for row in rows if row["split"] == split])
            for split in dict.fromkeys(row["split"] for row in rows)
        }
    except (ValueError, KeyError, TypeError) as error:
        raise ConfigError(
            f"{path}: the file is damaged ({error}); run halnet train again, which writes a new one"
        ) from error


def _read_split(rows: Sequence[Mapping[str, str]]) -> Predictions:
    def numbers(name: str, older: str | None = None) -> Floats:
        return np.array([float(row[name if name in row else older or name]) for row in rows])

    return Predictions(
        source=tuple(row["source"] for row in rows),
        sex=tuple(row["sex"] for row in rows),
        label_low=numbers("label_low", "label"),
        label_high=numbers("label_high", "label"),
        age=numbers("age"),
        stddev=numbers("stddev"),
        low=numbers("low"),
        high=numbers("high"),
        adult=numbers("adult"),
        dataset=tuple(row.get("set", "") for row in rows),
    )
