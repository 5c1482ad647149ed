"""Reliability of a report: whether stated probabilities of being of legal age come true."""

from dataclasses import dataclass, field

import numpy as np

from halnet.ages import Floats
from halnet.audit.figures import StatedRate
from halnet.audit.schema import about
from halnet.evaluation.age_checks import RELIABILITY_BINS
from halnet.evaluation.predictions import Predictions


@dataclass(frozen=True)
class ReliabilityBin:
    """Photos whose stated probability of being of legal age is in one range."""

    legal: int = field(metadata=about("Legal age, years."))
    low: float = field(metadata=about("Lower end of the range of probabilities.", 0, 1))
    high: float = field(metadata=about("Upper end of the range of probabilities.", 0, 1))
    stated: float | None = field(
        metadata=about("Mean of the stated probabilities; null: too few photos.", 0, 1)
    )
    observed: StatedRate = field(metadata=about("People who are of legal age."))


def measure_reliability(
    predictions: Predictions, probabilities: dict[int, Floats]
) -> tuple[ReliabilityBin, ...]:
    """Return the reliability for each legal age and each range with photos.

    `probabilities` has for each legal age in years the probabilities of N photos to be so old.
    """
    found = []
    for legal, stated in probabilities.items():
        of_age = predictions.label_low >= legal
        known = of_age | (predictions.label_high < legal)
        index = np.minimum((stated * RELIABILITY_BINS).astype(int), RELIABILITY_BINS - 1)
        for number in range(RELIABILITY_BINS):
            own = known & (index == number)
            if not own.any():
                continue
            observed = StatedRate.among(of_age, own)
            mean = float(np.clip(stated[own].mean(), 0, 1))
            found.append(
                ReliabilityBin(
                    legal,
                    number / RELIABILITY_BINS,
                    (number + 1) / RELIABILITY_BINS,
                    None if observed.share is None else mean,
                    observed,
                )
            )
    return tuple(found)
