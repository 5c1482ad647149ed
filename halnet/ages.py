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
AGES: NDArray[np.float32] = np.arange(AGE_MIN, AGE_MAX + 1, dtype=np.float32)
AGES.setflags(write=False)

Floats = NDArray[np.floating[Any]]

_MIN_STDDEV = 1e-3  # years: keeps the score of a one-hot distribution finite


def summarise(probabilities: Floats) -> tuple[Floats, Floats]:
    """Return expectation and standard deviation in years of N x 101 probabilities."""
    p = np.asarray(probabilities, np.float64)
    age = p @ AGES
    variance = (p * (AGES - age[:, None]) ** 2).sum(axis=1)
    return age.astype(np.float32), np.sqrt(variance).astype(np.float32)


@dataclass(frozen=True)
class Calibration:
    """What turns a raw distribution into statements that hold at their stated rate.

    Both parts are fitted on the validation split. The standard deviation of a network trained on
    label distributions mostly mirrors the width of the labels, so it is used as a scale only.
    """

    temperature: float  # divides the log probabilities; minimises the labels' likelihood loss
    quantiles: tuple[float, ...]  # of abs(label - age) / stddev, at the levels 1 %, 2 %, ...

    def interval(self, age: ArrayLike, stddev: ArrayLike, level: float) -> tuple[Floats, Floats]:
        """Return (low, high) in years that hold the true age at a rate of `level`.

        Split-conformal prediction with the score abs(label - age) / stddev [Lei et al., JASA
        2018]: the rate holds on average over faces like those of the validation split. A level
        between two stored ones takes the wider. Clipped to 0..100 years.
        """
        index = math.ceil(round(level * 100, 6)) - 1
        if not 0 < level < 1 or index >= len(self.quantiles):
            raise ConfigError(
                f"interval level {level}: expected above 0 and at most "
                f"{len(self.quantiles) / 100:.2f}, the highest level that this model is "
                "calibrated for"
            )
        centre = np.asarray(age, np.float64)
        reach = self.quantiles[index] * np.maximum(np.asarray(stddev, np.float64), _MIN_STDDEV)
        return np.clip(centre - reach, AGE_MIN, AGE_MAX), np.clip(centre + reach, AGE_MIN, AGE_MAX)

    def probability_at_least(self, probabilities: Floats, years: int) -> Floats:
        """Return the probability, N values, that the age is `years` or more."""
        if not AGE_MIN <= years <= AGE_MAX:
            raise ConfigError(f"age {years}: expected {AGE_MIN} to {AGE_MAX} years")
        tempered = _temper(probabilities, self.temperature)
        return np.asarray(tempered[..., years - AGE_MIN :].sum(axis=-1))


def fit_calibration(probabilities: Floats, labels: Sequence[int] | Floats) -> Calibration:
    """Fit temperature and conformal quantiles on N x 101 probabilities and N labels in years."""
    truth = np.asarray(labels, np.float64)
    age, stddev = summarise(probabilities)
    scores = np.sort(np.abs(truth - age) / np.maximum(stddev, _MIN_STDDEV))
    # Level a takes the ceil((n + 1) a)-th smallest score; levels that would need more are absent.
    ranks = (math.ceil(round((len(scores) + 1) * percent / 100, 6)) for percent in range(1, 100))
    quantiles = tuple(round(float(scores[rank - 1]), 6) for rank in ranks if rank <= len(scores))
    return Calibration(_fit_temperature(probabilities, truth), quantiles)


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
