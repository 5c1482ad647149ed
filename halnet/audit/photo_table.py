"""The photos of a report, which a later report needs to compare the same photos."""

import hashlib
from dataclasses import dataclass, field

import numpy as np

from halnet.audit.schema import about
from halnet.evaluation.predictions import Predictions

DIGITS = 6  # after the point, of ages


@dataclass(frozen=True)
class PhotoTable:
    """One value of each list for each photo."""

    id: tuple[str, ...] = field(
        metadata=about("16 hexadecimal digits of the SHA-256 of dataset and file name.")
    )
    dataset: tuple[str, ...]
    sex: tuple[str, ...] = field(metadata=about("female, male or empty."))
    groups: dict[str, tuple[str, ...]] = field(
        metadata=about("By the name of a group column: its values.")
    )
    label_low: tuple[float, ...] = field(metadata=about("Lowest true age, years.", 0))
    label_high: tuple[float, ...] = field(metadata=about("Highest true age, years.", 0))
    age: tuple[float, ...] = field(metadata=about("Predicted age, years."))
    low: tuple[float, ...] = field(metadata=about("Lower end of the 90 % interval, years."))
    high: tuple[float, ...] = field(metadata=about("Upper end of the 90 % interval, years."))

    def __post_init__(self) -> None:
        columns = (self.dataset, self.sex, *self.groups.values(), self.label_low, self.label_high)
        for column in (*columns, self.age, self.low, self.high):
            if len(column) != len(self.id):
                raise ValueError(f"photos: expected {len(self.id)} values, found {len(column)}")

    def to_predictions(self) -> Predictions:
        """Return the predictions. Their standard deviations and probabilities are NaN."""
        unknown = np.full(len(self.id), np.nan)
        columns = (self.label_low, self.label_high, self.age, self.low, self.high)
        label_low, label_high, age, low, high = (np.array(part, np.float64) for part in columns)
        return Predictions(
            source=self.id,
            sex=self.sex,
            label_low=label_low,
            label_high=label_high,
            age=age,
            stddev=unknown,
            low=low,
            high=high,
            adult=unknown,
            dataset=self.dataset,
            groups=self.groups,
        )


def list_photos(predictions: Predictions) -> PhotoTable:
    """Return the table of N photos."""

    def numbers(values: np.ndarray) -> tuple[float, ...]:
        return tuple(round(float(value), DIGITS) for value in values)

    pairs = zip(predictions.dataset, predictions.source, strict=True)
    return PhotoTable(
        tuple(_hash(dataset, source) for dataset, source in pairs),
        predictions.dataset,
        predictions.sex,
        dict(predictions.groups),
        numbers(predictions.label_low),
        numbers(predictions.label_high),
        numbers(predictions.age),
        numbers(predictions.low),
        numbers(predictions.high),
    )


def _hash(dataset: str, source: str) -> str:
    text = f"{dataset}/{source}".encode(errors="surrogateescape")
    return hashlib.sha256(text).hexdigest()[:16]
