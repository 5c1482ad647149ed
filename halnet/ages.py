"""Ages: from a distribution over whole years to an age, a deviation and calibrated intervals."""

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, Self

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

# The kinds of calibrations. Format 1 of the metadata has the first one alone.
CALIBRATION_KINDS = ("scaled stddev", "scaled by age")
KNOTS = np.arange(5, 100, 10)  # years: the middle of each decade that may have an age factor
OLD_DECADES = 8  # decades with an age factor in calibrations of the first kind
MIN_STDDEV = 1e-3  # years: keeps the score of a distribution with a single age finite
_SCALED_AGES = (5, 90)  # years: beyond, the scale depends on the standard deviation alone
_GRID = np.linspace(AGE_MIN, AGE_MAX, 10 * (AGE_MAX - AGE_MIN) + 1)  # years, tenths of a year


def mean_and_stddev(probabilities: Floats) -> tuple[Floats, Floats]:
    """Return the mean and the standard deviation of N x 101 probabilities.

    Both are arrays of N float32 values in years.
    """
    p = np.asarray(probabilities, np.float64)
    age = p @ AGES
    variance = (p * (AGES - age[:, None]) ** 2).sum(axis=1)
    return age.astype(np.float32), np.sqrt(variance).astype(np.float32)


def scale_features(age: ArrayLike, stddev: ArrayLike) -> Floats:
    """Return the features of `AgeCalibration.error_scale`, ... x 4 float64 values.

    `age` and `stddev` are in years and of one shape; `stddev` is positive. The features are the
    logarithm of the standard deviation, and the first three powers of the predicted age, which is
    limited to 5 to 90 years and is 0 at 50 years and 0.8 at 90 years.
    """
    x = np.clip(np.asarray(age, np.float64), *_SCALED_AGES) / 50 - 1
    return np.stack([np.log(np.asarray(stddev, np.float64)), x, x**2, x**3], axis=-1)


@dataclass(frozen=True)
class AgeCalibration:
    """Turns a raw distribution into intervals and probabilities that are right as often as stated.

    All values are fitted on validation photos (see `halnet.age_calibration`). The standard
    deviation of a network that was trained on label distributions mostly shows the width of these
    labels. It therefore serves as a scale only.

    Raises ValueError unless `age_factors` and `scale` have one of the numbers of values below.
    """

    temperature: float  # divides the log probabilities; it makes the true ages most likely
    quantiles: tuple[float, ...]  # of the scores (see `interval`), at the levels 1 %, 2 %, ...
    # By true decade, 0-9 to 70-79 (8 values) or 0-9 to 90-100 (10 values); empty: 1 at every age.
    age_factors: tuple[float, ...] = ()
    # The power of the standard deviation, and the coefficients of the predicted age, of its square
    # and of its cube (see `error_scale`); empty: the scale is the standard deviation.
    scale: tuple[float, ...] = ()

    def __post_init__(self) -> None:
        for name, values, allowed in (
            ("age_factors", self.age_factors, (0, OLD_DECADES, len(KNOTS))),
            ("scale", self.scale, (0, 4)),
        ):
            if len(values) not in allowed or not np.isfinite(values).all():
                raise ValueError(
                    f"{name}: expected {' or '.join(map(str, allowed))} finite numbers, found "
                    f"{values}"
                )

    @property
    def kind(self) -> str:
        """One of CALIBRATION_KINDS: how the scale of the errors is computed."""
        return CALIBRATION_KINDS[1 if self.scale else 0]

    def to_dict(self) -> dict[str, Any]:
        """Return JSON-ready values: the kind and all numbers."""
        return {"kind": self.kind, **asdict(self)}

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Self:
        """Return the calibration that `to_dict` wrote, or that metadata of format 1 contains.

        Raises KeyError, ValueError or TypeError if a value is missing or damaged.
        """
        numbers = (values["quantiles"], values.get("age_factors", ()), values.get("scale", ()))
        return cls(
            float(values["temperature"]),
            *(tuple(float(number) for number in row) for row in numbers),
        )

    def error_scale(self, age: ArrayLike, stddev: ArrayLike) -> Floats:
        """Return how large the errors are relative to each other, as positive float64 values.

        `age` and `stddev` are in years and of one shape, which the result has too. The scale is the
        standard deviation or, for calibrations "scaled by age", log-linear in it and in a cubic
        polynomial of the predicted age.
        """
        scale: Floats = np.maximum(np.asarray(stddev, np.float64), MIN_STDDEV)
        if not self.scale:
            return scale
        return np.asarray(np.exp(scale_features(age, scale) @ np.array(self.scale)))

    def factor(self, years: ArrayLike) -> Floats:
        """Return how much larger errors are at these true ages (in years) than on average.

        Errors are measured relative to `error_scale`. The result is float64 in the shape of
        `years`; between the middles of two decades it is interpolated.
        """
        if not self.age_factors:
            return np.ones_like(np.asarray(years, np.float64))
        knots = KNOTS[: len(self.age_factors)]
        return np.asarray(np.interp(np.asarray(years, np.float64), knots, self.age_factors))

    def interval(self, age: ArrayLike, stddev: ArrayLike, level: float) -> tuple[Floats, Floats]:
        """Return (low, high) in years; the share `level` of such intervals contains the true age.

        `age` and `stddev` are in years and of one shape, which the results have too. The intervals
        stay within 0 to 100 years. If `level` lies between two stored levels, the higher one is
        used.

        The method is split-conformal prediction [Lei et al., JASA 2018] with the score
        abs(y - age) / (error_scale(age, stddev) * factor(y)). The interval contains the ages y
        whose score is small enough. The stated share therefore holds for faces like those of the
        validation split, and approximately in each decade of true ages [label-conditional
        prediction: Vovk, ACML 2012].

        Raises ConfigError for a level that the model is not calibrated for.
        """
        index = math.ceil(round(level * 100, 6)) - 1 if 0 < level < 1 else -1
        if not 0 <= index < len(self.quantiles):
            raise ConfigError(
                f"interval level {level}: expected from 0.01 to {len(self.quantiles) / 100:.2f}, "
                "the highest level that this model is calibrated for"
            )
        centre: Floats = np.asarray(age, np.float64)
        half_width: Floats = self.quantiles[index] * self.error_scale(centre, stddev)
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
        tempered = apply_temperature(probabilities, self.temperature)
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


def apply_temperature(probabilities: Floats, temperature: float) -> Floats:
    """Return ... x 101 probabilities, float64, whose logarithms are divided by the temperature."""
    logits = np.log(np.maximum(np.asarray(probabilities, np.float64), 1e-12)) / temperature
    tempered = np.exp(logits - logits.max(axis=-1, keepdims=True))
    return np.asarray(tempered / tempered.sum(axis=-1, keepdims=True))
