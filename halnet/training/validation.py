"""Validation: the error of predicted ages in each dataset, for exact ages and for ranges."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from halnet.ages import Floats
from halnet.training.photos import SetPhotos, label_ends
from halnet.training.training_log import DISTANCE_COLUMN, MAE_COLUMN


@dataclass(frozen=True)
class SetScore:
    """How well the ages of one dataset are predicted.

    The error of a photo is the distance between its predicted age and its label: the absolute error
    for an exact age, and 0 for an age inside a range.
    """

    name: str  # of the dataset
    is_exact: bool  # whether all labels are exact ages, so that the mean error is the MAE
    photos: int  # number of photos
    error: float  # mean error, years: the MAE, or the mean distance to the range
    bias: float  # mean signed error, years; above 0, people are predicted too old

    @property
    def column(self) -> str:
        """Name of the error in the training log."""
        return (MAE_COLUMN if self.is_exact else DISTANCE_COLUMN) + self.name


def score_sets(sets: Sequence[SetPhotos], ages: Floats) -> tuple[SetScore, ...]:
    """Return the score of each dataset. `ages` are predicted for its photos in order, in years."""
    scores = []
    start = 0
    for part in sets:
        low, high = label_ends(part.records)
        own = ages[start : start + len(low)]
        start += len(low)
        errors = np.where(own < low, own - low, np.maximum(own - high, 0))
        scores.append(
            SetScore(
                name=part.name,
                is_exact=part.is_exact,
                photos=len(low),
                error=float(np.abs(errors).mean()),
                bias=float(errors.mean()),
            )
        )
    return tuple(scores)


def mean_error(scores: Sequence[SetScore]) -> float:
    """Return the mean over datasets of their errors, in years. The best weights have the lowest."""
    return float(np.mean([score.error for score in scores]))


def mean_bias(scores: Sequence[SetScore]) -> float:
    """Return the mean over datasets of their biases, in years."""
    return float(np.mean([score.bias for score in scores]))
