"""Metrics: how far predicted ages are from true ones, and whether stated certainty holds.

MAE and CS@k (share within k years) are those of the field; bias is mean(predicted - true). All
groups (decade, sex) are reported beside the whole, since an average hides them. What age checks are
judged by follows NIST's Face Analysis Technology Evaluation of age estimation and verification
(NIST IR 8525): with a challenge age above the legal one, who is let through and who is stopped.
"""

from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from halnet.ages import LEGAL_AGE, Floats
from halnet.evaluation.predictions import Predictions

BOOTSTRAP_ROUNDS = 2000
CHALLENGE_AGES = range(21, 31)  # years
RELIABILITY_BINS = 10  # of equal width, over probabilities 0 to 1


@dataclass(frozen=True)
class Score:
    """Figures of one group of photos."""

    count: int
    mae: float  # years
    bias: float  # years, positive: predicted too old
    cs3: float  # share of photos within 3 years, 0 to 1
    cs5: float  # share of photos within 5 years, 0 to 1
    coverage: float  # share of photos whose 90 % interval holds the true age, 0 to 1
    width: float  # mean width of the 90 % interval, years


@dataclass(frozen=True)
class Challenge:
    """An age check that lets through who looks `age` or older and stops all others."""

    age: int  # years, the challenge age
    minors: int  # photos of people under 18
    minors_passed: float  # share of them let through, 0 to 1; NaN where there are none
    adults: int
    adults_stopped: float  # share of them stopped


@dataclass(frozen=True)
class Reliability:
    """Photos whose probability to be 18 or older was said to lie in one range."""

    low: float
    high: float
    count: int
    predicted: float  # mean of the probabilities said
    observed: float  # share that is 18 or older


@dataclass(frozen=True)
class Evaluation:
    """Figures of a model on one split."""

    overall: Score
    mae_interval: tuple[float, float]  # bootstrap 95 % interval of the MAE, years
    by_decade: dict[str, Score]  # "20-29": ...
    by_sex: dict[str, Score]  # where the dataset knows it
    challenges: tuple[Challenge, ...]
    reliability: tuple[Reliability, ...]  # ranges without photos are absent

    def to_dict(self) -> dict[str, Any]:
        """Return JSON-ready values; what is not known is None."""
        return dict(_without_nan(asdict(self)))


def evaluate(predictions: Predictions) -> Evaluation:
    """Return the figures of predictions for labelled photos."""
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
    rng = np.random.default_rng(0)
    picks = rng.integers(0, len(errors), (BOOTSTRAP_ROUNDS, len(errors)))
    low, high = np.percentile(errors[picks].mean(axis=1), [2.5, 97.5])
    return float(low), float(high)


def _without_nan(value: Any) -> Any:
    """Return `value` with None for NaN, which JSON does not know."""
    if isinstance(value, dict):
        return {key: _without_nan(part) for key, part in value.items()}
    if isinstance(value, list | tuple):
        return [_without_nan(part) for part in value]
    return None if isinstance(value, float) and np.isnan(value) else value
