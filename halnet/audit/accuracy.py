"""Accuracy of a report: errors and intervals of all photos, and of each slice of them."""

from dataclasses import dataclass, field

import numpy as np

from halnet.audit.figures import StatedMean, StatedRate
from halnet.audit.schema import about
from halnet.audit.slices import KINDS, Slice, find_slices
from halnet.evaluation.predictions import Predictions

CLOSE = 5  # years: an error of at most so many counts as close
EXACT, RANGE = LABELS = ("exact", "range")


@dataclass(frozen=True)
class SliceAccuracy:
    """How well the ages and intervals of some photos fit their labels."""

    labels: str = field(
        metadata=about("Whether the photos have exact ages or ranges of ages.", values=LABELS)
    )
    kind: str = field(metadata=about("What the photos have in common.", values=KINDS))
    name: str = field(metadata=about("Which of these, such as 30-39 or race: Black."))
    error: StatedMean = field(
        metadata=about("Mean absolute error; of ranges, the mean distance to the range.")
    )
    bias: StatedMean = field(
        metadata=about("Mean signed error; above 0, people are predicted too old.")
    )
    close: StatedRate = field(
        metadata=about(
            f"Predicted ages with an error of at most {CLOSE} years; of ranges, those inside."
        )
    )
    coverage: StatedRate = field(
        metadata=about("90 % intervals with the true age inside; of ranges, those that meet it.")
    )
    width: StatedMean = field(metadata=about("Mean width of the 90 % interval."))


def measure_accuracy(predictions: Predictions) -> tuple[SliceAccuracy, ...]:
    """Return the accuracy of each slice, first of exact ages and then of ranges of ages."""
    exact = predictions.is_exact
    parts = tuple(find_slices(predictions))
    return tuple(
        _measure(predictions, labels, part, part.chosen & own)
        for labels, own in ((EXACT, exact), (RANGE, ~exact))
        for part in parts
        if (part.chosen & own).any()
    )


def _measure(
    predictions: Predictions, labels: str, part: Slice, chosen: np.ndarray
) -> SliceAccuracy:
    error = predictions.error
    limit = CLOSE if labels == EXACT else 0
    return SliceAccuracy(
        labels,
        part.kind,
        part.name,
        StatedMean.of(np.abs(error[chosen])),
        StatedMean.of(error[chosen]),
        StatedRate.among(np.abs(error) <= limit, chosen),
        StatedRate.among(predictions.inside, chosen),
        StatedMean.of((predictions.high - predictions.low)[chosen]),
    )
