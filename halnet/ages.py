"""Ages: from a distribution over whole years to an age, a deviation and calibrated intervals."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from halnet.errors import ConfigError

AGE_MIN, AGE_MAX = 0, 100  # years: a distribution has one probability for each year from 0 to 100
N_AGES = AGE_MAX - AGE_MIN + 1  # 101
LEVEL = 0.9  # the default level of an interval: it contains the true age of 90 % of people
LEGAL_AGE = 18  # years: the age that age checks and reports ask about
AGES: NDArray[np.float32] = np.arange(AGE_MIN, AGE_MAX + 1, dtype=np.float32)
AGES.setflags(write=False)

Floats = NDArray[np.floating[Any]]

KNOTS = np.arange(5, 80, 10)  # years: the middle of each decade that has an age factor
_MIN_STDDEV = 1e-3  # years: keeps the score of a distribution with a single age finite
_FACTOR_LEVELS = (0.80, 0.85, 0.90, 0.95)  # levels at which a decade is compared with all photos
_FACTOR_ROUNDS = 3  # how often the age factors are refined
_PRIOR_PHOTOS = 2  # weight of the factor 1, in photos: it matters only to decades with few photos
_GRID = np.linspace(AGE_MIN, AGE_MAX, 10 * (AGE_MAX - AGE_MIN) + 1)  # years, tenths of a year


def mean_and_stddev(probabilities: Floats) -> tuple[Floats, Floats]:
    """Return the mean and the standard deviation of N x 101 probabilities.

    Both are arrays of N float32 values in years.
    """
    p = np.asarray(probabilities, np.float64)
    age = p @ AGES
    variance = (p * (AGES - age[:, None]) ** 2).sum(axis=1)
    return age.astype(np.float32), np.sqrt(variance).astype(np.float32)


@dataclass(frozen=True)
class AgeCalibration:
    """Turns a raw distribution into intervals and probabilities that are right as often as stated.

    All values are fitted on the validation split. The standard deviation of a network that was
    trained on label distributions mostly shows the width of these labels. It therefore serves as
    a scale only.
    """

    temperature: float  # divides the log probabilities; it makes the true ages most likely
    quantiles: tuple[float, ...]  # of the scores (see `interval`), at the levels 1 %, 2 %, ...
    age_factors: tuple[float, ...] = ()  # by true decade, 0-9 to 70-79; empty: 1 at every age

    def factor(self, years: ArrayLike) -> Floats:
        """Return how much larger errors are at these true ages (in years) than on average.

        Errors are measured in predicted standard deviations. The result is float64 in the shape of
        `years`; between the middles of two decades it is interpolated.
        """
        if not self.age_factors:
            return np.ones_like(np.asarray(years, np.float64))
        return np.asarray(np.interp(np.asarray(years, np.float64), KNOTS, self.age_factors))

    def interval(self, age: ArrayLike, stddev: ArrayLike, level: float) -> tuple[Floats, Floats]:
        """Return (low, high) in years; the share `level` of such intervals contains the true age.

        `age` and `stddev` are in years and of one shape, which the results have too. The intervals
        stay within 0 to 100 years. If `level` lies between two stored levels, the higher one is
        used.

        The method is split-conformal prediction [Lei et al., JASA 2018] with the score
        abs(y - age) / (stddev * factor(y)). The interval contains the ages y whose score is small
        enough. The stated share therefore holds for faces like those of the validation split, and
        approximately in each decade of true ages [label-conditional prediction: Vovk, ACML 2012].

        Raises ConfigError for a level that the model is not calibrated for.
        """
        index = math.ceil(round(level * 100, 6)) - 1
        if not 0 < level < 1 or index >= len(self.quantiles):
            raise ConfigError(
                f"interval level {level}: expected above 0 and at most "
                f"{len(self.quantiles) / 100:.2f}, the highest level that this model is "
                "calibrated for"
            )
        centre: Floats = np.asarray(age, np.float64)
        half_width: Floats = self.quantiles[index] * np.maximum(
            np.asarray(stddev, np.float64), _MIN_STDDEV
        )
        low: Floats = centre - half_width
        high: Floats = centre + half_width
        if self.age_factors:
            allowed = half_width[..., None] * self.factor(_GRID)
            low, high = _ends(allowed - np.abs(_GRID - centre[..., None]), centre)
        return np.clip(low, AGE_MIN, AGE_MAX), np.clip(high, AGE_MIN, AGE_MAX)

    def probability_at_least(self, probabilities: Floats, years: int) -> Floats:
        """Return the probability that the age is `years` or more.

        `probabilities` is ... x 101. The result is float64 and has one value for each of them.
        Raises ConfigError unless `years` is between 0 and 100.
        """
        if not AGE_MIN <= years <= AGE_MAX:
            raise ConfigError(f"age {years}: expected {AGE_MIN} to {AGE_MAX} years")
        tempered = _apply_temperature(probabilities, self.temperature)
        return np.asarray(tempered[..., years - AGE_MIN :].sum(axis=-1))


def _ends(margin: Floats, centre: Floats) -> tuple[Floats, Floats]:
    """Return the lowest and the highest age at which `margin` is not negative, interpolated.

    `margin` is ... x 1001, with one value for each age of the grid: the allowed distance from the
    centre less the actual one. Both ends are the centre where no age of the grid is allowed.
    """

    def first_allowed(values: Floats, ages: Floats) -> Floats:
        index = np.argmax(values >= 0, axis=-1)
        before = np.maximum(index - 1, 0)
        low, high = (np.take_along_axis(values, i[..., None], -1)[..., 0] for i in (before, index))
        share = np.where(index > before, high / np.maximum(high - low, 1e-12), 0.0)
        return np.asarray(ages[index] + share * (ages[before] - ages[index]))

    found = (margin >= 0).any(axis=-1)
    low = np.where(found, first_allowed(margin, _GRID), centre)
    high = np.where(found, first_allowed(margin[..., ::-1], _GRID[::-1]), centre)
    return low, high


def fit_age_calibration(probabilities: Floats, labels: Sequence[int] | Floats) -> AgeCalibration:
    """Return the calibration that fits N x 101 probabilities to N true ages in years."""
    truth = np.asarray(labels, np.float64)
    age, stddev = mean_and_stddev(probabilities)
    scores = np.abs(truth - age) / np.maximum(stddev, _MIN_STDDEV)
    factors = _fit_factors(scores, truth)
    scaled = np.sort(scores / np.interp(truth, KNOTS, factors))
    # Level a needs the ceil((n + 1) a)-th smallest score. Levels that need more than n are absent.
    ranks = (math.ceil(round((len(scaled) + 1) * percent / 100, 6)) for percent in range(1, 100))
    quantiles = tuple(round(float(scaled[rank - 1]), 6) for rank in ranks if rank <= len(scaled))
    return AgeCalibration(_fit_temperature(probabilities, truth), quantiles, factors)


def _fit_factors(scores: Floats, labels: Floats) -> tuple[float, ...]:
    """Return for each decade its high score quantiles divided by those of all photos.

    Between the middles of two decades, both of their factors have an effect. The fit is therefore
    repeated.
    """
    decade = np.clip(labels // 10, 0, len(KNOTS) - 1)
    factors = np.ones(len(KNOTS))
    for _ in range(_FACTOR_ROUNDS):
        scaled = scores / np.interp(labels, KNOTS, factors)
        overall = np.quantile(scaled, _FACTOR_LEVELS)
        for index in range(len(KNOTS)):
            own = scaled[decade == index]
            ratio = (np.quantile(own, _FACTOR_LEVELS) / overall).mean() if len(own) else 1.0
            factors[index] *= (len(own) * ratio + _PRIOR_PHOTOS) / (len(own) + _PRIOR_PHOTOS)
    return tuple(round(float(factor), 4) for factor in factors)


def _fit_temperature(probabilities: Floats, labels: Floats) -> float:
    """Return the temperature that makes the labels most likely [Guo et al., ICML 2017]."""
    index = np.clip(np.rint(labels).astype(int) - AGE_MIN, 0, N_AGES - 1)[:, None]

    def loss(temperature: float) -> float:
        tempered = _apply_temperature(probabilities, temperature)
        picked = np.take_along_axis(tempered, index, axis=1)
        return float(-np.log(np.maximum(picked, 1e-12)).mean())

    grid = np.geomspace(0.2, 5.0, 201)
    return round(float(grid[np.argmin([loss(t) for t in grid])]), 4)


def _apply_temperature(probabilities: Floats, temperature: float) -> Floats:
    logits = np.log(np.maximum(np.asarray(probabilities, np.float64), 1e-12)) / temperature
    tempered = np.exp(logits - logits.max(axis=-1, keepdims=True))
    return np.asarray(tempered / tempered.sum(axis=-1, keepdims=True))
