"""Validation: the error of predicted ages in each dataset, for exact ages and for ranges."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from halnet.ages import Floats
from halnet.training.photos import SetPhotos, join_records, label_ends
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


def exact_mae(sets: Sequence[SetPhotos], ages: Floats) -> float | None:
    """Return the MAE of all photos with exact ages, in years; None if all labels are ranges.

    `ages` are predicted for the photos of the datasets in order, in years.
    """
    low, high = label_ends(join_records(sets))
    exact = low == high
    return float(np.abs(ages - low)[exact].mean()) if exact.any() else None


def reference_mae(errors: Mapping[str, float | None]) -> dict[str, float]:
    """Return the `reference_mae` of a checkpoint, from the MAE of each split; None: there is none.

    It is the MAE of the photos with exact ages of all datasets together, as `halnet evaluate`
    prints it. It is not the mean over the datasets by which the best weights are chosen: that one
    may include distances to ranges, which are not errors of ages and are smaller. A split without
    exact ages is left out. Programs that read older checkpoints read these too: the values are
    still years by the name of the split. For one dataset of exact ages, they are also the same.
    """
    return {split: round(mae, 4) for split, mae in errors.items() if mae is not None}


def mean_bias(scores: Sequence[SetScore]) -> float:
    """Return the mean over datasets of their biases, in years."""
    return float(np.mean([score.bias for score in scores]))
