"""Ages: a distribution over whole years to an age, a deviation and calibrated intervals."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from halnet.errors import ConfigError

AGE_MIN, AGE_MAX = 0, 100  # years: the support, one probability a year
N_AGES = AGE_MAX - AGE_MIN + 1  # 101
LEVEL = 0.9  # of the interval that is reported where no other level is asked for
LEGAL_AGE = 18  # years: age checks and reports ask for the probability to be this old or older
AGES: NDArray[np.float32] = np.arange(AGE_MIN, AGE_MAX + 1, dtype=np.float32)
AGES.setflags(write=False)

Floats = NDArray[np.floating[Any]]

_MIN_STDDEV = 1e-3  # years: keeps the score of a one-hot distribution finite
KNOTS = np.arange(5, 80, 10)  # years: the middles of the decades that have an age factor
_FACTOR_LEVELS = (0.80, 0.85, 0.90, 0.95)  # at which a decade's errors are compared with all
_ROUNDS = 3
_PRIOR = 2  # photos: a decade with few of its own leans on the factor 1
_GRID = np.linspace(AGE_MIN, AGE_MAX, 10 * (AGE_MAX - AGE_MIN) + 1)  # years, where ends are sought


def summarise(probabilities: Floats) -> tuple[Floats, Floats]:
    """Return expectation and standard deviation in years of N x 101 probabilities."""
    p = np.asarray(probabilities, np.float64)
    age = p @ AGES
    variance = (p * (AGES - age[:, None]) ** 2).sum(axis=1)
    return age.astype(np.float32), np.sqrt(variance).astype(np.float32)


@dataclass(frozen=True)
class AgeCalibration:
    """What turns a raw distribution into statements that hold at their stated rate.

    All parts are fitted on the validation split. The standard deviation of a network trained on
    label distributions mostly mirrors the width of the labels, so it is used as a scale only.
    """

    temperature: float  # divides the log probabilities; minimises the labels' likelihood loss
    quantiles: tuple[float, ...]  # of the scores, at the levels 1 %, 2 %, ...
    age_factors: tuple[float, ...] = ()  # by true decade, 0-9 to 70-79; empty: 1 everywhere

    def factor(self, years: ArrayLike) -> Floats:
        """Return by how much errors at a true age are larger than elsewhere, in deviations."""
        if not self.age_factors:
            return np.ones_like(np.asarray(years, np.float64))
        return np.asarray(np.interp(np.asarray(years, np.float64), KNOTS, self.age_factors))

    def interval(self, age: ArrayLike, stddev: ArrayLike, level: float) -> tuple[Floats, Floats]:
        """Return (low, high) in years that hold the true age at a rate of `level`.

        Split-conformal prediction [Lei et al., JASA 2018] with the score abs(y - age) / (stddev *
        factor(y)): the ages y whose score is small enough, so that the rate holds over faces like
        those of the validation split, and nearly so in each decade of true ages [label-conditional
        prediction: Vovk, ACML 2012]. A level between two stored ones takes the wider. Within 0 to
        100 years.
        """
        index = math.ceil(round(level * 100, 6)) - 1
        if not 0 < level < 1 or index >= len(self.quantiles):
            raise ConfigError(
                f"interval level {level}: expected above 0 and at most "
                f"{len(self.quantiles) / 100:.2f}, the highest level that this model is "
                "calibrated for"
            )
        centre: Floats = np.asarray(age, np.float64)
        reach: Floats = self.quantiles[index] * np.maximum(
            np.asarray(stddev, np.float64), _MIN_STDDEV
        )
        low: Floats = centre - reach
        high: Floats = centre + reach
        if self.age_factors:
            slack = reach[..., None] * self.factor(_GRID) - np.abs(_GRID - centre[..., None])
            low, high = _outermost(slack, centre)
        return np.clip(low, AGE_MIN, AGE_MAX), np.clip(high, AGE_MIN, AGE_MAX)

    def probability_at_least(self, probabilities: Floats, years: int) -> Floats:
        """Return the probability, N values, that the age is `years` or more."""
        if not AGE_MIN <= years <= AGE_MAX:
            raise ConfigError(f"age {years}: expected {AGE_MIN} to {AGE_MAX} years")
        tempered = _temper(probabilities, self.temperature)
        return np.asarray(tempered[..., years - AGE_MIN :].sum(axis=-1))


def _outermost(slack: Floats, centre: Floats) -> tuple[Floats, Floats]:
    """Return the first and last place on the grid where `slack` is not negative, interpolated.

    `slack` is (...) x grid and positive near the (...) `centre`; where the grid is too coarse to
    see that, both ends are the centre.
    """

    def first(values: Floats, places: Floats) -> Floats:
        index = np.argmax(values >= 0, axis=-1)
        before = np.maximum(index - 1, 0)
        low, high = (np.take_along_axis(values, i[..., None], -1)[..., 0] for i in (before, index))
        share = np.where(index > before, high / np.maximum(high - low, 1e-12), 0.0)
        return np.asarray(places[index] + share * (places[before] - places[index]))

    found = (slack >= 0).any(axis=-1)
    low = np.where(found, first(slack, _GRID), centre)
    high = np.where(found, first(slack[..., ::-1], _GRID[::-1]), centre)
    return low, high


def fit_age_calibration(probabilities: Floats, labels: Sequence[int] | Floats) -> AgeCalibration:
    """Fit temperature, age factors and conformal quantiles on N x 101 probabilities, N labels."""
    truth = np.asarray(labels, np.float64)
    age, stddev = summarise(probabilities)
    scores = np.abs(truth - age) / np.maximum(stddev, _MIN_STDDEV)
    factors = _fit_factors(scores, truth)
    scaled = np.sort(scores / np.interp(truth, KNOTS, factors))
    # Level a takes the ceil((n + 1) a)-th smallest score; levels that would need more are absent.
    ranks = (math.ceil(round((len(scaled) + 1) * percent / 100, 6)) for percent in range(1, 100))
    quantiles = tuple(round(float(scaled[rank - 1]), 6) for rank in ranks if rank <= len(scaled))
    return AgeCalibration(_fit_temperature(probabilities, truth), quantiles, factors)


def _fit_factors(scores: Floats, labels: Floats) -> tuple[float, ...]:
    """Return the scores of each decade of labels over those of all, by their high quantiles.

    Repeated, since between two decades the factors are mixed.
    """
    decade = np.clip(labels // 10, 0, len(KNOTS) - 1)
    factors = np.ones(len(KNOTS))
    for _ in range(_ROUNDS):
        scaled = scores / np.interp(labels, KNOTS, factors)
        overall = np.quantile(scaled, _FACTOR_LEVELS)
        for index in range(len(KNOTS)):
            own = scaled[decade == index]
            ratio = (np.quantile(own, _FACTOR_LEVELS) / overall).mean() if len(own) else 1.0
            factors[index] *= (len(own) * ratio + _PRIOR) / (len(own) + _PRIOR)
    return tuple(round(float(factor), 4) for factor in factors)


def _fit_temperature(probabilities: Floats, labels: Floats) -> float:
    """Minimise the mean negative log-likelihood of the labels [Guo et al., ICML 2017]."""
    index = np.clip(np.rint(labels).astype(int) - AGE_MIN, 0, N_AGES - 1)[:, None]

    def loss(temperature: float) -> float:
        picked = np.take_along_axis(_temper(probabilities, temperature), index, axis=1)
        return float(-np.log(np.maximum(picked, 1e-12)).mean())

    grid = np.geomspace(0.2, 5.0, 201)
    return round(float(grid[np.argmin([loss(t) for t in grid])]), 4)


def _temper(probabilities: Floats, temperature: float) -> Floats:
    logits = np.log(np.maximum(np.asarray(probabilities, np.float64), 1e-12)) / temperature
    tempered = np.exp(logits - logits.max(axis=-1, keepdims=True))
    return np.asarray(tempered / tempered.sum(axis=-1, keepdims=True))
