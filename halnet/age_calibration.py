"""Fits the calibration of ages: intervals that hold on several datasets and in every decade.

The steps, for photos whose true age is known exactly or as a range of ages:

1. A temperature makes the true ages most likely [Guo et al., ICML 2017].
2. The scale of the errors is fitted as a function of the predicted standard deviation and the
   predicted age [normalised residuals: Lei et al., JASA 2018, section 5.2]. Intervals are then
   narrow where errors are small, and the stated share holds approximately by predicted age
   [Gibbs, Cherian and Candes 2023]. The fit uses the likelihood of a Laplace distribution, because
   the large errors of wrong labels change it little.
3. Factors by decade of the true age make the share hold in each decade [label-conditional
   prediction: Vovk, ACML 2012].
4. The quantiles of the scores are those of split-conformal prediction [Lei et al. 2018].

A label that is a range counts as a part of a photo at each age of the range. The weights of the
parts are the tempered probabilities of these ages, and their sum is one photo. Distances to the
range would be too small as errors.

Other methods were measured with the outputs of the model of version 0.1.0 on four datasets, where
each dataset was left out of the calibration in turn. Entropy, skewness and kurtosis of the
distribution, the distance of its mean and mode, and weights by dataset changed little. Sharpness,
noise, contrast and colour of the crop made the coverage on degraded crops lower: there, the
standard deviation grows without them. Conformalized quantiles [Romano et al., NeurIPS 2019] had the
same width and a lower coverage on the dataset that was left out. The largest quantile over datasets
made intervals too wide on all others.
"""

import logging
from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike, NDArray

from halnet.ages import (
    AGE_MAX,
    AGE_MIN,
    AGES,
    KNOTS,
    MIN_STDDEV,
    AgeCalibration,
    Floats,
    apply_temperature,
    mean_and_stddev,
    scale_features,
)

# Number of photos. With fewer, a calibration that was fitted on other photos is more exact.
MIN_PHOTOS = 100
_START = np.array([1.0, 0.0, 0.0, 0.0])  # the scale that needs no photos: the standard deviation
_RIDGE = 1.0  # weight of this start: it matters only to few photos
_NEWTON_STEPS = 100
_FACTOR_LEVELS = (0.80, 0.85, 0.90, 0.95)  # levels at which a decade is compared with all photos
_FACTOR_ROUNDS = 4  # how often the age factors are refined
_PRIOR_PHOTOS = 10  # weight of the factor 1, in photos: it matters only to decades with few photos
_TINY = 1e-12  # keeps logarithms finite

logger = logging.getLogger("halnet")


def fit_age_calibration(
    probabilities: Floats,
    low: Sequence[int] | Floats,
    high: Sequence[int] | Floats | None = None,
    base: AgeCalibration | None = None,
) -> AgeCalibration:
    """Return the calibration that fits N x 101 probabilities to N true ages.

    `low` and `high` are the ends of the range of each true age in years, both included. Without
    `high`, all ages are exact. The photos of all datasets are given together.

    If there are fewer photos than MIN_PHOTOS and a `base` is given, which is a calibration that was
    fitted on other photos, then this very object is returned, and a warning is logged.
    """
    if base is not None and len(probabilities) < MIN_PHOTOS:
        logger.warning(
            "%d photos are too few to fit a calibration, which takes %d; the calibration of the "
            "base model is kept",
            len(probabilities),
            MIN_PHOTOS,
        )
        return base
    first, last = (
        np.clip(np.asarray(ends, np.float64), AGE_MIN, AGE_MAX)
        for ends in (low, low if high is None else high)
    )
    temperature = _fit_temperature(probabilities, first, last)
    rows, labels, weights = _spread(apply_temperature(probabilities, temperature), first, last)
    age, stddev = (
        np.asarray(values, np.float64)[rows] for values in mean_and_stddev(probabilities)
    )
    errors = np.abs(labels - age)
    scale = _fit_scale(scale_features(age, np.maximum(stddev, MIN_STDDEV)), errors, weights)
    scores = errors / AgeCalibration(temperature, (), (), scale).error_scale(age, stddev)
    factors = _fit_factors(scores, labels, weights)
    scores /= AgeCalibration(temperature, (), factors, scale).factor(labels)
    return AgeCalibration(temperature, conformal_quantiles(scores, weights), factors, scale)


def conformal_quantiles(scores: ArrayLike, weights: ArrayLike | None = None) -> tuple[float, ...]:
    """Return the quantiles of N scores at the levels 1 %, 2 %, ... as far as they exist.

    Without weights, level a needs the ceil((N + 1) a)-th smallest score. In general, it needs the
    smallest score so that it and all smaller ones have the weight (W + 1) a, with the sum W of all
    weights. Levels that need more than W are absent.
    """
    values = np.asarray(scores, np.float64)
    parts = np.ones(len(values)) if weights is None else np.asarray(weights, np.float64)
    order = np.argsort(values, kind="stable")
    reached = np.round(np.cumsum(parts[order]), 6)
    needed = np.round((reached[-1] + 1) * np.arange(1, 100) / 100, 6)
    found = np.searchsorted(reached, needed)
    return tuple(round(float(values[order][i]), 6) for i in found if i < len(values))


def _spread(
    probabilities: Floats, low: Floats, high: Floats
) -> tuple[NDArray[np.intp], Floats, Floats]:
    """Return the parts of all photos: the row of the photo, an age in years, and a weight.

    An exact age is one part with weight 1. A range has a part for each of its ages.
    """
    exact = low == high
    inside = _is_inside(low, high)
    inside[exact] = False  # an exact age needs not be a whole number
    inside[exact, 0] = True
    rows, columns = np.nonzero(inside)
    weights = np.where(inside, np.maximum(probabilities, _TINY), 0.0)
    weights /= weights.sum(axis=1, keepdims=True)
    labels = np.where(exact[rows], low[rows], columns + AGE_MIN)
    return rows, np.asarray(labels, np.float64), weights[rows, columns]


def _is_inside(low: Floats, high: Floats) -> NDArray[np.bool_]:
    """Return for N ranges whether each of the 101 ages is in it, N x 101."""
    return np.asarray((low[:, None] <= AGES) & (high[:, None] >= AGES))


def _fit_temperature(probabilities: Floats, low: Floats, high: Floats) -> float:
    """Return the temperature that makes the labels most likely."""
    inside = _is_inside(np.rint(low), np.rint(high))

    def loss(temperature: float) -> float:
        tempered = apply_temperature(probabilities, temperature)
        return float(-np.log(np.maximum((tempered * inside).sum(axis=1), _TINY)).mean())

    grid = np.geomspace(0.2, 5.0, 201)
    return round(float(grid[np.argmin([loss(t) for t in grid])]), 4)


def _fit_scale(features: Floats, errors: Floats, weights: Floats) -> tuple[float, ...]:
    """Return the coefficients of the scale, from N x 4 features and N absolute errors in years.

    They minimise the mean of errors / s + log s for the scale s = exp(constant + features @
    coefficients), which is convex, by Newton steps of limited size. The quantiles of the scores
    replace the constant.
    """
    x = np.column_stack([np.ones(len(features)), features])
    ridge = np.array([0.0, *np.full(len(_START), _RIDGE)])
    start = np.array([0.0, *_START])
    scaled = errors * np.exp(-x @ start)
    values = start.copy()
    values[0] = np.log(max(np.average(scaled, weights=weights), _TINY))
    for _ in range(_NEWTON_STEPS):
        ratio = weights * errors * np.exp(-x @ values)
        gradient = x.T @ (weights - ratio) + ridge * (values - start)
        hessian = (x * ratio[:, None]).T @ x + np.diag(ridge + _TINY)
        step = np.linalg.solve(hessian, gradient)
        step /= max(1.0, float(np.abs(step).max()))
        values -= step
        if np.abs(step).max() < 1e-9:
            break
    return tuple(round(float(value), 6) for value in values[1:])


def _fit_factors(scores: Floats, labels: Floats, weights: Floats) -> tuple[float, ...]:
    """Return for each decade its high score quantiles divided by those of all photos.

    Between the middles of two decades, both of their factors have an effect. The fit is therefore
    repeated.
    """
    decade = np.clip(labels // 10, 0, len(KNOTS) - 1)
    factors = np.ones(len(KNOTS))
    for _ in range(_FACTOR_ROUNDS):
        scaled = scores / np.interp(labels, KNOTS, factors)
        overall = np.maximum(_quantiles(scaled, weights), _TINY)
        for index in range(len(KNOTS)):
            own = decade == index
            photos = weights[own].sum()
            ratio = (_quantiles(scaled[own], weights[own]) / overall).mean() if photos else 1.0
            factors[index] *= (photos * ratio + _PRIOR_PHOTOS) / (photos + _PRIOR_PHOTOS)
    return tuple(round(float(factor), 4) for factor in factors)


def _quantiles(values: Floats, weights: Floats) -> Floats:
    """Return the weighted quantiles of N values at _FACTOR_LEVELS, interpolated between values."""
    order = np.argsort(values, kind="stable")
    reached = np.cumsum(weights[order]) - weights[order] / 2
    return np.asarray(np.interp(np.array(_FACTOR_LEVELS) * weights.sum(), reached, values[order]))
