"""Age checks: how many minors a check lets through, and how many adults it stops.

Age checks are evaluated as in NIST's Face Analysis Technology Evaluation (NIST IR 8525). A check
uses a challenge age above the legal age: it lets people through who look as old as that, and stops
all others.

A photo whose label is a range counts as a minor or as an adult if the whole range does. Ranges that
contain both, such as 10 to 19 years, are left out.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np

from halnet.ages import LEGAL_AGE
from halnet.evaluation.predictions import Predictions
from halnet.evaluation.rates import Rate

CHALLENGE_AGES = range(21, 31)  # years
CHALLENGE_25 = 25  # years: a common challenge age
TEENAGER = 13  # years: minors from this age on are the difficult ones, and are listed apart
RELIABILITY_BINS = 10  # number of bins of equal width for probabilities from 0 to 1


@dataclass(frozen=True)
class Challenge:
    """Result of an age check that lets people through whose predicted age is `age` or more."""

    age: int  # challenge age, years
    minors_passed: Rate  # photos of people under 18 that are let through
    adults_stopped: Rate  # photos of people aged 18 or older that are stopped

    def to_dict(self) -> dict[str, Any]:
        """Return values for JSON. With too few minors or adults, their share is None."""
        return {
            "age": self.age,
            "minors": self.minors_passed.count,
            "minors_passed": self.minors_passed.stated,
            "adults": self.adults_stopped.count,
            "adults_stopped": self.adults_stopped.stated,
        }


@dataclass(frozen=True)
class Reliability:
    """Photos whose predicted probability of being 18 or older is in one range."""

    low: float  # lower end of the range, 0 to 1
    high: float  # upper end of the range, 0 to 1
    predicted: float  # mean predicted probability, 0 to 1
    observed: Rate  # photos of people who are 18 or older

    def to_dict(self) -> dict[str, Any]:
        """Return values for JSON. With too few photos, the observed share is None."""
        return {
            "low": self.low,
            "high": self.high,
            "count": self.observed.count,
            "predicted": self.predicted,
            "observed": self.observed.stated,
        }


@dataclass(frozen=True)
class MinorErrors:
    """How many minors of some ages are predicted to be adults."""

    low: int  # lowest true age, years
    high: int  # highest true age, years
    as_18: Rate  # photos with a predicted age of 18 or more
    as_25: Rate  # photos with a predicted age of 25 or more

    def to_dict(self) -> dict[str, Any]:
        """Return values for JSON."""
        return {
            "ages": f"{self.low}-{self.high}",
            "predicted_18": self.as_18.to_dict(),
            "predicted_25": self.as_25.to_dict(),
        }


def check_ages(predictions: Predictions) -> tuple[Challenge, ...]:
    """Return the result of a check for each challenge age."""
    minor = predictions.label_high < LEGAL_AGE
    adult = predictions.label_low >= LEGAL_AGE
    minors, adults = predictions.age[minor], predictions.age[adult]
    return tuple(
        Challenge(
            age=age,
            minors_passed=Rate(int((minors >= age).sum()), len(minors)),
            adults_stopped=Rate(int((~(adults >= age)).sum()), len(adults)),
        )
        for age in CHALLENGE_AGES
    )


def find_minor_errors(predictions: Predictions) -> tuple[MinorErrors, ...]:
    """Return the errors of all minors, and of those aged 13 to 17."""
    oldest = LEGAL_AGE - 1
    results = []
    for youngest in (0, TEENAGER):
        own = (predictions.label_low >= youngest) & (predictions.label_high <= oldest)
        ages = predictions.age[own]
        as_18, as_25 = (
            Rate(int((ages >= limit).sum()), len(ages)) for limit in (LEGAL_AGE, CHALLENGE_25)
        )
        results.append(MinorErrors(youngest, oldest, as_18, as_25))
    return tuple(results)


def measure_reliability(predictions: Predictions) -> tuple[Reliability, ...]:
    """Return the reliability of the probability to be 18 or older, for each bin with photos."""
    adult = predictions.label_low >= LEGAL_AGE
    known = adult | (predictions.label_high < LEGAL_AGE)
    index = np.minimum((predictions.adult * RELIABILITY_BINS).astype(int), RELIABILITY_BINS - 1)
    index[~known] = -1
    return tuple(
        Reliability(
            low=i / RELIABILITY_BINS,
            high=(i + 1) / RELIABILITY_BINS,
            predicted=float(predictions.adult[index == i].mean()),
            observed=Rate(int(adult[index == i].sum()), int((index == i).sum())),
        )
        for i in range(RELIABILITY_BINS)
        if (index == i).any()
    )
