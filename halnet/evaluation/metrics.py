"""Metrics: errors of predicted ages, coverage of intervals, and the results of age checks.

MAE is the mean absolute error. CS@k, the cumulative score, is the share of photos with an error of
at most k years. Bias is the mean of predicted minus true age. All of them are computed for each
decade and each sex too, because the overall values hide their differences.

Age checks are evaluated as in NIST's Face Analysis Technology Evaluation (NIST IR 8525). A check
uses a challenge age above the legal age: it lets people through who look as old as that, and stops
all others.
"""

from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from halnet.ages import LEGAL_AGE, Floats
from halnet.evaluation.predictions import Predictions

BOOTSTRAP_ROUNDS = 2000
CHALLENGE_AGES = range(21, 31)  # years
RELIABILITY_BINS = 10  # number of bins of equal width for probabilities from 0 to 1


@dataclass(frozen=True)
class Score:
    """Metrics of one group of photos."""

    count: int  # number of photos
    mae: float  # years
    bias: float  # years; above 0, people are predicted too old
    cs3: float  # share of photos with an error of at most 3 years, 0 to 1
    cs5: float  # share of photos with an error of at most 5 years, 0 to 1
    coverage: float  # share of true ages inside the 90 % interval, 0 to 1
    width: float  # mean width of the 90 % interval, years


@dataclass(frozen=True)
class Challenge:
    """Result of an age check that lets people through whose predicted age is `age` or more."""

    age: int  # challenge age, years
    minors: int  # number of photos of people under 18
    minors_passed: float  # share of minors that are let through, 0 to 1; NaN without minors
    adults: int  # number of photos of people aged 18 or older
    adults_stopped: float  # share of adults that are stopped, 0 to 1; NaN without adults


@dataclass(frozen=True)
class Reliability:
    """Photos whose predicted probability of being 18 or older is in one range."""

    low: float  # lower end of the range, 0 to 1
    high: float  # upper end of the range, 0 to 1
    count: int  # number of photos
    predicted: float  # mean predicted probability, 0 to 1
    observed: float  # share of people who are 18 or older, 0 to 1


@dataclass(frozen=True)
class Evaluation:
    """Metrics of a model on one split."""

    overall: Score
    mae_interval: tuple[float, float]  # bootstrap 95 % interval of the MAE, years
    by_decade: dict[str, Score]  # "20-29": ...
    by_sex: dict[str, Score]  # "female" and "male", if the dataset states them
    challenges: tuple[Challenge, ...]  # one for each challenge age
    reliability: tuple[Reliability, ...]  # one for each range of probabilities with photos

    def to_dict(self) -> dict[str, Any]:
        """Return the metrics as values for JSON, with None in place of NaN."""
        return dict(_without_nan(asdict(self)))


def evaluate(predictions: Predictions) -> Evaluation:
    """Return the metrics of predictions."""
    decade = predictions.label.astype(int) // 10 * 10
    sex = np.asarray(predictions.sex)
    return Evaluation(
        overall=_score(predictions, np.ones(len(predictions), bool)),
        mae_interval=_bootstrap(np.abs(predictions.error)),
        by_decade={
            f"{d}-{d + 9}": _score(predictions, decade == d) for d in sorted(set(decade.tolist()))
        },
        by_sex={s: _score(predictions, sex == s) for s in sorted(set(predictions.sex)) if s},
        challenges=tuple(_challenge(predictions, age) for age in CHALLENGE_AGES),
        reliability=_reliability(predictions),
    )


def _score(predictions: Predictions, group: NDArray[np.bool_]) -> Score:
    error = predictions.error[group]
    return Score(
        count=int(group.sum()),
        mae=float(np.abs(error).mean()),
        bias=float(error.mean()),
        cs3=float((np.abs(error) <= 3).mean()),
        cs5=float((np.abs(error) <= 5).mean()),
        coverage=float(predictions.inside[group].mean()),
        width=float((predictions.high - predictions.low)[group].mean()),
    )


def _challenge(predictions: Predictions, age: int) -> Challenge:
    minor = predictions.label < LEGAL_AGE
    passed = predictions.age >= age
    return Challenge(
        age=age,
        minors=int(minor.sum()),
        minors_passed=float(passed[minor].mean()) if minor.any() else float("nan"),
        adults=int((~minor).sum()),
        adults_stopped=float((~passed[~minor]).mean()) if (~minor).any() else float("nan"),
    )


def _reliability(predictions: Predictions) -> tuple[Reliability, ...]:
    index = np.minimum((predictions.adult * RELIABILITY_BINS).astype(int), RELIABILITY_BINS - 1)
    is_adult = predictions.label >= LEGAL_AGE
    return tuple(
        Reliability(
            low=i / RELIABILITY_BINS,
            high=(i + 1) / RELIABILITY_BINS,
            count=int((index == i).sum()),
            predicted=float(predictions.adult[index == i].mean()),
            observed=float(is_adult[index == i].mean()),
        )
        for i in range(RELIABILITY_BINS)
        if (index == i).any()
    )


def _bootstrap(errors: Floats) -> tuple[float, float]:
    """Return the 95 % interval of the mean of N errors."""
    rng = np.random.default_rng(0)
    picks = rng.integers(0, len(errors), (BOOTSTRAP_ROUNDS, len(errors)))
    low, high = np.percentile(errors[picks].mean(axis=1), [2.5, 97.5])
    return float(low), float(high)


def _without_nan(value: Any) -> Any:
    """Return `value` with None in place of NaN, which JSON cannot represent."""
    if isinstance(value, dict):
        return {key: _without_nan(part) for key, part in value.items()}
    if isinstance(value, list | tuple):
        return [_without_nan(part) for part in value]
    return None if isinstance(value, float) and np.isnan(value) else value
