"""Sizes of errors in a report: how many ages are wrong by many years, and in which direction."""

from dataclasses import dataclass, field

import numpy as np

from halnet.ages import LEGAL_AGE
from halnet.audit.figures import StatedRate
from halnet.audit.schema import about
from halnet.evaluation.predictions import Predictions

BEYOND = (3, 5, 10, 15, 20)  # years


@dataclass(frozen=True)
class ErrorSize:
    """How many ages are wrong by more than some years. The error of a range is the distance."""

    years: int = field(metadata=about("The error is larger than so many years.", 0))
    everyone: StatedRate = field(metadata=about("Photos with an error of this size."))
    minors_too_old: StatedRate = field(
        metadata=about(f"People below {LEGAL_AGE} who are predicted too old by more than that.")
    )
    adults_too_young: StatedRate = field(
        metadata=about(
            f"People of {LEGAL_AGE} or more who are predicted too young by more than that."
        )
    )


def measure_error_sizes(predictions: Predictions) -> tuple[ErrorSize, ...]:
    """Return the shares of large errors, for each number of years in `BEYOND`."""
    error = predictions.error
    minors, adults = predictions.label_high < LEGAL_AGE, predictions.label_low >= LEGAL_AGE
    everyone = np.ones(len(predictions), bool)
    return tuple(
        ErrorSize(
            years,
            StatedRate.among(np.abs(error) > years, everyone),
            StatedRate.among(error > years, minors),
            StatedRate.among(error < -years, adults),
        )
        for years in BEYOND
    )
